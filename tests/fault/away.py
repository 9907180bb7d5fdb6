#!/usr/bin/env python3
"""What happens in each fault: every cell of the table in SEMANTICS.md that speaks of waiting, caches,
errors and unsaved bytes. (That nothing acknowledged is lost or done twice: crash.py, failover.py and
consistency.py.)"""
import contextlib
import errno
import json
import os
import signal
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
import labtest  # noqa: E402
from labtest import check, equal, errno_of  # noqa: E402

LEASE, TIMEOUT = 3.0, 6.0
SLACK = 2.5  # what a busy machine adds
SOON = 1.0   # without waiting for anybody


def put(path, text):
    with open(path, "w") as file:
        file.write(text)


def get(path):
    with open(path) as file:
        return file.read()


def timed(call, *arguments):
    """errno (0: none) and seconds."""
    begun = time.monotonic()
    error = errno_of(call, *arguments)
    return error, time.monotonic() - begun


def wait_of(call, *arguments):
    error, took = timed(call, *arguments)
    equal(error, 0, f"errno of {call.__name__}{arguments}")
    return took


def status(mount):
    return json.loads(get(f"{mount}/.linkspan/status.json"))


def put_skill(lab, name, text):
    """A file in the route that the mounts may only read."""
    tree, state = f"{lab.base}/publisher", f"{lab.base}/publisher-state"
    os.makedirs(tree, exist_ok=True)
    linkspan = f"{labtest.BUILD}/fusefs/cli/linkspan"
    labtest.sh(f"{linkspan} mount --router {lab.info['router']} --token-file {lab.info['publisher']} --state-dir {state} {tree}; "
               f"echo -n '{text}' > {tree}/skills/{name}; {linkspan} umount --state-dir {state} {tree}")


def a_fatal_signal_ends_a_wait(path):
    process = subprocess.Popen([sys.executable, "-c", f"import os; print(1, flush=True); os.stat({path!r}); print(2)"],
                               stdout=subprocess.PIPE, text=True)
    equal(process.stdout.readline(), "1\n")
    time.sleep(0.3)
    check(process.poll() is None, f"stat {path} did not wait")
    begun = time.monotonic()
    process.send_signal(signal.SIGTERM)
    equal(process.wait(20), -signal.SIGTERM, "exit status of who waited")
    check(time.monotonic() - begun < SOON, f"the signal took {time.monotonic() - begun:.1f} s")


class OpenFile:
    """Held open by a process of its own: a child of ours would close it too, and wait for the commit."""
    PROGRAM = r'''
import os, sys, time
fd = os.open(sys.argv[1], os.O_CREAT | os.O_WRONLY)
calls = {"write": lambda: os.write(fd, b"kept"), "fsync": lambda: os.fsync(fd), "close": lambda: os.close(fd),
         "write48M": lambda: [os.pwrite(fd, bytes(1 << 20), n << 20) for n in range(48)],
         "truncate": lambda: os.ftruncate(fd, 2), "allocate": lambda: os.posix_fallocate(fd, 0, 100)}
print(0, 0.0, flush=True)
for line in sys.stdin:
    begun, error = time.monotonic(), 0
    try:
        calls[line.strip()]()
    except OSError as e:
        error = e.errno
    print(error, time.monotonic() - begun, flush=True)
'''

    def __init__(self, path):
        self.process = subprocess.Popen([sys.executable, "-c", self.PROGRAM, path], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True, bufsize=1)
        self.answer()

    def answer(self):
        error, took = self.process.stdout.readline().split()
        return int(error), float(took)

    def do(self, call):
        self.process.stdin.write(call + "\n")
        return self.answer()

    def end(self):
        self.process.stdin.close()
        self.process.wait(60)
        self.process.stdout.close()


class Bystander:
    """Mount 1 with a cached file in each kind of route, an unsaved one, and one that it has not seen."""

    def __init__(self, lab, name):
        self.lab, self.name = lab, name
        self.here, self.there = (f"{m}/memory/{name}" for m in lab.mounts[:2])
        self.skill = f"{lab.mounts[0]}/skills/{name}"
        put_skill(lab, name, "skill")
        os.mkdir(self.there)
        put(f"{self.there}/seen", "old")
        equal(get(f"{self.here}/seen"), "old")
        equal(get(self.skill), "skill")
        put(f"{self.there}/unseen", "x")
        self.file = OpenFile(f"{self.here}/unsaved")
        self.begun = time.monotonic()

    def write_unsaved(self):
        """Accepted without anybody: it is kept."""
        error, took = self.file.do("write")
        check(error == 0 and took < SOON, f"a write to an open file waits for nobody: errno {error}, {took:.1f} s")

    def while_the_lease_lasts(self):
        took = wait_of(get, f"{self.here}/seen")
        check(took < SOON, f"a cached file took {took:.1f} s")

    def when_it_is_over(self):
        labtest.eventually(lambda: status(self.lab.mounts[0])["state"] == "disconnected", LEASE + TIMEOUT + 5, "the mount notices")
        time.sleep(max(0.0, self.begun + LEASE + 0.3 - time.monotonic()))  # the rest of the lease
        a_fatal_signal_ends_a_wait(f"{self.here}/unseen")
        error, took = timed(get, f"{self.here}/seen")
        since = time.monotonic() - self.begun
        equal(error, errno.ETIMEDOUT, "a file of a writable route")
        check(took < TIMEOUT + SLACK and since > TIMEOUT - LEASE,
              f"the route's timeout is {TIMEOUT} s, it took {took:.1f} s, {since:.1f} s after the fault")
        # From now on the link has been away for longer than that: nobody waits any more.
        for _ in range(3):
            error, took = timed(os.stat, f"{self.here}/unseen")
            equal(error, errno.ETIMEDOUT, "a file that was not seen yet")
            check(took < SOON, f"the time counts from when the link went, and it took {took:.1f} s more")
        took = wait_of(get, self.skill)
        check(took < SOON, f"a file of a read-only route took {took:.1f} s")
        routes = {route["path"]: route for route in status(self.lab.mounts[0])["routes"]}
        check(routes["skills"]["stale_since"], f"since when the read-only route is stale: {routes['skills']}")
        error, took = self.file.do("fsync")
        equal(error, errno.ETIMEDOUT, "fsync of what cannot be committed")
        check(took < SOON, f"it took {took:.1f} s")

    def afterwards(self):
        begun = time.monotonic()
        labtest.eventually(lambda: errno_of(get, f"{self.here}/seen") == 0, TIMEOUT + SLACK, "the first answer")
        took = time.monotonic() - begun
        equal(self.file.do("fsync")[0], 0, "fsync when all is well again")
        equal(self.file.do("close")[0], 0, "close when all is well again")
        self.file.end()
        # The other mount may ask a moment too early, too.
        labtest.eventually(lambda: errno_of(get, f"{self.there}/unsaved") == 0, TIMEOUT + SLACK, "the other's answer")
        equal(get(f"{self.there}/unsaved"), "kept", "what was unsaved")
        labtest.eventually(lambda: status(self.lab.mounts[0])["healthy"], 20, "healthy again")
        print(f"  back after {took:.2f} s")


def away(lab, name, bring, heal):
    by = Bystander(lab, name)
    bring()
    try:
        by.write_unsaved()
        by.while_the_lease_lasts()
        by.when_it_is_over()
    finally:
        heal()
    by.afterwards()


def test_router_stopped(lab):
    away(lab, "router-stopped", lambda: lab.do("stop", "router"), lambda: lab.do("cont", "router"))


def test_router_killed(lab):
    away(lab, "router-killed", lambda: lab.do("kill", "router"), lambda: lab.do("restart", "router"))


def test_postgres_stopped(lab):
    away(lab, "postgres-stopped", lambda: lab.do("stop", "postgres"), lambda: lab.do("cont", "postgres"))


def test_postgres_killed(lab):
    away(lab, "postgres-killed", lambda: lab.do("kill", "postgres"), lambda: lab.do("restart", "postgres"))


# ---- calls one after the other -----------------------------------------------------------------

CREATE = "import os, sys, time\nbegun = time.monotonic()\n" \
    "try: os.close(os.open(sys.argv[1], os.O_CREAT | os.O_WRONLY)); print(0)\n" \
    "except OSError as error: print(error.errno)\n"
# Writes to all its files, then ends, and so closes them.
LEAVE = """
import os, sys
files = [os.open(f"{sys.argv[1]}/left{n}", os.O_CREAT | os.O_WRONLY) for n in range(int(sys.argv[2]))]
print("ready", flush=True)
sys.stdin.readline()
for fd in files:
    os.write(fd, b"left behind")
print("written", flush=True)
sys.stdin.readline()
"""
QUEUED, LEFT = 6, 12


def python(program, *arguments):
    return subprocess.Popen([sys.executable, "-c", program, *map(str, arguments)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                            text=True, bufsize=1)


def queue_up(lab, name, bring, heal):
    """The kernel lets calls that change one directory, and the closes of a process that ends, wait for one another."""
    here, there = (f"{m}/memory/{name}" for m in lab.mounts[:2])
    os.mkdir(here)
    leaver = python(LEAVE, here, LEFT)
    equal(leaver.stdout.readline(), "ready\n")
    clean = OpenFile(f"{here}/clean")
    big = OpenFile(f"{here}/big")
    bring()
    begun = time.monotonic()
    try:
        leaver.stdin.write("\n")
        equal(leaver.stdout.readline(), "written\n")
        equal(big.do("write48M")[0], 0, "many bytes are taken without the router")
        makers = [python(CREATE, f"{here}/made{n}") for n in range(QUEUED)]
        killed = python(CREATE, f"{here}/killed")
        leaver.stdin.write("\n")
        time.sleep(LEASE / 2)  # so that all of them wait
        killed.kill()
        equal([int(maker.communicate(timeout=60)[0]) for maker in makers], [errno.ETIMEDOUT] * QUEUED, "making files")
        killed.wait(60)
        leaver.wait(60)
        equal(big.do("fsync")[0], errno.ETIMEDOUT, "fsync of many bytes")
        took = time.monotonic() - begun
        check(took < TIMEOUT + SLACK, f"{QUEUED} calls in one directory, {LEFT} closes and an fsync of 48 MiB took {took:.1f} s")
        for call in ("write", "truncate", "allocate"):
            error, took = clean.do(call)
            check(error == errno.ETIMEDOUT and took < SOON, f"{call} after the lease: errno {error}, {took:.1f} s")
    finally:
        heal()
    labtest.eventually(lambda: errno_of(os.stat, f"{here}/unseen") == errno.ENOENT, TIMEOUT + SLACK, "the first answer")
    for file in (clean, big):
        equal(file.do("close")[0], 0, "close when all is well again")
        file.end()
    equal(os.stat(f"{there}/big").st_size, 48 << 20)
    for n in range(LEFT):
        labtest.eventually(lambda n=n: get(f"{there}/left{n}") == "left behind", TIMEOUT + SLACK, f"left{n} is saved")
    for process in (leaver, killed):
        process.stdin.close()
        process.stdout.close()


def test_queued_calls_while_the_router_is_killed(lab):
    queue_up(lab, "queue-killed", lambda: lab.do("kill", "router"), lambda: lab.do("restart", "router"))


def test_queued_calls_while_the_router_is_stopped(lab):
    queue_up(lab, "queue-stopped", lambda: lab.do("stop", "router"), lambda: lab.do("cont", "router"))


def test_network_swallows_everything_for_long(lab):
    by = Bystander(lab, "cut-long")
    lab.do("cut", "mount:1")
    try:
        by.write_unsaved()
        by.while_the_lease_lasts()
        took = wait_of(put, f"{by.there}/seen", "new")
        check(took < LEASE + SLACK, f"a change to what it had cached took {took:.1f} s")
        check(wait_of(put, f"{by.there}/seen", "newer") < SOON, "waits once only")
        by.when_it_is_over()
    finally:
        lab.do("join", "mount:1")
    labtest.eventually(lambda: errno_of(get, f"{by.here}/seen") == 0, TIMEOUT + SLACK, "an answer after the return")
    equal(get(f"{by.here}/seen"), "newer", "the first answer after the return")
    by.afterwards()


def test_network_swallows_everything_for_a_moment(lab):
    by = Bystander(lab, "cut-short")
    lost = caches_lost(lab.mounts[0])
    lab.do("cut", "mount:1")
    writer = threading.Thread(target=put, args=(f"{by.there}/seen", "new"))
    try:
        took = wait_of(get, f"{by.here}/seen")
        check(took < LEASE / 2, f"a cached file took {took:.1f} s")
        writer.start()
        time.sleep(LEASE / 5)  # the moment itself
        check(writer.is_alive(), "a change to what it had cached waits until it goes on")
    finally:
        lab.do("join", "mount:1")
    writer.join(LEASE + SLACK)
    check(not writer.is_alive(), "the change goes on")
    equal(get(f"{by.here}/seen"), "new")
    check(wait_of(os.stat, f"{by.here}/unseen") < SOON, "what had to wait goes on")
    print(f"  caches lost: {caches_lost(lab.mounts[0]) - lost:.0f}")
    by.file.end()


def caches_lost(mount):
    lines = get(f"{mount}/.linkspan/stats").splitlines()
    return float(next(line for line in lines if "caches_lost_total" in line and not line.startswith("#")).split()[1])


def test_connections_broken(lab):
    by = Bystander(lab, "broken")
    lost = caches_lost(lab.mounts[0])
    for n in range(5):
        lab.do("break", "mount:1")
        check(wait_of(put, f"{by.here}/new{n}", "x") < LEASE, "reconnects at once")
        check(wait_of(put, f"{by.there}/other{n}", "x") < SOON, "the other mount does not notice")
    equal(get(f"{by.here}/seen"), "old")
    equal(caches_lost(lab.mounts[0]), lost, "times that the caches were dropped")
    by.file.end()


def test_slow_network(lab):
    by = Bystander(lab, "slow")
    lab.do("slow", "mount:1")
    try:
        check(wait_of(get, f"{by.here}/seen") < 0.05 + SOON / 2, "what is cached is not slow")
        took = wait_of(put, f"{by.there}/seen", "new")
        check(0.04 < took < SLACK, f"a change to what it has cached took {took:.2f} s")
        equal(get(f"{by.here}/seen"), "new")
    finally:
        lab.do("fast", "mount:1")
    by.file.end()


@contextlib.contextmanager
def stopped(lab, number):
    lab.do("stop", f"mount:{number}")
    try:
        yield
    finally:
        lab.do("cont", f"mount:{number}")


def test_mount_stopped_for_a_moment(lab):
    by = Bystander(lab, "mount-short")
    with stopped(lab, 1):
        writer = threading.Thread(target=put, args=(f"{by.there}/seen", "new"))
        writer.start()
        time.sleep(LEASE / 5)  # the moment itself
        check(writer.is_alive(), "a change to what it had cached waits until it goes on")
    writer.join(LEASE + SLACK)
    check(not writer.is_alive(), "the change goes on")
    equal(get(f"{by.here}/seen"), "new")
    by.file.end()


def test_mount_stopped_for_long(lab):
    by = Bystander(lab, "mount-long")
    with stopped(lab, 1):
        took = wait_of(put, f"{by.there}/seen", "new")
        check(took < LEASE + SLACK, f"a change to what it had cached took {took:.1f} s")
        check(wait_of(put, f"{by.there}/seen", "newer") < SOON, "waits once only")
    labtest.eventually(lambda: get(f"{by.here}/seen") == "newer", LEASE + SLACK, "the exception of paused machines ends")
    by.file.end()


def test_mount_killed(lab):
    by = Bystander(lab, "mount-killed")
    by.file.end()
    lab.do("kill", "mount:1")
    for call in (lambda: get(f"{by.here}/seen"), lambda: put(f"{by.here}/seen", "x"), lambda: os.listdir(lab.mounts[0])):
        check(errno_of(call) in (errno.ENOTCONN, errno.ECONNABORTED, errno.EIO), "a dead mount answers nothing")
    took = wait_of(put, f"{by.there}/seen", "new")
    check(took < LEASE + SLACK, f"a change to what it had cached took {took:.1f} s")
    check(wait_of(put, f"{by.there}/seen", "newer") < SOON, "waits once only")
    lab.do("restart", "mount:1")
    equal(get(f"{by.here}/seen"), "newer")


# ---- a full disk under the mount's unsaved bytes -------------------------------------------------

def put_many(path, megabytes):
    """A program that writes faster than anything is stored."""
    fd = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
    try:
        for n in range(megabytes):
            os.write(fd, bytes([n % 251]) * (1 << 20))
    finally:
        os.close(fd)


def test_little_room_for_unsaved_bytes(lab):
    """Commits make room while the router is there; without it, what does not fit is refused."""
    spool, tree, state = (f"{lab.base}/{name}" for name in ("spool", "spool-tree", "spool-state"))
    for path in (spool, tree):
        os.mkdir(path)
    linkspan = f"{labtest.BUILD}/fusefs/cli/linkspan"
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "spool", spool], check=True)
    try:
        labtest.sh(f"{linkspan} mount --router {lab.info['router']} --token-file {lab.info['publisher']} --state-dir {state} "
                   f"--spool-dir {spool} {tree}")
        for fill in (0, 24):  # by ourselves; and by others, so that nothing is left
            with open(f"{spool}/ballast", "wb") as ballast, contextlib.suppress(OSError):
                ballast.write(bytes(fill << 20))
            begun = time.monotonic()
            put_many(f"{tree}/scratch/many", 96)
            print(f"  96 MiB over {24 - fill} MiB of room: {time.monotonic() - begun:.1f} s")
            with open(f"{lab.mounts[1]}/scratch/many", "rb") as file:
                for n in range(96):
                    check(file.read(1 << 20) == bytes([n % 251]) * (1 << 20), f"MiB {n} of the file")
            os.unlink(f"{tree}/scratch/many")
        fd = os.open(f"{tree}/scratch/kept", os.O_CREAT | os.O_WRONLY)
        taken = 0
        lab.do("stop", "router")
        try:
            while (error := errno_of(os.pwrite, fd, b"k" * (1 << 20), taken << 20)) == 0 and taken < 100:
                taken += 1
            equal(error, errno.ENOSPC, f"without the router and without room, after {taken} MiB")
        finally:
            lab.do("cont", "router")
        labtest.eventually(lambda: errno_of(os.pwrite, fd, b"e", taken << 20) == 0, 30, "writing works again")
        os.close(fd)
        equal(get(f"{lab.mounts[1]}/scratch/kept"), "k" * (taken << 20) + "e", "what was taken before")
    finally:
        labtest.sh(f"{linkspan} umount --lazy --state-dir {state} {tree} || true; umount -l {spool}")


# ---- a full disk under Postgres ----------------------------------------------------------------

def test_the_disk_is_full_under_postgres():
    disk = f"/tmp/lsp-disk-{os.getpid()}"
    os.mkdir(disk)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=190m,mode=755", "full", disk], check=True)
    try:
        os.mkdir(f"{disk}/pg")
        lab = labtest.Lab(mounts=2, lease_ms=int(LEASE * 1000), timeout_ms=int(TIMEOUT * 1000), pg_dir=f"{disk}/pg")
        try:
            fill(lab, disk)
        finally:
            lab.down()
    finally:
        labtest.sh(f"umount -l {disk}; rmdir {disk}")


ROOM = 4 << 20  # for some saves before the first that fails


def fill(lab, disk):
    here, there = (f"{m}/scratch" for m in lab.mounts)
    put(f"{here}/before", "kept")
    done = []
    fd = os.open(f"{disk}/ballast", os.O_CREAT | os.O_WRONLY)
    with contextlib.suppress(OSError):  # until nothing is left
        while True:
            os.write(fd, bytes(1 << 16))
    os.ftruncate(fd, os.fstat(fd).st_size - ROOM)
    os.close(fd)
    error, slowest = 0, 0.0
    for n in range(2000):
        error, took = timed(put, f"{here}/file{n}", f"{n} " * 20000)
        slowest = max(slowest, took)
        if error:
            break
        done.append(n)
    # Where the log of the database finds no room, the server ends: then it is away.
    check(error in (errno.ENOSPC, errno.ETIMEDOUT), f"errno on a full disk: {error}")
    check(slowest < 2 * TIMEOUT + SLACK, f"a save took {slowest:.1f} s")
    if error == errno.ENOSPC:
        took = wait_of(get, f"{there}/before")
        check(took < SLACK, f"reading on a full disk took {took:.1f} s")
    os.unlink(f"{disk}/ballast")
    if not lab_answers(lab):
        lab.do("restart", "postgres")
    labtest.eventually(lambda: errno_of(put, f"{here}/after", "works") == 0, 30, "saving works when there is room")
    for mount in (here, there):
        equal(get(f"{mount}/after"), "works")
        equal(get(f"{mount}/before"), "kept")
        for n in done:
            equal(get(f"{mount}/file{n}"), f"{n} " * 20000, f"file{n}, which was acknowledged")
    print(f"  errno {error} after {len(done)} saves, the slowest {slowest:.1f} s; all of them kept")


def lab_answers(lab):
    host = lab.info["postgres"].split("host=")[1].split()[0]
    return subprocess.run(["psql", "-h", host, "-U", "linkspan", "-qc", "SELECT 1", "linkspan"], capture_output=True).returncode == 0


if __name__ == "__main__":
    labtest.main(globals(), each_seconds=120, mounts=2, lease_ms=int(LEASE * 1000), timeout_ms=int(TIMEOUT * 1000))
