#!/usr/bin/env python3
"""A worker of the consistency checker: one process on one mount that does random operations and prints
a record of each as a line of JSON. It judges next to nothing: that is for proofs.py.

A record: op, who, mount; call, return (CLOCK_MONOTONIC, one clock for all processes);
  writes  [[key, value], ...] that the operation set; with `error` they may have been set, or will be
  saw     [[key, value], ...] that it observed; None: there is no such file
  error   errno; what else a proof needs stands beside, see there
Everything observable is a register: a file's content, size, mode, mtime, an xattr, whether a name is
there, where a symlink leads, at which of two names a moved directory is.

Files whose names never change (h, a, z) lie in a folder of their own in which nothing else happens: what
is cached of them can be used whatever happens elsewhere, for instance on a mount that is cut off.

Keys are "SLOT/name"; each slot is a folder of its own used for SLOT_SECONDS, so that an operation of
unknown outcome makes the proofs vague for that long only.
"""
import errno
import fcntl
import json
import os
import random
import re
import sys
import time
import zlib

SLOT_SECONDS = 15
REGISTERS, HELD, NAMES, LOGS, ATTRIBUTED, MOVED, LOCKS = 3, 2, 4, 2, 2, 2, 2
VALUE = re.compile(r"\d+\.\d+")
FIRST = "0.0"  # the value of every content register when a slot begins
FIRST_MTIME = 1_600_000_000_000_000_000
MODES = (0o600, 0o640, 0o644, 0o660, 0o664, 0o666)
NOTES = "".join(f"- line {i} of the template, which nobody edits\n" for i in range(40))
TEXTS = ("saved.md", "inplace.md", "saved-plan.md", "inplace-plan.md")
PLANS = 2  # lines
# The kernel hands a handle's bytes to others 100 ms after a write: a writer slower than this between
# its first write and its close shows two states, and that is no fault.
SLOW_WRITER_NS = 60_000_000

# Operation -> weight.
VERBS = {"save": 4, "rewrite": 3, "read": 10, "held_rewrite": 3, "held_read": 8, "stat": 4, "create": 5,
         "unlink": 4, "exists": 6, "make_dir": 3, "remove_dir": 3, "dir_exists": 4, "list": 5, "append": 5,
         "held_append": 3, "read_log": 4, "chmod": 2, "touch": 2, "set_xattr": 2, "stat_attributes": 6,
         "get_xattr": 4, "truncate": 4, "stat_size": 4, "relink": 4, "readlink": 5, "move_dir": 3,
         "find_dir": 6, "move_file": 3, "find_file": 6, "race": 3, "private": 4, "note": 3, "revise": 4, "locked": 4}

# Each value of these has to be in the history.
REGISTERED = ("save", "rewrite", "held_rewrite")

# A watcher does only one of these, so that a path which has to ask the router never blocks it: while
# its mount is cut off it goes on reading what the kernel has. (A moment between two looks.)
WATCHED = ("held_read", "stat_size")
WATCH_SECONDS = 0.01


def hash_of(text):
    value = 0
    for c in text:
        value = (value * 131 + ord(c)) % 1_000_003
    return value


def body(value):
    """Long enough that a mix would show; the value stands at both ends and the length tells it."""
    return (value + "\n" + "x" * (hash_of(value) % 9000) + "\n" + value + "\n").encode()


def half(data):
    """Where a rewrite in place begins its second write."""
    return len(data) // 2


def body_size(value):
    return 2 * (len(value) + 1) + hash_of(value) % 9000 + 1


def shown(data):
    """Its length, and its runs of bytes: "1.14\\n, 3503 x, 12 \\0, ..."."""
    runs = (m.group() for m in re.finditer(rb"x+|\0+|[^x\0]+", data))
    parts = [f"{len(r)} {r[:1]!r}" if r[:1] in b"x\0" else f"{r[:20]!r}" for r in runs]
    return f"{len(data)} bytes: {', '.join(parts[:8])}"


def line_of(value):
    return f"{value} {'y' * (hash_of(value) % 200)}"


def plan_line(value):
    return f"- plan {value:<12}"  # one as long as the other: written in place, it fits


def put(path, data):
    fd = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o644)
    try:
        os.write(fd, data)
    finally:
        os.close(fd)


def get(path):
    """By one call: between two, a file that is rewritten in place changes, as on a local disk."""
    fd = os.open(path, os.O_RDONLY)
    try:
        return os.read(fd, 1 << 20)
    finally:
        os.close(fd)


def still(folder):
    return folder + ".still"


def prepare(folder, notes):
    """Makes a slot's folders: what is in them has its first value before anybody starts."""
    os.mkdir(folder)
    os.mkdir(still(folder))
    os.mkdir(notes)
    for i in range(REGISTERS):
        put(f"{folder}/r{i}", body(FIRST))
    for i in range(HELD):
        put(f"{still(folder)}/h{i}", body(FIRST))
    for i in range(ATTRIBUTED):
        path = f"{still(folder)}/a{i}"
        put(path, b"attributed\n")
        os.chmod(path, 0o644)
        os.utime(path, ns=(FIRST_MTIME, FIRST_MTIME))
    put(f"{still(folder)}/z0", b"")
    os.symlink(FIRST, f"{folder}/s0")
    for i in range(MOVED):
        os.mkdir(f"{folder}/g{i}.a")
        put(f"{folder}/g{i}.a/inner", b"inner\n")
        put(f"{folder}/f{i}.a", b"moved\n")
    for i in range(LOCKS):
        put(f"{folder}/k{i}", b"")
        put(f"{folder}/c{i}", b"0\n")
    for name in TEXTS:
        put(f"{notes}/{name}", ((plan_line(FIRST) + "\n") * PLANS if "plan" in name else NOTES).encode())


def first_value(key):
    """The value of a register before the first write."""
    name = key.split("/")[1]
    if "#" in name:
        what = name.split("#")[1]
        return {"size": body_size(FIRST) if name[0] in "rh" else 0, "mode": 0o644, "mtime": FIRST_MTIME,
                "xattr": None}[what]
    return {"r": FIRST, "h": FIRST, "s": FIRST, "g": "a", "f": "a"}.get(name[0], False)


class Worker:
    def __init__(self, who, mount, tree, folder, seed, begin, seconds, verbs):
        self.rng = random.Random(seed * 1000 + who)
        self.me, self.mount, self.tree, self.folder = who, mount, tree, folder
        self.begin, self.end, self.count = begin, begin + seconds, 0
        self.verbs = verbs
        self.slot, self.root, self.held = None, None, {}
        self.enter(0)

    def enter(self, slot):
        if slot == self.slot:
            return
        for fd in self.held.values():
            try:
                os.close(fd)
            except OSError:
                pass
        self.slot, self.held = slot, {}
        self.root = f"{self.tree}/scratch/{self.folder}/{slot}"
        self.still = still(self.root)
        self.notes = f"{self.tree}/memory/{self.folder}/{slot}"

    def path(self, name):
        return f"{self.still if name[0] in 'haz' else self.root}/{name}"

    def key(self, name):
        return f"{self.slot}/{name}"

    def unique(self):
        self.count += 1
        return f"{self.me}.{self.count}"

    def run(self):
        names, weights = list(self.verbs), list(self.verbs.values())
        while time.monotonic() < self.begin:
            time.sleep(0.01)  # all begin together
        while (now := time.monotonic()) < self.end:
            self.enter(int((now - self.begin) / SLOT_SECONDS))
            if len(names) == 1:
                time.sleep(WATCH_SECONDS)
            print(json.dumps(self.do(self.rng.choices(names, weights)[0])), flush=True)

    def do(self, verb):
        record = {"op": verb, "who": self.me, "mount": self.mount, "writes": [], "saw": []}
        record["call"] = time.monotonic_ns()
        try:
            getattr(self, verb)(record)
        except OSError as error:
            record["error"] = error.errno
            if error.errno in (errno.ENOTCONN, errno.ECONNABORTED, errno.EIO, errno.EBADF):
                slot, self.slot = self.slot, None  # the mount died: its descriptors are of no use
                self.enter(slot)
                time.sleep(0.02)
        record["return"] = time.monotonic_ns()
        return record

    # -- content --

    def save(self, record):
        name, value = f"r{self.rng.randrange(REGISTERS)}", self.unique()
        key = self.key(name)
        record["writes"] = [[key, value], [key + "#size", body_size(value)]]
        temporary = f"{self.root}/{name}.tmp.{self.me}"
        fd = os.open(temporary, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o644)
        try:
            os.write(fd, body(value))
            os.fsync(fd)
        finally:
            os.close(fd)
        os.rename(temporary, f"{self.root}/{name}")

    def rewrite(self, record, name=None):
        name, value = name or f"r{self.rng.randrange(REGISTERS)}", self.unique()
        key = self.key(name)
        record["writes"] = [[key, value], [key + "#size", body_size(value)]]
        record["dirty"] = key
        fd = os.open(self.path(name), os.O_WRONLY | os.O_TRUNC)
        data = body(value)
        begun = time.monotonic_ns()
        try:
            os.write(fd, data[:half(data)])
            os.write(fd, data[half(data):])
        finally:
            record["slow"] = time.monotonic_ns() - begun > SLOW_WRITER_NS
            os.close(fd)

    def held_rewrite(self, record):
        self.rewrite(record, f"h{self.rng.randrange(HELD)}")

    def parse(self, record, key, data):
        value = data.split(b"\n")[0].decode(errors="replace")
        if data == body(value):
            record["saw"].append([key, value])
        else:
            record["torn"] = [key, shown(data)]
            lines = [line.decode(errors="replace") for line in data.rstrip(b"\n").split(b"\n")]
            record["ends"] = [value, lines[-1]]
            record["values"] = sorted({line for line in lines if VALUE.fullmatch(line)})

    def read(self, record):
        name = f"r{self.rng.randrange(REGISTERS)}"
        record["reads"] = self.key(name)
        try:
            self.parse(record, self.key(name), get(f"{self.root}/{name}"))
        except FileNotFoundError:
            record["saw"].append([self.key(name), None])

    def held_read(self, record):
        """A descriptor that stays open sees a rewrite in place after its commit, size and pages together."""
        name = f"h{self.rng.randrange(HELD)}"
        key = record["reads"] = self.key(name)
        if name not in self.held:
            self.held[name] = os.open(self.path(name), os.O_RDONLY)
        fd = self.held[name]
        before, data, after = os.fstat(fd), os.pread(fd, 1 << 20, 0), os.fstat(fd)
        self.parse(record, key, data)
        if (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns) and before.st_size != len(data):
            record["torn"] = [key, f"size {before.st_size} before and after, {len(data)} bytes read"]

    def stat(self, record):
        name = f"{self.rng.choice('rh')}{self.rng.randrange(2)}"
        record["reads"] = self.key(name)
        try:
            record["saw"].append([self.key(name) + "#size", os.stat(self.path(name)).st_size])
        except FileNotFoundError:
            record["saw"].append([self.key(name) + "#size", None])

    def truncate(self, record):
        self.count += 1
        size = self.count * 64 + self.me
        record["writes"] = [[self.key("z0#size"), size]]
        os.truncate(self.path("z0"), size)

    def stat_size(self, record):
        record["saw"].append([self.key("z0#size"), os.stat(self.path("z0")).st_size])

    # -- names --

    def create(self, record, name=None):
        name = name or f"n{self.rng.randrange(NAMES)}"
        try:
            record["writes"] = [[self.key(name), True]]
            os.close(os.open(f"{self.root}/{name}", os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))
        except FileExistsError:
            record["writes"], record["saw"] = [], [[self.key(name), True]]

    def unlink(self, record):
        name = f"n{self.rng.randrange(NAMES)}"
        try:
            record["writes"] = [[self.key(name), False]]
            os.unlink(f"{self.root}/{name}")
        except FileNotFoundError:
            record["writes"], record["saw"] = [], [[self.key(name), False]]

    def make_dir(self, record):
        name = f"d{self.rng.randrange(NAMES)}"
        try:
            record["writes"] = [[self.key(name), True]]
            os.mkdir(f"{self.root}/{name}")
        except FileExistsError:
            record["writes"], record["saw"] = [], [[self.key(name), True]]

    def remove_dir(self, record):
        name = f"d{self.rng.randrange(NAMES)}"
        try:
            record["writes"] = [[self.key(name), False]]
            os.rmdir(f"{self.root}/{name}")
        except FileNotFoundError:
            record["writes"], record["saw"] = [], [[self.key(name), False]]

    def is_there(self, name):
        try:
            os.lstat(f"{self.root}/{name}")
            return True
        except FileNotFoundError:
            return False

    def exists(self, record, kind="n"):
        name = f"{kind}{self.rng.randrange(NAMES)}"
        record["saw"] = [[self.key(name), self.is_there(name)]]

    def dir_exists(self, record):
        self.exists(record, "d")

    def list(self, record):
        found = set(os.listdir(self.root))
        record["saw"] = [[self.key(f"{kind}{i}"), f"{kind}{i}" in found] for i in range(NAMES) for kind in "nd"]
        for kind in "gf":
            for i in range(MOVED):
                at_a, at_b = f"{kind}{i}.a" in found, f"{kind}{i}.b" in found
                record["saw"] += [[self.key(f"{kind}{i}"), "a" if at_a else "b"],
                                  [self.key(f"{kind}{i}"), "b" if at_b else "a"]]
        missing = [n for n in ("r0", "s0", "k0", "c0") if n not in found]
        if missing:
            record["bad"] = f"a listing without {missing}, which are never removed"

    def race(self, record):
        """Everybody wants the same new name at the same time."""
        name = f"x{int(time.monotonic() * 4)}"
        record["race"] = self.key(name)
        try:
            os.close(os.open(f"{self.root}/{name}", os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))
            record["won"] = True
        except FileExistsError:
            record["won"] = False

    # -- moved files and directories: at name.a or at name.b --

    def move(self, record, kind):
        name = f"{kind}{self.rng.randrange(MOVED)}"
        here, there = self.rng.sample("ab", 2)
        record["writes"] = [[self.key(name), there]]
        try:
            os.rename(f"{self.root}/{name}.{here}", f"{self.root}/{name}.{there}")
        except FileNotFoundError:
            record["writes"], record["saw"] = [], [[self.key(name), there]]

    def find(self, record, kind, inner):
        name, here = f"{kind}{self.rng.randrange(MOVED)}", self.rng.choice("ab")
        other = "b" if here == "a" else "a"
        try:
            data = get(f"{self.root}/{name}.{here}{inner}")
            record["saw"] = [[self.key(name), here]]
            if data not in (b"inner\n", b"moved\n"):
                record["bad"] = f"a moved file has {data!r}"
        except FileNotFoundError:
            record["saw"] = [[self.key(name), other]]

    def move_dir(self, record):
        self.move(record, "g")

    def find_dir(self, record):
        self.find(record, "g", "/inner")

    def move_file(self, record):
        self.move(record, "f")

    def find_file(self, record):
        self.find(record, "f", "")

    # -- attributes --

    def attributed(self):
        return f"a{self.rng.randrange(ATTRIBUTED)}"

    def chmod(self, record):
        name, mode = self.attributed(), self.rng.choice(MODES)
        record["writes"] = [[self.key(name) + "#mode", mode]]
        os.chmod(self.path(name), mode)

    def touch(self, record):
        name = self.attributed()
        self.count += 1
        mtime = FIRST_MTIME + self.count * 1000 + self.me
        record["writes"] = [[self.key(name) + "#mtime", mtime]]
        os.utime(self.path(name), ns=(mtime, mtime))

    def set_xattr(self, record):
        name, value = self.attributed(), self.unique()
        record["writes"] = [[self.key(name) + "#xattr", value]]
        os.setxattr(self.path(name), "user.check", value.encode())

    def stat_attributes(self, record):
        name = self.attributed()
        found = os.stat(self.path(name))
        record["saw"] = [[self.key(name) + "#mode", found.st_mode & 0o777],
                         [self.key(name) + "#mtime", found.st_mtime_ns]]

    def get_xattr(self, record):
        name = self.attributed()
        try:
            value = os.getxattr(self.path(name), "user.check").decode()
        except OSError as error:
            if error.errno != errno.ENODATA:
                raise
            value = None
        record["saw"] = [[self.key(name) + "#xattr", value]]

    def relink(self, record):
        value = self.unique()
        record["writes"] = [[self.key("s0"), value]]
        temporary = f"{self.root}/s0.tmp.{value}"
        os.symlink(value, temporary)
        os.rename(temporary, f"{self.root}/s0")

    def readlink(self, record):
        try:
            record["saw"] = [[self.key("s0"), os.readlink(f"{self.root}/s0")]]
        except FileNotFoundError:
            record["saw"] = [[self.key("s0"), None]]

    # -- appends --

    def append(self, record):
        name, value = f"l{self.rng.randrange(LOGS)}", self.unique()
        record["append"], record["value"] = self.key(name), value
        fd = os.open(f"{self.root}/{name}", os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o644)
        try:
            os.write(fd, (line_of(value) + "\n").encode())
        finally:
            os.close(fd)

    def held_append(self, record):
        name, value = f"l{self.rng.randrange(LOGS)}", self.unique()
        record["append"], record["value"] = self.key(name), value
        if name not in self.held:
            self.held[name] = os.open(f"{self.root}/{name}", os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o644)
        os.write(self.held[name], (line_of(value) + "\n").encode())
        os.fsync(self.held[name])

    def read_log(self, record):
        name = f"l{self.rng.randrange(LOGS)}"
        record["log"] = self.key(name)
        try:
            data = get(f"{self.root}/{name}")
        except FileNotFoundError:
            data = b""
        record["lines"], record["length"], record["crc"] = data.count(b"\n"), len(data), zlib.crc32(data)

    # -- exactly once: nobody else uses these names, so that only an own retry can be in the way --

    def private(self, record):
        base = f"{self.root}/p{self.unique()}"
        steps = [(os.mkdir, base), (os.mkdir, base + "/d"), (os.rename, base + "/d", base + "/e"),
                 (put_new, base + "/e/f"), (os.rename, base + "/e/f", base + "/g"), (os.link, base + "/g", base + "/h"),
                 (os.symlink, "g", base + "/s"), (os.unlink, base + "/s"), (os.unlink, base + "/g"),
                 (os.unlink, base + "/h"), (os.rmdir, base + "/e"), (os.rmdir, base)]
        for call, *names in steps:
            try:
                call(*names)
            except OSError as error:
                if error.errno in (errno.EEXIST, errno.ENOENT, errno.ENOTEMPTY):
                    record["bad"] = f"{call.__name__}({names}): {error.strerror}, for a name that only this process uses"
                    return
                raise

    # -- read, edit, save of one text by all --

    def edit_text(self, record, name, line, change):
        """`change` puts the line into the text's; `sum` tells the whole text that was to be saved."""
        inplace = self.me % 2 == 0 and self.rng.random() < 0.4  # one worker of a mount: see proofs.py
        name = f"{'inplace' if inplace else 'saved'}{name}.md"
        record["text"], record["line"] = f"{self.slot}/{name}", line
        path = f"{self.notes}/{name}"
        try:
            lines = get(path).decode().splitlines(keepends=True)
            change(lines)
            text = "".join(lines).encode()
            record["sum"] = [len(text), zlib.crc32(text)]
            if inplace:
                record["dirty"] = record["text"]
                fd = os.open(path, os.O_WRONLY)
                try:
                    os.write(fd, text)
                    record["accepted"] = True
                finally:
                    os.close(fd)
                return
            temporary = f"{path}.tmp.{self.me}"
            fd = os.open(temporary, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o644)
            try:
                os.write(fd, text)
                os.fsync(fd)
                record["accepted"] = True
            finally:
                os.close(fd)
            os.rename(temporary, path)
        except OSError as error:
            if error.errno != errno.ESTALE:
                raise
            record["conflict"] = True

    def note(self, record):
        """A line more: whoever adds lines, and where, all of them stay."""
        line = f"- note {self.unique()}"
        self.edit_text(record, "", line, lambda lines: lines.insert(
            self.rng.choice([len(lines), self.rng.randrange(len(lines) + 1)]), line + "\n"))

    def revise(self, record):
        """Another line for one that is there: of two at once one is refused."""
        line = plan_line(self.unique())
        self.edit_text(record, "-plan", line,
                       lambda lines: lines.__setitem__(self.rng.randrange(len(lines)), line + "\n"))

    # -- locks --

    def locked(self, record):
        index = self.rng.randrange(LOCKS)
        name = f"k{index}"
        lock = fcntl.flock if index % 2 == 0 else fcntl.lockf
        fd = os.open(f"{self.root}/{name}", os.O_RDWR)
        try:
            lock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            taken = time.monotonic_ns()
            record["lock"], record["taken"] = self.key(name), taken
            mine = f"{self.unique()}\n".encode()
            os.pwrite(fd, mine, 0)
            os.fsync(fd)
            counter = f"{self.root}/c{index}"
            number = int(get(counter))
            put(counter, f"{number + 1}\n".encode())
            record["counted"] = number + 1
            until = time.monotonic_ns()
            seen = os.pread(fd, 100, 0)
            # What is written under a lock that was lost meanwhile is refused (EIO); else it was held till here.
            os.pwrite(fd, mine, 0)
            os.fsync(fd)
            record["released"] = until
            if seen[:len(mine)] != mine:
                record["bad"] = f"{seen!r} in a file that it locked and wrote {mine!r} into"
        except BlockingIOError:
            record["busy"] = True
        finally:
            os.close(fd)

    def observe(self, slots):
        """Everything once more, when all is quiet."""
        for slot in range(slots):
            self.enter(slot)
            for verb in ("read", "held_read", "stat", "stat_size", "exists", "dir_exists", "list", "read_log",
                         "stat_attributes", "get_xattr", "readlink", "find_dir", "find_file"):
                for _ in range(4):
                    yield self.do(verb)


def put_new(path):
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))


if __name__ == "__main__":
    Worker(**json.loads(sys.argv[1])).run()
