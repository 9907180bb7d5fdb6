#!/usr/bin/env python3
"""Two routers on one database: when the first is killed, or only stops for a while and then goes on, the
second takes over, and every promise holds. Mounts know both addresses.

Processes on all mounts make directories, append to one file and save by rename, and say what was
acknowledged: no mkdir may find its own directory there, each acknowledged append is there once, whole.
Meanwhile one mount saves and another reads: what was acknowledged is seen.
"""
import errno
import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
import labtest  # noqa: E402
from labtest import check, equal  # noqa: E402

LEASE_MS = 2000
WRITER = r"""
import os, sys
root, name = sys.argv[1:3]
def say(text):
    os.write(1, (text + "\n").encode())
def step(what, call):
    try:
        call()
        say(f"{what} {i}")
    except OSError as error:
        say(f"error {what} {i} {error.errno}")
        sys.exit(3)
def append():
    fd = os.open(f"{root}/log", os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o644)
    os.write(fd, f"{name} {i} {'x' * 60}\n".encode())
    os.close(fd)
def save():
    with open(f"{root}/{name}.tmp", "w") as file:
        file.write(f"{i}\n")
        file.flush()
        os.fsync(file.fileno())
    os.rename(f"{root}/{name}.tmp", f"{root}/{name}.state")
i = 0
while True:
    step("made", lambda: os.mkdir(f"{root}/{name}-{i}"))
    step("appended", append)
    step("saved", save)
    i += 1
"""


class Writers:
    def __init__(self, lab, folder):
        self.roots = [f"{m}/scratch/{folder}" for m in lab.mounts]
        os.mkdir(self.roots[0])
        self.said = {}
        self.processes = []
        self.threads = []
        for n, root in enumerate(self.roots * 2):
            process = subprocess.Popen([sys.executable, "-c", WRITER, root, f"w{n}"], stdout=subprocess.PIPE, text=True)
            self.said[f"w{n}"] = []
            thread = threading.Thread(target=lambda p=process, s=self.said[f"w{n}"]: s.extend(line.split() for line in p.stdout))
            thread.start()
            self.processes.append(process)
            self.threads.append(thread)

    def errors(self):
        return [line for lines in self.said.values() for line in list(lines) if line[0] == "error"]

    def all_go_on(self, seconds, more=6):
        """Each acknowledges `more` calls from now on; how long that took."""
        begun = time.monotonic()
        goals = {name: len(lines) + more for name, lines in self.said.items()}
        labtest.eventually(lambda: self.errors() or all(len(self.said[n]) >= goal for n, goal in goals.items()), seconds,
                           "acknowledgements to every writer")
        check(not self.errors(), f"writers saw errors: {self.errors()}")
        return time.monotonic() - begun

    def stop(self):
        for process in self.processes:
            process.kill()
            process.wait()
        for thread in self.threads:
            thread.join(20)

    def verify(self):
        check(not self.errors(), f"writers saw errors: {self.errors()}")
        # What killed writers wrote last is still being committed.
        labtest.eventually(lambda: len({open(f"{root}/log").read() for root in self.roots}) == 1, 20, "one log everywhere")
        for root in self.roots:
            log = open(f"{root}/log").read().splitlines()
            whole = {f"{line[0]} {line[1]}" for line in (text.split() for text in log) if line[2:] == ["x" * 60]}
            odd = [line for n, line in enumerate(log) if not line.endswith(" " + "x" * 60) or line in log[:n]]
            check(len(whole) == len(log), f"{root}/log has lines that are torn, or there twice: {odd}")
            for name, lines in self.said.items():
                done = {verb: [int(line[1]) for line in lines if line[0] == verb] for verb in ("made", "appended", "saved")}
                lost = [i for i in done["appended"] if f"{name} {i}" not in whole]
                check(not lost, f"acknowledged appends of {name} that are not there: {lost}")
                for i in done["made"]:
                    check(os.path.isdir(f"{root}/{name}-{i}"), f"{root}/{name}-{i} was made and is not there")
                if done["saved"]:
                    state = int(open(f"{root}/{name}.state").read())
                    check(state >= done["saved"][-1], f"{name}.state is {state}, {done['saved'][-1]} was acknowledged")
        return sum(len(lines) for lines in self.said.values())


class Watch:
    """Saves on the first mount, reads on the others: none may see an older one than was acknowledged."""

    def __init__(self, lab, name):
        self.paths = [f"{m}/scratch/{name}" for m in lab.mounts]
        self.wrong, self.rounds, self.ending, self.slowest = [], 0, False, 0.0
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        try:
            while not self.ending:
                self.rounds += 1
                begun = time.monotonic()
                with open(self.paths[0] + ".tmp", "w") as file:
                    file.write(f"{self.rounds}\n")
                os.rename(self.paths[0] + ".tmp", self.paths[0])
                for path in self.paths:
                    seen = int(open(path).read())
                    if seen != self.rounds:
                        self.wrong.append(f"{path} shows {seen} after {self.rounds} was acknowledged")
                self.slowest = max(self.slowest, time.monotonic() - begun)
        except OSError as error:
            self.wrong.append(f"round {self.rounds}: {error}")

    def stop(self):
        self.ending = True
        self.thread.join(100)
        check(not self.wrong, f"{self.wrong[:5]}")
        check(self.rounds > 10, f"only {self.rounds} rounds")


def under_load(lab, name, bring):
    writers, watch = Writers(lab, name), Watch(lab, f"{name}-watch")
    try:
        writers.all_go_on(30)
        bring(writers)
    finally:
        writers.stop()
        watch.ending = True
    watch.stop()
    print(f"  {writers.verify()} acknowledgements kept, {watch.rounds} rounds seen by all, the slowest {watch.slowest:.1f} s")


def names_who_serves(lab, number):
    with open(f"{lab.mounts[0]}/.linkspan/status.json") as file:
        router = json.load(file)["router"]
    equal(router["connected_to"], router["address"].split(",")[number], "which router the status names")
    with open(f"{lab.mounts[0]}/.linkspan/status") as file:
        line = next(line for line in file if line.startswith("router"))
    equal(line.split()[1], router["connected_to"], line)


def test_the_first_is_killed_and_then_the_second(lab):
    def bring(writers):
        for victim, other in (("router", "router:2"), ("router:2", "router")):
            lab.do("kill", victim)
            took = writers.all_go_on(30, more=2)
            print(f"  {victim} killed: all mounts go on after {took:.2f} s with {other}")
            check(took < 10, f"took {took:.1f} s")
            names_who_serves(lab, 0 if other == "router" else 1)
            lab.do("restart", victim)  # it waits: the other lives
            writers.all_go_on(30)
    under_load(lab, "killed", bring)


def test_the_first_stops_and_goes_on_later(lab):
    def bring(writers):
        lab.do("stop", "router")
        took = writers.all_go_on(40, more=2)
        print(f"  router stopped: all mounts go on after {took:.2f} s with router:2")
        lab.do("cont", "router")
        for _ in range(3):  # it must not serve, or confirm, anything any more
            writers.all_go_on(20)
        lab.do("stop", "router:2")
        writers.all_go_on(40)
        lab.do("cont", "router:2")
        for _ in range(3):
            writers.all_go_on(20)
    under_load(lab, "stopped", bring)


def stats(mount):
    lines = [line.split() for line in open(f"{mount}/.linkspan/stats").read().splitlines() if not line.startswith("#")]
    return {line[0]: float(line[1]) for line in lines if len(line) == 2}


def test_one_that_lives_is_not_replaced(lab):
    """A mount that reaches only the second router waits; the others do not notice."""
    os.close(os.open(f"{lab.mounts[1]}/scratch/lives", os.O_CREAT))
    before = stats(lab.mounts[1])
    os.kill(lab.info["pids"]["proxies"][0], signal.SIGSTOP)  # its way to the first one
    try:
        end = time.monotonic() + LEASE_MS / 1000 * 3
        while time.monotonic() < end:
            with open(f"{lab.mounts[1]}/scratch/lives", "a") as file:
                file.write("x\n")
    finally:
        os.kill(lab.info["pids"]["proxies"][0], signal.SIGCONT)
    after = stats(lab.mounts[1])
    lost = [k for k in after if "caches_lost" in k]
    check(lost, f"no counter of lost caches in {sorted(after)}")
    equal([after[k] for k in lost], [before[k] for k in lost], "caches that the other mount lost")
    with open(f"{lab.mounts[0]}/scratch/lives") as file:
        check(len(file.read()) > 2, "the mount that was cut off sees what the other one wrote")


def test_one_that_lost_its_database_serves_no_cache(lab):
    """The router that serves is cut off from the database, and still reached by one mount; the other one comes to
    the second router, which takes over. What the first mount has cached must go before the other's change
    is acknowledged, though its router goes on answering it."""
    # Whichever serves now: the proxy is the first one's.
    lab.do("kill", "router:2")
    here, there = (f"{m}/scratch/database" for m in lab.mounts[:2])
    with open(there, "w") as file:
        file.write("old")
    equal(open(here).read(), "old", "cached here")
    lab.do("restart", "router:2")
    stale = []
    lab.do("cut", "database")
    os.kill(lab.info["pids"]["proxies"][1], signal.SIGSTOP)  # the other mount's way to the first router
    try:
        begun = time.monotonic()
        with open(there, "w") as file:
            file.write("new")
        took = time.monotonic() - begun
        for _ in range(20):  # each is answered by whoever serves this mount now
            seen = open(here).read()
            if seen != "new":
                stale.append(seen)
            time.sleep(0.1)
    finally:
        os.kill(lab.info["pids"]["proxies"][1], signal.SIGCONT)
        lab.do("join", "database")
    equal(stale, [], "reads of what was there before the acknowledged change")
    print(f"  the change was acknowledged after {took:.1f} s")


def test_locks_are_kept(lab):
    path = "scratch/lock"
    holder = os.open(f"{lab.mounts[0]}/{path}", os.O_CREAT | os.O_RDWR)
    fcntl.lockf(holder, fcntl.LOCK_EX)
    other = os.open(f"{lab.mounts[1]}/{path}", os.O_RDWR)
    lab.do("restart", "router:2")  # so that the first one serves
    for mount in lab.mounts:  # all are there, and have said what they hold
        with open(f"{mount}/scratch/moved", "a") as file:
            file.write("x")
    active = "router"
    for verb in ("kill", "stop"):
        lab.do(verb, active)
        standby = "router:2" if active == "router" else "router"
        begun = time.monotonic()
        equal(labtest.errno_of(fcntl.lockf, other, fcntl.LOCK_EX | fcntl.LOCK_NB), errno.EAGAIN, f"a held lock after {verb} of {active}")
        print(f"  {active}, {verb}: answered after {time.monotonic() - begun:.1f} s by {standby}")
        lab.do("restart" if verb == "kill" else "cont", active)
        active = standby
        equal(labtest.errno_of(fcntl.lockf, other, fcntl.LOCK_EX | fcntl.LOCK_NB), errno.EAGAIN, "still held")
    os.write(holder, b"mine")
    os.close(holder)
    fcntl.lockf(other, fcntl.LOCK_EX)
    equal(os.pread(other, 10, 0), b"mine", "what was written under the lock")
    os.close(other)


if __name__ == "__main__":
    labtest.main(globals(), each_seconds=200, mounts=3, routers=2, lease_ms=LEASE_MS)
