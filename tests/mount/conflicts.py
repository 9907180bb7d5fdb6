#!/usr/bin/env python3
"""No lost update, on real mounts and a real Postgres: what is refused fails with ESTALE at the call that
commits, and its bytes are kept; what is merged has every line of everybody.

The kept bytes are looked at in the database as the store lays them down (small files: one row a write), so
that these tests need no other part of the program.
"""
import errno
import os
import pathlib
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
import labtest  # noqa: E402
from labtest import check, equal, errno_of  # noqa: E402

ROUNDS = int(os.environ.get("LINKSPAN_ROUNDS", "20"))
WRITERS = 8
# Who has opened the file, and not read it yet, as another changes it in place, is refused, since he may stop at the size
# of before: only as they all begin, before descriptors are opened past the pages.
BEGINNERS = 3


# ---- what the router kept ----------------------------------------------------------------------

def sql(lab, statement):
    host = lab.info["postgres"].split("host=")[1].split()[0]
    done = subprocess.run(["psql", "-XAt", "-F", "\t", "-h", host, "-U", "linkspan", "-d", "linkspan",
                           "-c", statement], capture_output=True, text=True, timeout=60)
    check(done.returncode == 0, done.stderr)
    return [line.split("\t") for line in done.stdout.splitlines()]


def content(lab, tenant, ino):
    """Of a small file: the pieces of its first chunk, laid in their order."""
    of = f"tenant = {tenant} AND ino = {ino}"
    size, dver, floor = map(int, sql(lab, f"SELECT size, dver, floor FROM linkspan.node WHERE {of}")[0])
    data = bytearray(size)
    rows = sql(lab, f"SELECT start, len, encode(data, 'hex') FROM linkspan.segment WHERE chunk = 0 AND {of} AND "
               f"dver BETWEEN (SELECT base_dver FROM linkspan.segment WHERE chunk = 0 AND {of} AND "
               f"dver BETWEEN {floor} AND {dver} ORDER BY dver DESC, part DESC LIMIT 1) AND {dver} "
               "ORDER BY dver, part")
    for start, length, piece in rows:
        start, length = int(start), int(length)
        data[start:start + length] = bytes.fromhex(piece) if piece else bytes(length)
    return bytes(data[:size])


def conflicts(lab, before=0):
    """What was kept, the oldest first, but for so many of the oldest: (path, what, content)."""
    rows = sql(lab, "SELECT convert_from(path, 'UTF8'), what, tenant, theirs FROM linkspan.conflict "
               f"ORDER BY at, number OFFSET {before}")
    return [(path, what, content(lab, tenant, ino)) for path, what, tenant, ino in rows]


class New:
    """What a block of the test adds to the conflicts."""

    def __init__(self, lab):
        self.lab, self.before = lab, int(sql(lab, "SELECT count(*) FROM linkspan.conflict")[0][0])

    def all(self):
        return conflicts(self.lab, self.before)


# ---- writers -----------------------------------------------------------------------------------

def slurp(path):
    with open(path, "rb", buffering=0) as file:
        return file.read(1 << 22)


def put(path, data):
    fd = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o644)
    try:
        os.write(fd, data)
    finally:
        os.close(fd)


class Reader:
    """A process on a mount that has opened a file for reading and writing and read it, and writes when it is
    told to (in_place and cut_and_write on that descriptor): what it writes is based on what it read."""

    def __init__(self, path):
        self.path = path
        self.child = subprocess.Popen([sys.executable, "-c", CHILD, path], stdin=subprocess.PIPE,
                                      stdout=subprocess.PIPE, text=True)
        self.content = bytes.fromhex(self.answer()["read"])

    def answer(self):
        line = self.child.stdout.readline()
        check(line, "the writer has died")
        return eval(line)  # noqa: S307 - a dict that CHILD printed

    def do(self, how, *args):
        """The failing call and its errno, or ("", 0)."""
        self.child.stdin.write(repr((how,) + args) + "\n")
        self.child.stdin.flush()
        reply = self.answer()
        return reply["call"], reply["errno"]

    def end(self):
        self.child.stdin.close()
        self.child.wait(30)


CHILD = r"""
import fcntl, mmap, os, sys
path = sys.argv[1]
held = os.open(path, os.O_RDWR)
data = os.read(held, 1 << 22)
print({'read': data.hex()}, flush=True)
call = ''
def at(name):
    global call
    call = name
def rewrite(new):
    at('open'); fd = os.open(path, os.O_WRONLY | os.O_TRUNC)
    at('write'); os.write(fd, new)
    at('close'); os.close(fd)
def fsynced(new):
    at('open'); fd = os.open(path, os.O_WRONLY | os.O_TRUNC)
    try:
        at('write'); os.write(fd, new)
        at('fsync'); os.fsync(fd)
    finally:
        was = call
        os.close(fd)
        at(was)
def in_place(offset, new):
    at('write'); os.pwrite(held, new, offset)
    at('close'); os.close(held)
def cut_and_write(size, new):
    at('ftruncate'); os.ftruncate(held, size)
    at('write'); os.pwrite(held, new, size)
    at('close'); os.close(held)
def append(new):
    flags = fcntl.fcntl(held, fcntl.F_GETFL)
    fcntl.fcntl(held, fcntl.F_SETFL, flags | os.O_APPEND)
    at('write'); os.write(held, new)
    at('fsync'); os.fsync(held)
    fcntl.fcntl(held, fcntl.F_SETFL, flags)
def edit(offset, new):
    at('write'); os.pwrite(held, new, offset)
    at('fsync'); os.fsync(held)
def reopened(new):
    at('open'); fd = os.open(f'/proc/self/fd/{held}', os.O_WRONLY | os.O_APPEND)
    at('write'); os.write(fd, new)
    at('close'); os.close(fd)
def mapped(offset, new):
    at('mmap')
    with mmap.mmap(held, 0) as file:
        file[offset:offset + len(new)] = new
        at('msync'); file.flush()
def shows(want):
    at(repr(os.pread(held, 1 << 22, 0)))
    if os.pread(held, 1 << 22, 0) != want: raise OSError(1, 'shows something else')
def save(new):
    temp = path + '.tmp.' + str(os.getpid())
    at('open'); fd = os.open(temp, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
    at('write'); os.write(fd, new)
    at('fsync'); os.fsync(fd)
    at('close'); os.close(fd)
    at('rename')
    try: os.rename(temp, path)
    except OSError:
        os.unlink(temp)
        raise
for line in sys.stdin:
    how, *args = eval(line)
    error = 0
    try:
        globals()[how](*args)
        call = ''
    except OSError as e: error = e.errno
    print({'call': call, 'errno': error}, flush=True)
"""


def both(lab, name, base, mounts=(0, 1)):
    """The file with that content, and two processes, on these mounts, that have read it."""
    path = f"memory/{name}"
    put(f"{lab.mounts[0]}/{path}", base)
    a, b = (Reader(f"{lab.mounts[i]}/{path}") for i in mounts)
    return a, b


def contest(lab, name, base, first, second, want, call="close", kept=None, what="write", mounts=(0, 1)):
    """`first` by a process on one mount, then `second` by one on the other, each on the same base. `want`: the head
    afterwards. `kept`: the second is refused at `call`, and this is what the router keeps of it."""
    a, b = both(lab, name, base, mounts)
    new = New(lab)
    equal(a.do(*first), ("", 0), "the first")
    equal(b.do(*second), (call, errno.ESTALE) if kept is not None else ("", 0), "the second")
    equal(slurp(a.path), want, "the head as the one sees it")
    equal(slurp(b.path), want, "the head as the other sees it")
    equal(new.all(), [] if kept is None else [(name, what, kept)], "what was kept")
    a.end()
    b.end()


TEXT = b"one\ntwo\nthree\n"


def test_edits_apart_are_merged(lab):
    one, three = TEXT.replace(b"one", b"ONE!"), TEXT.replace(b"three", b"3")
    merged = b"ONE!\ntwo\n3\n"
    contest(lab, "apart1", TEXT, ("rewrite", one), ("rewrite", three), merged)
    contest(lab, "apart2", TEXT, ("save", one), ("save", three), merged)
    contest(lab, "apart3", TEXT, ("save", one), ("rewrite", three), merged)
    contest(lab, "apart4", TEXT, ("rewrite", one), ("save", three), merged)
    contest(lab, "apart5", TEXT, ("in_place", 0, b"ONE"), ("in_place", 8, b"THREE"), b"ONE\ntwo\nTHREE\n")
    contest(lab, "apart6", TEXT, ("fsynced", one), ("cut_and_write", 8, b"3\n"), merged)


# A descriptor that is held open while another process, here or on another mount, saves over the file: what is written
# through it is in the new file too, as if it had been written there; else it is refused and kept.

def test_edits_through_a_replaced_file_are_merged(lab):
    one = TEXT.replace(b"one", b"ONE!")
    for mounts, of in (((0, 1), ""), ((0, 0), "-here")):
        def held(which, second, want):
            contest(lab, f"held{which}{of}", TEXT, ("save", one), second, want, mounts=mounts)  # noqa: B023
        held(1, ("in_place", 8, b"THREE"), b"ONE!\ntwo\nTHREE\n")
        held(2, ("cut_and_write", 8, b"3\n"), b"ONE!\ntwo\n3\n")
        held(3, ("cut_and_write", 0, b"one\ntwo\n3\n"), b"ONE!\ntwo\n3\n")
        held(4, ("append", b"four\n"), one + b"four\n")
        held(6, ("reopened", b"four\n"), one + b"four\n")
    # Here nobody knows who wrote to a mapping: it may be who saved, so this is as on a local disk.
    contest(lab, "held5", TEXT, ("save", one), ("mapped", 8, b"THREE"), b"ONE!\ntwo\nTHREE\n")
    contest(lab, "held5-here", TEXT, ("save", one), ("mapped", 8, b"THREE"), one, mounts=(0, 0))


def test_overlapping_edits_through_a_replaced_file_are_refused_and_kept(lab):
    theirs, json = TEXT.replace(b"two", b"theirs"), TEXT.replace(b"three", b"THREE")
    for mounts, of in (((0, 1), ""), ((0, 0), "-here")):
        def over(name, base, head, second, call, kept):
            contest(lab, f"over{of}{name}", base, ("save", head), second, head, call, kept, mounts=mounts)  # noqa: B023
        over("1", TEXT, theirs, ("in_place", 4, b"2!!"), "close", TEXT.replace(b"two", b"2!!"))
        over("2", TEXT, theirs, ("cut_and_write", 4, b"mine\n"), "close", b"one\nmine\n")
        over(".json", TEXT, theirs, ("in_place", 8, b"THREE"), "close", json)
    # A part of what has no lines: here it stays in the old file, as on a local disk.
    binary, edit = b"\0" + TEXT, ("edit", 9, b"THREE")
    contest(lab, "over4", binary, ("save", b"\0" + theirs), edit, b"\0" + theirs, "fsync", b"\0" + json)
    contest(lab, "over4-here", binary, ("save", b"\0" + theirs), edit, b"\0" + theirs, mounts=(0, 0))


def test_a_replaced_file_goes_on_for_who_holds_it(lab):
    a, b = both(lab, "goes-on", TEXT)
    new = New(lab)
    equal(a.do("save", TEXT.replace(b"one", b"ONE")), ("", 0))
    equal(b.do("append", b"four\n"), ("", 0))
    equal(b.do("edit", 8, b"THREE"), ("", 0))
    equal(b.do("shows", b"one\ntwo\nTHREE\nfour\n"), ("", 0), "the old file")
    equal(slurp(a.path), b"ONE\ntwo\nTHREE\nfour\n")
    again = Reader(a.path)
    equal(again.do("save", b"ONE\nTWO\nTHREE\nfour\n"), ("", 0))
    equal(b.do("edit", 19, b"five\n"), ("", 0))
    equal(b.do("append", b"six\n"), ("", 0))
    for mount in lab.mounts[:3]:
        equal(slurp(f"{mount}/memory/goes-on"), b"ONE\nTWO\nTHREE\nfour\nfive\nsix\n")
    rows = sql(lab, "SELECT what FROM linkspan.change WHERE path = 'goes-on' ORDER BY seq DESC LIMIT 3")
    equal(rows, [["append"], ["write"], ["rename"]], "the log of its name")
    # The one that goes on with it is removed: nothing takes the bytes but the list of conflicts.
    os.unlink(a.path)
    equal(b.do("append", b"seven\n"), ("fsync", errno.ESTALE))
    old = b"one\ntwo\nTHREE\nfour\nfive\nsix\n"
    equal(new.all(), [("goes-on", "write", old + b"seven\n")])
    again.end()
    a.end()
    b.end()


def test_who_saves_again_after_a_merge_goes_on_from_what_it_wrote(lab):
    """As editors do, which do not read what they have saved."""
    for how in ("save", "rewrite", "fsynced"):
        a, b = both(lab, f"again-{how}", TEXT)
        equal(a.do(how, TEXT + b"four\n"), ("", 0))
        for mine, head in ((b"ONE\ntwo\nthree\n", b"ONE\ntwo\nthree\nfour\n"), (b"1\ntwo\nthree\n", b"1\ntwo\nthree\nfour\n"),
                           (b"1\nthree\n", b"1\nthree\nfour\n"), (TEXT, TEXT + b"four\n")):
            equal(b.do(how, mine), ("", 0), f"{how} {mine}")
            equal(slurp(a.path), head, f"{how} {mine}")
        a.end()
        b.end()


def test_lines_added_at_one_place_are_both_there(lab):
    contest(lab, "MEMORY.md", b"# Memory\n", ("save", b"# Memory\n- a\n"), ("save", b"# Memory\n- b\n"),
            b"# Memory\n- a\n- b\n")
    contest(lab, "end", b"# Memory", ("rewrite", b"# Memory\n- a"), ("rewrite", b"# Memory\n- b"),
            b"# Memory\n- a\n- b")
    contest(lab, "crlf", b"x\r\ny", ("save", b"x\r\ny\r\na"), ("save", b"x\r\ny\r\nb"), b"x\r\ny\r\na\r\nb")


def test_overlapping_edits_are_refused_and_kept(lab):
    theirs, mine = TEXT.replace(b"two", b"theirs"), TEXT.replace(b"two", b"mine")
    contest(lab, "in-place", TEXT, ("rewrite", theirs), ("rewrite", mine), theirs, "close", mine)
    contest(lab, "synced", TEXT, ("rewrite", theirs), ("fsynced", mine), theirs, "fsync", mine)
    contest(lab, "saved", TEXT, ("save", theirs), ("save", mine), theirs, "rename", mine, "rename")
    contest(lab, "rplus", TEXT, ("in_place", 4, b"TWO"), ("in_place", 4, b"2!!"), TEXT.replace(b"two", b"TWO"),
            "close", TEXT.replace(b"two", b"2!!"))
    contest(lab, "truncated", TEXT, ("rewrite", theirs), ("cut_and_write", 4, b"mine\n"), theirs, "close",
            b"one\nmine\n")
    contest(lab, "deleted", TEXT, ("save", b"one\nthree\n"), ("save", mine), b"one\nthree\n", "rename", mine, "rename")


def test_what_is_no_text_is_never_merged(lab):
    one, three = b"\0" + TEXT.replace(b"one", b"ONE"), b"\0" + TEXT.replace(b"three", b"THREE")
    contest(lab, "binary", b"\0" + TEXT, ("rewrite", one), ("rewrite", three), one, "close", three)
    contest(lab, "saved.bin", b"\0" + TEXT, ("save", one), ("save", three), one, "rename", three, "rename")
    contest(lab, "state.json", b'{\n "a": 1,\n "b": 1\n}\n', ("save", b'{\n "a": 2,\n "b": 1\n}\n'),
            ("save", b'{\n "a": 1,\n "b": 2\n}\n'), b'{\n "a": 2,\n "b": 1\n}\n', "rename",
            b'{\n "a": 1,\n "b": 2\n}\n', "rename")


def test_a_refused_process_goes_on_after_it_has_read(lab):
    a, b = both(lab, "again", TEXT)
    equal(a.do("save", b"theirs\n"), ("", 0))
    equal(b.do("save", b"mine\n"), ("rename", errno.ESTALE))
    equal(b.do("rewrite", b"mine\n"), ("close", errno.ESTALE))  # it still has not read what it would write over
    b.end()
    with_eyes = Reader(b.path)
    equal(with_eyes.content, b"theirs\n")
    equal(with_eyes.do("save", b"theirs\nmine\n"), ("", 0))
    equal(slurp(a.path), b"theirs\nmine\n")
    a.end()
    with_eyes.end()


def test_who_reads_with_the_size_of_before_is_refused(lab):
    """Many programs read as many bytes as fstat said, and seek no end."""
    for looks in (False, True):
        mine, theirs = (f"{mount}/memory/size-{looks}" for mount in lab.mounts[:2])
        put(mine, TEXT)
        fd = os.open(mine, os.O_RDWR)
        size = os.fstat(fd).st_size
        put(theirs, slurp(theirs) + b"four\n")
        if looks:
            os.lseek(fd, 0, os.SEEK_END)  # the kernel asks for itself
            size = os.fstat(fd).st_size
        read = os.pread(fd, size, 0)
        equal(read, TEXT + b"four\n" if looks else TEXT)
        os.pwrite(fd, read.replace(b"one", b"ONE"), 0)
        os.ftruncate(fd, size)
        equal(errno_of(os.close, fd), 0 if looks else errno.ESTALE, f"looks: {looks}")
        equal(slurp(theirs), b"ONE\ntwo\nthree\nfour\n" if looks else TEXT + b"four\n")


def test_the_mount_says_where_the_bytes_are(lab):
    a, b = both(lab, "told", TEXT)
    equal(a.do("rewrite", b"theirs\n"), ("", 0))
    equal(b.do("rewrite", b"mine\n"), ("close", errno.ESTALE))
    log = "".join(p.read_text(errors="replace") for p in pathlib.Path(lab.dir, "log").glob("*.log"))
    number = sql(lab, "SELECT max(number) FROM linkspan.conflict")[0][0]
    line = [entry for entry in log.splitlines() if f"kept as conflict {number}," in entry]
    check(line and "'told'" in line[0] and "dropped" not in line[0], f"the log has {line}")
    stats = pathlib.Path(lab.mounts[1], ".linkspan/stats").read_text()
    counts = {entry.split("{")[0]: float(entry.split()[-1]) for entry in stats.splitlines() if 'route="memory"' in entry}
    check(counts["linkspan_conflicts_total"] >= 1, f"{counts}")
    equal(counts["linkspan_lost_commits_total"], 0)
    a.end()
    b.end()


def test_last_writer_wins_keeps_both_in_history(lab):
    paths = [f"{mount}/scratch/x" for mount in lab.mounts[:2]]
    put(paths[0], TEXT)
    a, b = Reader(paths[0]), Reader(paths[1])
    new = New(lab)
    equal(a.do("rewrite", b"theirs\n"), ("", 0))
    equal(b.do("rewrite", b"mine\n"), ("", 0))
    equal(slurp(paths[0]), b"mine\n")
    equal(new.all(), [])
    ino = os.stat(paths[0]).st_ino
    versions = sql(lab, "SELECT size FROM linkspan.version WHERE tenant = (SELECT id FROM linkspan.tenant WHERE "
                   f"name = 'lab') AND ino = {ino} ORDER BY version DESC LIMIT 2")
    equal(versions, [["5"], ["7"]])
    a.end()
    b.end()


# ---- other policies: a router and mounts of their own ------------------------------------------

class Ruled:
    """Two mounts of a tenant `name`, on the lab's Postgres, whose `memory` has the rules as the TOML says them."""

    def __init__(self, lab, name, rules):
        self.lab, self.name, self.processes = lab, name, []
        base = f"{lab.base}/{name}"
        os.mkdir(base)
        os.chmod(base, 0o755)
        token = eval(labtest.sh(f"{labtest.BUILD}/routerd/linkspan-routerd token new"))  # noqa: S307
        pathlib.Path(f"{base}/token").write_text(token["token"])
        os.chmod(f"{base}/token", 0o600)
        host = lab.info["postgres"].split("host=")[1].split()[0]
        pathlib.Path(f"{base}/toml").write_text(f'''store = "postgresql:///linkspan?host={host}&user=linkspan"
listen = ["unix:{base}/sock"]
[[tenant]]
name = "{name}"
[[tenant.volume]]
name = "memory"
[[tenant.token]]
sha256 = "{token["sha256"]}"
principal = "agent"
[[tenant.token.route]]
path = "memory"
volume = "memory"
rights = "rw"
{rules}
''')
        self.start("router", [f"{labtest.BUILD}/routerd/linkspan-routerd", "--config", f"{base}/toml"])
        self.mounts = [f"{base}/mount{i}" for i in (1, 2)]
        for i, tree in enumerate(self.mounts):
            os.mkdir(tree)
            self.start(f"mount{i}", [f"{labtest.BUILD}/fusefs/cli/linkspan", "mount", "--foreground", "--router",
                                     f"unix:{base}/sock", "--token-file", f"{base}/token",
                                     "--state-dir", f"{base}/state{i}", tree])

    def start(self, name, command):
        r, w = os.pipe()
        with open(f"{self.lab.base}/{self.name}/{name}.log", "wb") as log:
            self.processes.append(subprocess.Popen(command + ["--ready-fd", str(w)], pass_fds=[w], stdout=log,
                                                   stderr=log))
        os.close(w)
        with os.fdopen(r) as pipe:
            check(pipe.readline(), pathlib.Path(f"{self.lab.base}/{self.name}/{name}.log").read_text()[-800:])

    def end(self):
        for process in reversed(self.processes):
            process.terminate()
            process.wait(30)


PATTERNS = '''policy = "merge"
[[tenant.token.route.pattern]]
glob = "lists/*.json"
policy = "merge"
[[tenant.token.route.pattern]]
glob = "*.csv"
policy = "reject"
[[tenant.token.route.pattern]]
glob = "journal/**/*.log"
policy = "last-writer-wins"
'''


def test_patterns_decide_by_name_and_path(lab):
    ruled = Ruled(lab, "patterns", PATTERNS)
    try:
        of = type("Lab", (), {"mounts": ruled.mounts, "info": lab.info, "base": lab.base})
        one, three = TEXT.replace(b"one", b"ONE"), TEXT.replace(b"three", b"THREE")
        merged = one.replace(b"three", b"THREE")
        for directory in ("lists", "journal", "journal/2026"):
            os.mkdir(f"{of.mounts[0]}/memory/{directory}")
        # `reject` of what could be merged, wherever it is
        contest(of, "a.csv", TEXT, ("save", one), ("save", three), one, "rename", three, "rename")
        contest(of, "journal/b.csv", TEXT, ("rewrite", one), ("rewrite", three), one, "close", three)
        # `merge` of what the built-in list would refuse, only there
        contest(of, "lists/a.json", TEXT, ("save", one), ("save", three), merged)
        contest(of, "lists/b.json", TEXT, ("in_place", 0, b"ONE"), ("in_place", 8, b"THREE"), merged)
        contest(of, "a.json", TEXT, ("rewrite", one), ("rewrite", three), one, "close", three)
        # `last-writer-wins` below one directory, at any depth
        contest(of, "journal/a.log", TEXT, ("rewrite", one), ("rewrite", three), three)
        contest(of, "journal/2026/a.log", TEXT, ("save", one), ("save", three), three)
        contest(of, "journal/2026/b.log", TEXT, ("in_place", 0, b"ONE"), ("in_place", 0, b"1st"),
                TEXT.replace(b"one", b"1st"))
        contest(of, "a.log", TEXT, ("save", one), ("save", three), merged)
        routes = pathlib.Path(of.mounts[1], ".linkspan/routes").read_text().splitlines()
        equal([" ".join(line.split()) for line in routes if line.startswith("pattern")],
              ["pattern memory merge lists/*.json", "pattern memory reject *.csv",
               "pattern memory last-writer-wins journal/**/*.log"])
    finally:
        ruled.end()


def test_reject_refuses_what_could_be_merged(lab):
    strict = Ruled(lab, "strict", 'policy = "reject"')
    try:
        lab_of = type("Lab", (), {"mounts": strict.mounts, "info": lab.info, "base": lab.base})
        one, three = TEXT.replace(b"one", b"ONE"), TEXT.replace(b"three", b"THREE")
        contest(lab_of, "a", TEXT, ("rewrite", one), ("rewrite", three), one, "close", three)
        contest(lab_of, "b", TEXT, ("save", one), ("save", three), one, "rename", three, "rename")
        contest(lab_of, "c", TEXT, ("in_place", 0, b"ONE"), ("in_place", 8, b"THREE"), one, "close", three)
        # Over a file that the other removed.
        a, b = both(lab_of, "gone", TEXT)
        new = New(lab)
        os.unlink(a.path)
        equal(b.do("save", three), ("rename", errno.ESTALE))
        equal(new.all(), [("gone", "rename", three)])
        check(not os.path.exists(b.path), "a refused rename made the file")
        a.end()
        b.end()
    finally:
        strict.end()


# ---- eight writers of one MEMORY.md ------------------------------------------------------------

def add_by_save(path, line, who):
    data = slurp(path)
    temp = f"{path}.tmp.{who}"
    fd = os.open(temp, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o644)
    try:
        os.write(fd, data + line)
        os.fsync(fd)
    finally:
        os.close(fd)
    os.rename(temp, path)


def add_in_place(path, line, _who):
    data = slurp(path)
    put(path, data + line)


def add_in_the_middle(path, line, who):
    data = slurp(path)
    head, mark, tail = data.partition(b"<!-- new lines above -->\n")
    temp = f"{path}.tmp.{who}"
    put(temp, head + line + mark + tail)
    os.rename(temp, path)


def append(path, line, _who):
    fd = os.open(path, os.O_WRONLY | os.O_APPEND)
    try:
        os.write(fd, line)
    finally:
        os.close(fd)


HELD = {}


def append_held(path, line, _who):
    """By a descriptor that others replace the file of, again and again."""
    if path not in HELD:
        HELD[path] = os.open(path, os.O_WRONLY | os.O_APPEND)
    os.write(HELD[path], line)
    os.fsync(HELD[path])


WRITER = r"""
import os, sys
sys.path.insert(0, sys.argv[1])
import conflicts
name, path, who, rounds = sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5])
add = getattr(conflicts, name)
for i in range(rounds):
    line = f'- writer {who} round {i}\n'.encode()
    try:
        add(path, line, who)
        print('ok', who, i, flush=True)
    except OSError as error:
        print('refused', who, i, error.errno, flush=True)
"""


def eight_writers(lab, name, add, base, mounts=WRITERS):
    put(f"{lab.mounts[0]}/memory/{name}", base)
    new = New(lab)
    begun = time.monotonic()
    children = [subprocess.Popen([sys.executable, "-c", WRITER, os.path.dirname(os.path.abspath(__file__)),
                                  add[i % len(add)],
                                  f"{lab.mounts[i % mounts]}/memory/{name}", str(i), str(ROUNDS)],
                                 stdout=subprocess.PIPE, text=True) for i in range(WRITERS)]
    outputs = [None] * WRITERS

    def collect(i):
        outputs[i] = children[i].communicate(timeout=240)[0].split("\n")
    threads = [threading.Thread(target=collect, args=(i,)) for i in range(WRITERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    results = [line.split() for output in outputs for line in output if line]
    equal(len(results), WRITERS * ROUNDS, "each try has a result")
    refused = [r for r in results if r[0] == "refused"]
    check(all(int(r[3]) == errno.ESTALE for r in refused), f"refused with another errno: {refused[:5]}")
    head = slurp(f"{lab.mounts[-1]}/memory/{name}")
    for mount in lab.mounts:
        equal(slurp(f"{mount}/memory/{name}"), head, "every mount shows the same")
    lines = head.split(b"\n")
    kept = {line for _, _, content in new.all() for line in content.split(b"\n")} if refused else set()
    for result in results:
        line = f"- writer {result[1]} round {result[2]}".encode()
        if result[0] == "ok":
            equal(lines.count(line), 1, f"{line} of a success in the head")
        else:
            check(lines.count(line) == 1 or line in kept, f"{line} was refused and is nowhere")
    check(base.split(b"\n")[0] in lines, "the first line is gone")
    print(f"     {name}: {len(results) - len(refused)} of {len(results)} went in, {len(refused)} refused and kept, "
          f"{time.monotonic() - begun:.1f} s", flush=True)
    return len(refused)


def test_eight_writers_by_save(lab):
    equal(eight_writers(lab, "eight-save.md", ["add_by_save"], b"# Memory\n"), 0, "additions were refused")


def test_eight_writers_by_save_in_the_middle(lab):
    base = b"# Memory\n\n<!-- new lines above -->\n\n## More\n"
    equal(eight_writers(lab, "eight-middle.md", ["add_in_the_middle"], base), 0, "additions were refused")


def test_eight_writers_in_place(lab):
    refused = eight_writers(lab, "eight-place.md", ["add_in_place"], b"# Memory\n")
    check(refused <= BEGINNERS, f"{refused} additions were refused")


def test_eight_writers_of_one_mount_and_of_two(lab):
    for mounts in (1, 2):
        equal(eight_writers(lab, f"eight-save-{mounts}.md", ["add_by_save"], b"# Memory\n", mounts), 0,
              "additions were refused")
        # Who reads what another process of its mount has just emptied is refused; nothing is lost.
        eight_writers(lab, f"eight-place-{mounts}.md", ["add_in_place"], b"# Memory\n", mounts)


def test_eight_writers_by_append(lab):
    equal(eight_writers(lab, "eight-append.md", ["append"], b"# Memory\n"), 0, "an append was refused")


def test_writers_that_hold_the_file_and_writers_that_save(lab):
    refused = eight_writers(lab, "eight-held.md", ["append_held", "add_by_save"], b"# Memory\n")
    check(refused <= BEGINNERS, f"{refused} additions were refused")
    # Who reads a file as it is replaced, and rewrites the one in its place, may be refused; nothing is lost.
    eight_writers(lab, "eight-ways.md", ["append_held", "add_by_save", "append_held", "add_in_place"], b"# Memory\n")


if __name__ == "__main__":
    labtest.main(globals(), mounts=WRITERS)
