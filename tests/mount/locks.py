#!/usr/bin/env python3
"""Locks across real mounts: flock and fcntl, waiting, signals, deadlocks, holders that die, a router
that restarts, cuts; counters and SQLite databases that several mounts change at once.

Each actor is a process of its own on one mount (Actor below), told what to do line by line.
LINKSPAN_SEED and LINKSPAN_ROUNDS (default 1) make the counters longer."""
import errno
import fcntl
import json
import os
import pathlib
import signal
import struct
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
import labtest  # noqa: E402
from labtest import check, equal, eventually, sh  # noqa: E402

ROUNDS = int(os.environ.get("LINKSPAN_ROUNDS", "1"))
LEASE_MS = 2000
LINKSPAN = labtest.BUILD + "/fusefs/cli/linkspan"

# ---- actors: run as `locks.py --actor`, commands on stdin, one line of JSON back for each ---------

SETLK, SETLKW, GETLK = fcntl.F_SETLK, fcntl.F_SETLKW, fcntl.F_GETLK
OFD = {SETLK: 37, SETLKW: 38, GETLK: 36}
TYPES = {"r": fcntl.F_RDLCK, "w": fcntl.F_WRLCK, "u": fcntl.F_UNLCK}


def record(command, kind, start, length, fd):
    packed = struct.pack("hhqqi4x", TYPES[kind], os.SEEK_SET, start, length, 0)
    return struct.unpack("hhqqi4x", fcntl.fcntl(fd, command, packed))


class Act:
    def __init__(self):
        self.fds = {}
        signal.signal(signal.SIGUSR1, lambda *_: None)
        signal.siginterrupt(signal.SIGUSR1, True)

    def open(self, name, path, flags=os.O_RDWR | os.O_CREAT):
        self.fds[name] = os.open(path, flags, 0o644)

    def dup(self, name, of):
        self.fds[name] = os.dup(self.fds[of])

    def close(self, name):
        os.close(self.fds.pop(name))

    def flock(self, name, how):
        op = {"s": fcntl.LOCK_SH, "x": fcntl.LOCK_EX, "u": fcntl.LOCK_UN}[how[0]] | (fcntl.LOCK_NB if "n" in how else 0)
        # fcntl.flock tries again after a signal (PEP 475); the tests want to see EINTR.
        import ctypes
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.flock(self.fds[name], op) != 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

    def lock(self, name, kind, start=0, length=0, wait=False, ofd=False):
        import ctypes
        libc = ctypes.CDLL(None, use_errno=True)
        command = SETLKW if wait else SETLK
        packed = ctypes.create_string_buffer(struct.pack("hhqqi4x", TYPES[kind], os.SEEK_SET, start, length, 0))
        if libc.fcntl(self.fds[name], OFD[command] if ofd else command, packed) != 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

    def test(self, name, kind, start=0, length=0):
        found = record(GETLK, kind, start, length, self.fds[name])
        back = {v: k for k, v in TYPES.items()}[found[0]]
        return [back] if back == "u" else [back, found[2], found[3], found[4]]

    def write(self, name, text, at=0):
        os.pwrite(self.fds[name], text.encode(), at)

    def read(self, name, size=100, at=0):
        return os.pread(self.fds[name], size, at).decode()

    def fsync(self, name):
        os.fsync(self.fds[name])

    def fork_holder(self, seconds):
        """A child that keeps every descriptor open."""
        pid = os.fork()
        if pid == 0:
            time.sleep(seconds)
            os._exit(0)
        return pid

    def exec_sleep(self, seconds):
        """Becomes another program, with its descriptors."""
        for fd in self.fds.values():
            os.set_inheritable(fd, True)
        print(json.dumps({"value": None}), flush=True)
        os.execv("/bin/sleep", ["sleep", str(seconds)])


def actor():
    act = Act()
    for line in sys.stdin:
        name, arguments, named = json.loads(line)
        try:
            answer = {"value": getattr(act, name)(*arguments, **named)}
        except OSError as error:
            answer = {"errno": error.errno}
        print(json.dumps(answer), flush=True)


class Actor:
    """Drives one actor; `ask` begins something, `answer` waits for what it came to."""

    def __init__(self):
        self.process = subprocess.Popen([sys.executable, __file__, "--actor"], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True, bufsize=1)
        ACTORS.append(self)

    def ask(self, name, *arguments, **named):
        self.process.stdin.write(json.dumps([name, arguments, named]) + "\n")
        return self

    def answered(self, seconds=0.0):
        import select
        return bool(select.select([self.process.stdout], [], [], seconds)[0])

    def answer(self, seconds=20):
        if not self.answered(seconds):
            raise AssertionError(f"no answer within {seconds} s")
        return json.loads(self.process.stdout.readline())

    def do(self, name, *arguments, **named):
        """The value, or raises OSError."""
        answer = self.ask(name, *arguments, **named).answer()
        if "errno" in answer:
            raise OSError(answer["errno"], os.strerror(answer["errno"]))
        return answer.get("value")

    def fails(self, name, *arguments, **named):
        return self.ask(name, *arguments, **named).answer().get("errno", 0)

    def signal(self, number):
        self.process.send_signal(number)

    def end(self):
        self.process.kill()
        self.process.wait()


ACTORS = []


def clean_up():
    while ACTORS:
        ACTORS.pop().end()


def actors(lab, name, mounts=(0, 1), flags=os.O_RDWR | os.O_CREAT):
    """One on each mount, with the file open as "f"."""
    out = []
    for i in mounts:
        one = Actor()
        one.do("open", "f", f"{lab.mounts[i]}/memory/{name}", flags)
        out.append(one)
    return out


def stays_waiting(one):
    check(not one.answered(0.3), "it did not wait")


# ---- flock ----------------------------------------------------------------------------------------

def test_flock_excludes_across_mounts(lab):
    a, b = actors(lab, "flock1")
    a.do("flock", "f", "x")
    equal(b.fails("flock", "f", "xn"), errno.EWOULDBLOCK)
    equal(b.fails("flock", "f", "sn"), errno.EWOULDBLOCK)
    stays_waiting(b.ask("flock", "f", "x"))
    a.do("flock", "f", "u")
    equal(b.answer(), {"value": None})
    equal(a.fails("flock", "f", "sn"), errno.EWOULDBLOCK)
    b.do("flock", "f", "s")
    a.do("flock", "f", "sn")
    equal(a.fails("flock", "f", "xn"), errno.EWOULDBLOCK)
    b.do("flock", "f", "xn")  # a lost its shared one to the try, as flock(2) says


def test_flock_belongs_to_the_open_file(lab):
    a, b = actors(lab, "flock2")
    a.do("dup", "g", "f")
    a.do("open", "h", f"{lab.mounts[0]}/memory/flock2")
    a.do("flock", "f", "x")
    a.do("flock", "g", "xn")  # the same open file
    equal(a.fails("flock", "h", "xn"), errno.EWOULDBLOCK)  # another one, of the same process
    a.do("close", "f")
    equal(b.fails("flock", "f", "xn"), errno.EWOULDBLOCK)
    child = a.do("fork_holder", 60)
    a.do("close", "g")
    a.do("close", "h")
    equal(b.fails("flock", "f", "xn"), errno.EWOULDBLOCK)  # the child has it still
    os.kill(child, signal.SIGKILL)
    equal(b.ask("flock", "f", "x").answer(5), {"value": None})


def test_readers_do_not_starve_a_writer(lab):
    readers = actors(lab, "starve", (0, 1, 2, 0, 1, 2))
    writer = actors(lab, "starve", (0,))[0]
    stop = threading.Event()

    def read_on(one, first):
        time.sleep(first)
        while not stop.is_set():
            one.do("flock", "f", "s")
            time.sleep(0.03)
            one.do("flock", "f", "u")
    threads = [threading.Thread(target=read_on, args=(r, i * 0.007)) for i, r in enumerate(readers)]
    for t in threads:
        t.start()
    try:
        time.sleep(0.3)
        for _ in range(5):
            writer.ask("flock", "f", "x").answer(5)
            writer.do("flock", "f", "u")
    finally:
        stop.set()
        for t in threads:
            t.join(20)


# ---- record locks ---------------------------------------------------------------------------------

def test_record_locks_of_ranges(lab):
    a, b = actors(lab, "ranges")
    a.do("lock", "f", "w", 0, 100)
    b.do("lock", "f", "w", 100, 50)
    equal(b.fails("lock", "f", "r", 99, 1), errno.EAGAIN)
    a.do("lock", "f", "u", 40, 20)
    b.do("lock", "f", "w", 40, 20)
    equal(a.fails("lock", "f", "r", 59, 2), errno.EAGAIN)
    equal(b.do("test", "f", "r", 0, 0), ["w", 0, 40, 0])
    equal(b.do("test", "f", "r", 45, 5), ["u"])
    equal(a.do("test", "f", "w", 60, 0), ["w", 100, 50, 0])
    a.do("lock", "f", "r", 0, 10)
    b.do("lock", "f", "r", 5, 1)
    equal(a.fails("lock", "f", "w", 0, 10), errno.EAGAIN)
    b.do("lock", "f", "u")
    a.do("lock", "f", "w", 0, 0)
    equal(b.do("test", "f", "r", 1 << 40, 1)[:3], ["w", 0, 0])


def test_getlk_names_the_process_of_the_same_mount(lab):
    a, b = actors(lab, "pid", (0, 0))
    a.do("lock", "f", "w", 3, 4)
    equal(b.do("test", "f", "w", 0, 0), ["w", 3, 4, a.process.pid])


def test_upgrade_and_downgrade(lab):
    a, b = actors(lab, "upgrade")
    a.do("lock", "f", "r")
    b.do("lock", "f", "r")
    stays_waiting(a.ask("lock", "f", "w", wait=True))
    b.do("lock", "f", "u")
    equal(a.answer(), {"value": None})
    stays_waiting(b.ask("lock", "f", "r", wait=True))
    a.do("lock", "f", "r")
    equal(b.answer(), {"value": None})


def test_closing_any_descriptor_gives_a_process_s_locks_up(lab):
    a, b = actors(lab, "anyclose")
    for flags in (os.O_RDWR, os.O_RDONLY):
        a.do("lock", "f", "w", 0, 10)
        a.do("open", "g", f"{lab.mounts[0]}/memory/anyclose", flags)
        equal(b.fails("lock", "f", "w", 0, 10), errno.EAGAIN)
        a.do("close", "g")
        b.do("lock", "f", "w", 0, 10)
        b.do("lock", "f", "u")


def test_a_child_inherits_no_record_lock_but_a_program_does(lab):
    a, b = actors(lab, "forkexec")
    a.do("lock", "f", "w")
    child = a.do("fork_holder", 60)
    equal(b.fails("lock", "f", "w"), errno.EAGAIN)
    a.do("close", "f")  # the child's descriptor holds nothing
    b.do("lock", "f", "w")
    b.do("lock", "f", "u")
    os.kill(child, signal.SIGKILL)
    a.do("open", "f", f"{lab.mounts[0]}/memory/forkexec")
    a.do("lock", "f", "w")
    a.do("exec_sleep", 60)
    time.sleep(0.2)
    equal(b.fails("lock", "f", "w"), errno.EAGAIN)
    a.end()
    equal(b.ask("lock", "f", "w", wait=True).answer(5), {"value": None})


def test_ofd_locks(lab):
    a, b = actors(lab, "ofd")
    a.do("lock", "f", "w", 0, 10, ofd=True)
    a.do("open", "g", f"{lab.mounts[0]}/memory/ofd")
    equal(a.fails("lock", "g", "w", 0, 10, ofd=True), errno.EAGAIN)  # another open file
    equal(b.fails("lock", "f", "w", 5, 1), errno.EAGAIN)
    a.do("close", "g")  # does not matter to it
    equal(b.fails("lock", "f", "w", 5, 1), errno.EAGAIN)
    b.ask("lock", "f", "w", 5, 1, wait=True)
    stays_waiting(b)
    a.do("close", "f")
    equal(b.answer(5), {"value": None})


def test_locks_on_an_unlinked_file(lab):
    a, b = actors(lab, "unlinked")
    os.unlink(f"{lab.mounts[0]}/memory/unlinked")
    a.do("lock", "f", "w")
    a.do("flock", "f", "x")
    equal(b.fails("lock", "f", "w"), errno.EAGAIN)
    a.do("close", "f")
    equal(b.ask("lock", "f", "w", wait=True).answer(5), {"value": None})


def test_locks_stay_within_the_machine_on_a_read_only_route(lab):
    sh(f"touch {lab.mounts[0]}/memory/x")  # the mount answers
    names = os.listdir(f"{lab.mounts[0]}/skills")
    if not names:
        publish(lab)
        names = os.listdir(f"{lab.mounts[0]}/skills")
    a, b, c = Actor(), Actor(), Actor()
    for one, mount in ((a, 0), (b, 1), (c, 0)):
        one.do("open", "f", f"{lab.mounts[mount]}/skills/{names[0]}", os.O_RDONLY)
    a.do("flock", "f", "x")
    equal(c.fails("flock", "f", "sn"), errno.EWOULDBLOCK)
    b.do("flock", "f", "xn")


def publish(lab):
    tree = f"{lab.base}/publisher"
    os.mkdir(tree)
    command = [labtest.BUILD + "/fusefs/cli/linkspan", "mount", "--router", lab.info["router"], "--token-file",
               lab.info["publisher"], "--state-dir", f"{lab.base}/publisher-state", tree]
    subprocess.run(command, check=True, timeout=60)
    sh(f"echo skill > {tree}/skills/locked; {labtest.BUILD}/fusefs/cli/linkspan umount --state-dir {lab.base}/publisher-state {tree}")


# ---- signals and deadlocks ------------------------------------------------------------------------

def test_a_signal_ends_a_wait(lab):
    a, b = actors(lab, "signal")
    a.do("flock", "f", "x")
    a.do("lock", "f", "w")
    for wait in (("flock", "f", "x"), ("lock", "f", "w", 0, 0, True)):
        stays_waiting(b.ask(*wait))
        begun = time.monotonic()
        b.signal(signal.SIGUSR1)
        equal(b.answer(5), {"errno": errno.EINTR})
        check(time.monotonic() - begun < 1, "the signal took long")
    a.do("flock", "f", "u")
    a.do("lock", "f", "u")
    a.do("flock", "f", "xn")  # what was interrupted left nothing behind
    a.do("lock", "f", "w")


def test_many_waits_hold_no_thread_of_the_mount(lab):
    """More of them than there are FUSE threads; the mount goes on serving, and so does the router."""
    a = actors(lab, "many", (0,))[0]
    a.do("flock", "f", "x")
    code = f"import fcntl; f=open('{lab.mounts[1]}/memory/many','a+'); fcntl.flock(f, fcntl.LOCK_EX); f.write('x'); f.close()"
    waiting = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(100)]
    try:
        stats = pathlib.Path(f"{lab.mounts[1]}/.linkspan/stats")
        eventually(lambda: 'lock_waits{route="memory"} 100' in stats.read_text(), 60, "all wait")
        sh(f"timeout 10 ls {lab.mounts[1]}/memory; timeout 10 touch {lab.mounts[1]}/memory/still {lab.mounts[0]}/memory/still")
        waiting[7].kill()
        waiting[7].wait(5)
        a.do("flock", "f", "u")
        for one in waiting:
            one.wait(30)
        equal(os.stat(f"{lab.mounts[0]}/memory/many").st_size, 99)
    finally:
        for one in waiting:
            one.kill()


def test_deadlock_of_record_locks_is_told(lab):
    a, b, c = actors(lab, "dead1", (0, 1, 2))
    for one, mount in ((a, 0), (b, 1), (c, 2)):
        one.do("open", "g", f"{lab.mounts[mount]}/memory/dead2")
    a.do("lock", "f", "w", 0, 1)
    b.do("lock", "f", "w", 1, 1)
    c.do("lock", "g", "w", 0, 1)
    stays_waiting(a.ask("lock", "f", "w", 1, 1, wait=True))
    stays_waiting(b.ask("lock", "g", "w", 0, 1, wait=True))
    equal(c.fails("lock", "f", "w", 0, 1, wait=True), errno.EDEADLK)
    c.do("lock", "g", "u")
    equal(b.answer(), {"value": None})
    b.do("lock", "f", "u")
    equal(a.answer(), {"value": None})


# ---- those who die --------------------------------------------------------------------------------

def test_a_killed_holder_gives_its_locks_up(lab):
    a, b = actors(lab, "killed")
    a.do("flock", "f", "x")
    a.do("lock", "f", "w")
    a.do("write", "f", "last words")
    stays_waiting(b.ask("lock", "f", "w", wait=True))
    a.end()
    equal(b.answer(5), {"value": None})
    equal(b.do("read", "f"), "last words")
    equal(b.ask("flock", "f", "x").answer(5), {"value": None})


def test_a_killed_waiter_leaves_nothing(lab):
    a, b, c = actors(lab, "waiter", (0, 1, 2))
    a.do("flock", "f", "x")
    stays_waiting(b.ask("flock", "f", "x"))
    b.end()
    a.do("flock", "f", "u")
    equal(c.ask("flock", "f", "x").answer(5), {"value": None})


def test_a_killed_mount_s_locks_go_within_a_lease(lab):
    a, b = actors(lab, "deadmount", (2, 1))
    a.do("lock", "f", "w")
    a.do("flock", "f", "x")
    stays_waiting(b.ask("lock", "f", "w", wait=True))
    begun = time.monotonic()
    lab.do("kill", "mount:3")
    try:
        equal(b.answer(LEASE_MS / 1000 + 3), {"value": None})
        took = time.monotonic() - begun
        b.do("flock", "f", "xn")  # what nobody waited for goes when somebody asks
        print(f"     freed after {took:.1f} s (lease {LEASE_MS / 1000} s)")
    finally:
        a.end()
        lab.do("restart", "mount:3")


# ---- the router -----------------------------------------------------------------------------------

def test_a_router_s_restart_keeps_locks(lab):
    a, b, c = actors(lab, "restart", (0, 1, 2))
    a.do("lock", "f", "w", 0, 10)
    a.do("flock", "f", "x")
    c.do("lock", "f", "r", 20, 10)
    stays_waiting(b.ask("lock", "f", "w", 5, 20, wait=True))
    lab.do("kill", "router")
    lab.do("restart", "router")
    a.do("write", "f", "kept")
    a.do("fsync", "f")
    equal(c.fails("lock", "f", "w", 9, 1), errno.EAGAIN)
    equal(c.fails("flock", "f", "sn"), errno.EWOULDBLOCK)
    stays_waiting(b)
    a.do("lock", "f", "u")
    stays_waiting(b)
    c.do("lock", "f", "u")
    equal(b.answer(), {"value": None})
    equal(a.fails("lock", "f", "r", 0, 10), errno.EAGAIN)


def test_a_short_cut_loses_no_lock(lab):
    a, b = actors(lab, "shortcut")
    a.do("lock", "f", "w")
    stays_waiting(b.ask("lock", "f", "w", wait=True))
    lab.do("cut", "mount:1")
    time.sleep(LEASE_MS / 1000 / 4)
    lab.do("join", "mount:1")
    a.do("write", "f", "mine")
    a.do("fsync", "f")
    stays_waiting(b)
    a.do("lock", "f", "u")
    equal(b.answer(), {"value": None})
    equal(b.do("read", "f"), "mine")


def test_a_lock_lost_to_another_makes_writing_fail(lab):
    """Cut off for longer than the lease, while another waits: it gets the lock, and the first must
    not write over what that one wrote."""
    a, b = actors(lab, "lostlock")
    a.do("lock", "f", "w")
    a.do("write", "f", "old" * 10)
    a.do("fsync", "f")
    b.ask("lock", "f", "w", wait=True)
    stays_waiting(b)
    lab.do("cut", "mount:1")
    try:
        a.do("write", "f", "late" * 10)
        equal(b.answer(LEASE_MS / 1000 + 3), {"value": None})
        b.do("write", "f", "new" * 10)
        b.do("lock", "f", "u")
    finally:
        lab.do("join", "mount:1")
    equal(a.fails("fsync", "f"), errno.EIO)
    equal(a.fails("write", "f", "again"), errno.EIO)
    equal(a.fails("lock", "f", "w"), errno.EIO)
    equal(b.do("read", "f"), "new" * 10)
    a.do("close", "f")
    a.do("open", "f", f"{lab.mounts[0]}/memory/lostlock")
    a.do("lock", "f", "w")
    a.do("write", "f", "NEW")
    a.do("lock", "f", "u")
    b.do("lock", "f", "r")
    equal(b.do("read", "f", 6), "NEWnew")
    stats = pathlib.Path(f"{lab.mounts[0]}/.linkspan/stats").read_text()
    check('locks_lost_total{route="memory"} 1' in stats, [l for l in stats.splitlines() if "lock" in l])


def test_a_long_cut_keeps_what_nobody_wanted(lab):
    a, b = actors(lab, "longcut")
    a.do("lock", "f", "w")
    lab.do("cut", "mount:1")
    time.sleep(LEASE_MS / 1000 * 1.5)
    lab.do("join", "mount:1")
    a.do("write", "f", "still mine")
    a.do("fsync", "f")
    equal(b.fails("lock", "f", "w"), errno.EAGAIN)


# ---- counters -------------------------------------------------------------------------------------

COUNT = """
import fcntl, os, struct, sys
path, rounds, how = sys.argv[1], int(sys.argv[2]), sys.argv[3]
lock = {"flock": lambda: fcntl.flock(fd, fcntl.LOCK_EX), "lockf": lambda: fcntl.lockf(fd, fcntl.LOCK_EX, 0, 0),
        "ofd": lambda: fcntl.fcntl(fd, 38, struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, 0, 0, 0))}[how.split("-")[0]]
unlock = {"flock": lambda: fcntl.flock(fd, fcntl.LOCK_UN), "lockf": lambda: fcntl.lockf(fd, fcntl.LOCK_UN, 0, 0)}
unlock["flock-reopened"] = unlock["ofd-reopened"] = lambda: os.close(fd)
fd = os.open(path, os.O_RDWR)
for i in range(rounds):
    lock()
    n = int(os.pread(fd, 20, 0))
    os.pwrite(fd, b"%019d\\n" % (n + 1), 0)
    unlock[how]()
    if "reopened" in how: fd = os.open(path, os.O_RDWR)
"""


def count(lab, how, each=2, rounds=100):
    path = f"memory/counter-{how}"
    pathlib.Path(f"{lab.mounts[0]}/{path}").write_text("%019d\n" % 0)
    begun = time.monotonic()
    running = [subprocess.Popen([sys.executable, "-c", COUNT, f"{tree}/{path}", str(rounds * ROUNDS), how])
               for tree in lab.mounts for _ in range(each)]
    for one in running:
        equal(one.wait(250), 0)
    total = len(running) * rounds * ROUNDS
    for tree in lab.mounts:
        equal(int(pathlib.Path(f"{tree}/{path}").read_text()), total, tree)
    print(f"     {how}: {total} increments by {len(running)} processes, {total / (time.monotonic() - begun):.0f}/s")


def test_counter_under_flock(lab):
    count(lab, "flock")


def test_counter_under_lockf(lab):
    count(lab, "lockf")


def test_counter_under_locks_that_only_a_close_gives_up(lab):
    """The kernel gives the next open file the address of the one that was just closed, and tells owners
    of locks apart by it."""
    count(lab, "flock-reopened")
    count(lab, "ofd-reopened")


# ---- SQLite ---------------------------------------------------------------------------------------

SQLITE = """
import sqlite3, sys, time
path, who, rounds = sys.argv[1], sys.argv[2], int(sys.argv[3])
db = sqlite3.connect(path, timeout=120, isolation_level=None)
for i in range(rounds):
    while True:
        try:
            db.execute("begin immediate")
            (total,) = db.execute("select v from total").fetchone()
            db.execute("insert into rows values(?, ?, ?)", (who, i, total))
            db.execute("update total set v = ?", (total + 1,))
            db.execute("commit")
            break
        except sqlite3.OperationalError as error:
            if "locked" not in str(error): raise
            if db.in_transaction: db.execute("rollback")
"""


def test_sqlite_with_a_rollback_journal_on_mounts_at_once(lab):
    for mode in ("delete", "persist"):
        name = f"memory/shared-{mode}.db"
        sh(f"""sqlite3 {lab.mounts[0]}/{name} "pragma journal_mode={mode}; create table total(v); insert into total values(0);
            create table rows(who, i, seen unique)" """)
        begun, rounds = time.monotonic(), 15 * ROUNDS
        running = [subprocess.Popen([sys.executable, "-c", SQLITE, f"{tree}/{name}", f"{i}.{k}", str(rounds)])
                   for i, tree in enumerate(lab.mounts[:2]) for k in range(2)]
        for one in running:
            equal(one.wait(250), 0)
        total = len(running) * rounds
        for tree in lab.mounts:
            out = sh(f"sqlite3 {tree}/{name} 'pragma integrity_check; select v from total; select count(*) from rows; "
                     f"select count(distinct seen) from rows'")
            equal(out.split(), ["ok", str(total), str(total), str(total)], f"{mode} on {tree}")
        print(f"     {mode}: {total} transactions, {total / (time.monotonic() - begun):.0f}/s")


def test_sqlite_wal_of_another_mount_is_refused(lab):
    import sqlite3
    name = "memory/wal.db"
    here = sqlite3.connect(f"{lab.mounts[0]}/{name}", isolation_level=None)
    equal(here.execute("pragma journal_mode=wal").fetchone(), ("wal",))
    here.execute("create table t(x)")
    here.execute("insert into t values(1)")
    beside = sqlite3.connect(f"{lab.mounts[0]}/{name}", isolation_level=None)  # one mount: as always
    equal(beside.execute("select x from t").fetchall(), [(1,)])
    there = sqlite3.connect(f"{lab.mounts[1]}/{name}", timeout=0.5, isolation_level=None)
    for statement in ("select x from t", "insert into t values(666)", "pragma journal_mode=delete"):
        try:
            there.execute(statement)
            raise AssertionError(f"'{statement}' was let in")
        except sqlite3.OperationalError as error:
            check("locked" in str(error), f"{statement}: {error}")
    log = "".join(p.read_text(errors="replace") for p in pathlib.Path(lab.dir, "log").glob("*.log"))
    check(f"{name}: a SQLite database in WAL mode is in use on another mount" in log, "the mount's log says why")
    for how in (f"cat {lab.mounts[1]}/.linkspan/status", f"{LINKSPAN} status {lab.mounts[1]}"):
        said = [line for line in sh(how).splitlines() if "locks of" in line or "journal_mode" in line]
        check(len(said) == 2 and f"locks of {name}, " in said[0], f"status says what was refused: {said}")
        check("PRAGMA journal_mode=DELETE" in said[1], f"and the mend: {said}")
    status = json.loads(sh(f"{LINKSPAN} status --json {lab.mounts[1]}"))
    (refused,) = next(r for r in status["routes"] if r["path"] == "memory")["wal_refused"]
    check(refused["file"] == name and refused["times"] >= 3 and refused["since"] < refused["last"], f"{refused}")
    check("locks of" not in sh(f"cat {lab.mounts[0]}/.linkspan/status"), "where it is in use nothing is refused")
    here.execute("insert into t values(2)")
    equal(beside.execute("select x from t").fetchall(), [(1,), (2,)])
    beside.close()
    here.close()
    eventually(lambda: not os.path.exists(f"{lab.mounts[1]}/{name}-shm"), 5, "the -shm file is gone")
    equal(there.execute("select x from t").fetchall(), [(1,), (2,)])  # now it is its turn
    there.execute("insert into t values(3)")
    there.close()
    equal(sh(f"sqlite3 {lab.mounts[2]}/{name} 'pragma integrity_check; select count(*) from t'").split(), ["ok", "3"])


if __name__ == "__main__":
    if sys.argv[1:] == ["--actor"]:
        actor()
        sys.exit(0)
    for test in [v for n, v in list(globals().items()) if n.startswith("test_")]:
        def wrapped(lab, test=test):
            try:
                test(lab)
            finally:
                clean_up()
        globals()[test.__name__] = wrapped
    labtest.main(globals(), each_seconds=280, mounts=3, lease_ms=LEASE_MS)
