#!/usr/bin/env python3
"""kill -9 of the mount, the router and Postgres in the middle of writes: everything that was
acknowledged by fsync, close or rename is there afterwards, and nothing was applied twice."""
import os
import random
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
import labtest  # noqa: E402
from labtest import check, equal  # noqa: E402

WRITER = r"""
import os, sys
root, name = sys.argv[1:3]
def say(text):
    os.write(1, (text + "\n").encode())
i = 0
while True:
    try:
        path = f"{root}/{name}-{i}"
        fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
        os.write(fd, f"{name} {i}\n".encode() * 50)
        os.close(fd)
        say(f"closed {i}")
        fd = os.open(f"{root}/{name}.log", os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o644)
        os.write(fd, f"{name} {i}\n".encode())
        os.fsync(fd)
        say(f"appended {i}")
        os.close(fd)
        with open(f"{root}/{name}.tmp", "w") as file:
            file.write(f"{i}\n")
            file.flush()
            os.fsync(file.fileno())
        os.rename(f"{root}/{name}.tmp", f"{root}/{name}.state")
        say(f"renamed {i}")
        i += 1
    except OSError as error:
        say(f"error {i} {error.errno}")
        sys.exit(3)
"""


class Writers:
    """Processes that write and say what was acknowledged."""

    def __init__(self, mounts, folder):
        self.processes, self.said, self.threads = {}, {}, []
        for n, mount in enumerate(mounts):
            name = f"w{n}"
            process = subprocess.Popen([sys.executable, "-c", WRITER, f"{mount}/{folder}", name],
                                       stdout=subprocess.PIPE, text=True)
            self.processes[name], self.said[name] = process, []
            thread = threading.Thread(target=self.listen, args=(name, process))
            thread.start()
            self.threads.append(thread)

    def listen(self, name, process):
        for line in process.stdout:
            self.said[name].append(line.split())

    def progress(self):
        return sum(len(s) for s in self.said.values())

    def wait_progress(self, more, seconds=60):
        goal = self.progress() + more
        labtest.eventually(lambda: self.progress() >= goal, seconds, f"{more} more acknowledgements")

    def stop(self):
        for process in self.processes.values():
            process.kill()
            process.wait()
        for thread in self.threads:
            thread.join(20)


def verify(root, said):
    """What `said` acknowledges is in the tree; appends are there exactly once and in order."""
    for name, lines in said.items():
        done = {verb: [int(line[1]) for line in lines if line[0] == verb] for verb in ("closed", "appended", "renamed")}
        for i in done["closed"]:
            with open(f"{root}/{name}-{i}") as file:
                equal(file.read(), f"{name} {i}\n" * 50, f"{name}-{i}")
        log = open(f"{root}/{name}.log").read().splitlines() if done["appended"] else []
        for i in done["appended"]:
            equal(log.count(f"{name} {i}"), 1, f"{name}.log: appends of {i}")
        numbers = [int(line.split()[1]) for line in log]
        equal(numbers, sorted(set(numbers)), f"{name}.log is in order, nothing twice")
        if done["renamed"]:
            state = int(open(f"{root}/{name}.state").read())
            check(state >= done["renamed"][-1], f"{name}.state is {state}, {done['renamed'][-1]} was acknowledged")
    return sum(len(lines) for lines in said.values())


def crash(lab, folder, victim, rounds, writers_stop):
    rng = random.Random(labtest.seed())
    os.mkdir(f"{lab.mounts[1]}/scratch/{folder}")
    total = 0
    for round_number in range(rounds):
        sub = f"scratch/{folder}/{round_number}"
        os.mkdir(f"{lab.mounts[1]}/{sub}")
        writers = Writers([lab.mounts[0]] * 3, sub)
        try:
            writers.wait_progress(rng.randrange(60, 160))
            lab.do("kill", victim)
            if writers_stop:
                for thread in writers.threads:
                    thread.join(60)
            lab.do("restart", victim)
            if not writers_stop:
                writers.wait_progress(30, 60)
        finally:
            writers.stop()
        errors = [line for lines in writers.said.values() for line in lines if line[0] == "error"]
        check(writers_stop or not errors, f"writers saw errors: {errors}")
        total += verify(f"{lab.mounts[1]}/{sub}", writers.said)
        equal(verify(f"{lab.mounts[0]}/{sub}", writers.said), sum(map(len, writers.said.values())))
    print(f"  {total} acknowledgements in {rounds} rounds, all kept")


def test_router_killed(lab):
    crash(lab, "router", "router", 4, writers_stop=False)


def test_postgres_killed(lab):
    crash(lab, "postgres", "postgres", 3, writers_stop=False)


def test_router_started_before_postgres(lab):
    lab.do("kill", "router")
    lab.do("kill", "postgres")
    read, write = os.pipe()
    router = subprocess.Popen([f"{labtest.BUILD}/routerd/linkspan-routerd", "--config", f"{lab.dir}/router.toml", "--listen",
                               f"unix:{lab.base}/early", "--ready-fd", str(write)], pass_fds=[write],
                              stderr=subprocess.PIPE, text=True)
    os.close(write)
    try:
        said = router.stderr.readline()
        check("the store is away" in said and "--wait-store" in said, said)
        lab.do("restart", "postgres")
        with os.fdopen(read) as ready:
            check("listen" in ready.readline(), "it is ready once Postgres is there")
    finally:
        router.terminate()
        _, text = router.communicate(timeout=60)
        lab.do("restart", "router")
    equal(router.returncode, 0, text)
    labtest.sh(f"echo back > {lab.mounts[0]}/memory/early && grep back {lab.mounts[1]}/memory/early")


def test_mount_killed(lab):
    crash(lab, "mount", "mount:1", 4, writers_stop=True)


def test_network_cut_and_healed(lab):
    os.mkdir(f"{lab.mounts[1]}/scratch/cut")
    writers = Writers([lab.mounts[0]] * 3, "scratch/cut")
    try:
        writers.wait_progress(60)
        lab.do("cut", "mount:1")
        begun = time.monotonic()
        os.close(os.open(f"{lab.mounts[1]}/scratch/other", os.O_CREAT | os.O_WRONLY))
        check(time.monotonic() - begun < 8, "a cut mount delays another by more than its lease")
        time.sleep(2)  # the partition itself; nothing announces it
        lab.do("join", "mount:1")
        writers.wait_progress(60)
    finally:
        writers.stop()
    verify(f"{lab.mounts[1]}/scratch/cut", writers.said)
    verify(f"{lab.mounts[0]}/scratch/cut", writers.said)


READER = r"""
import os, sys, time
while True:
    fd = os.open(sys.argv[1], os.O_RDONLY)
    while os.read(fd, 131072):
        pass
    os.close(fd)
    os.write(1, b"read\n")
"""


def test_network_cut_while_reading(lab):
    """A READ that waits for the network holds its page in the kernel; what the mount has to forget when
    its lease ends must not wait for that page, or nothing brings the link back."""
    os.mkdir(f"{lab.mounts[1]}/scratch/reading")
    name = "scratch/reading/big"
    with open(f"{lab.mounts[1]}/{name}", "wb") as file:
        file.write(os.urandom(3 << 20))
    reader = subprocess.Popen([sys.executable, "-c", READER, f"{lab.mounts[0]}/{name}"], stdout=subprocess.PIPE)
    stop = threading.Event()

    def change():
        n = 0
        while not stop.wait(0.05):
            n += 1
            with open(f"{lab.mounts[1]}/{name}", "r+b") as file:
                file.seek(n * 70000 % (3 << 20))
                file.write(os.urandom(1000))
    changer = threading.Thread(target=change)
    changer.start()
    try:
        for _ in range(4):
            for _ in range(5):
                check(reader.stdout.readline(), "the reader ended")
            lab.do("cut", "mount:1")
            time.sleep(6)  # longer than the lease; nothing announces it
            os.set_blocking(reader.stdout.fileno(), False)
            while reader.stdout.read():
                pass
            os.set_blocking(reader.stdout.fileno(), True)
            lab.do("join", "mount:1")
            begun = time.monotonic()
            check(reader.stdout.readline(), "the reader ended")
            check(reader.stdout.readline(), "the reader ended")
            check(time.monotonic() - begun < 5, f"went on after {time.monotonic() - begun:.1f} s")
    finally:
        lab.do("join", "mount:1")
        stop.set()
        changer.join(60)
        reader.kill()
        reader.wait()


def test_dead_mount_serves_nothing(lab):
    lab.do("kill", "mount:1")
    for call in (lambda: os.listdir(f"{lab.mounts[0]}/memory"), lambda: open(f"{lab.mounts[0]}/memory/x", "w"),
                 lambda: os.listdir(lab.mounts[0])):
        check(labtest.errno_of(call) != 0, "a dead mount answered")
    labtest.sh(f"while umount -l {lab.mounts[0]}/memory 2>/dev/null; do :; done")
    check(labtest.errno_of(lambda: open(f"{lab.mounts[0]}/memory/x", "w")) != 0, "written beneath the mount")
    lab.do("restart", "mount:1")
    labtest.sh(f"ls {lab.mounts[0]}/memory >/dev/null && echo back > {lab.mounts[0]}/memory/back")


if __name__ == "__main__":
    labtest.main(globals(), each_seconds=300, mounts=2)
