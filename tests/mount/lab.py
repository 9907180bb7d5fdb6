#!/usr/bin/env python3
"""The lab itself (tests/lab): two side by side, the memory store, what `down` and a failed `up` leave, its errors.
What kill, stop, cont, restart, cut and join do to a mount, a router and Postgres is shown by tests/fault/away.py.
"""
import contextlib
import errno
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
import labtest  # noqa: E402
from labtest import BUILD, ROOT, alive, check, equal, errno_of, sh  # noqa: E402

if os.geteuid() != 0:
    print("SKIPPED: needs root for mounts of a lab")
    sys.exit(77)


def lab_program(*args, timeout=90):
    return subprocess.run([str(ROOT / "tests/lab"), *map(str, args)], capture_output=True, text=True, timeout=timeout)


def refused(status, words, *args):
    """One line that says `words`, and this exit status; usage errors (2) have more lines."""
    done = lab_program(*args)
    what = f"tests/lab {' '.join(map(str, args))}: {done.stderr!r}"
    equal(done.returncode, status, what)
    check(words in done.stderr and "Traceback" not in done.stderr and done.stdout == "", what)
    check(status == 2 or done.stderr.count("\n") == 1, what)


@contextlib.contextmanager
def lab_of(**options):
    lab = labtest.Lab(**options)
    try:
        yield lab
    finally:
        lab.down()


@contextlib.contextmanager
def place():
    """A folder that Postgres' user may enter."""
    path = tempfile.mkdtemp(prefix="lsp-test-", dir="/tmp")
    os.chmod(path, 0o755)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def sockets_of(lab):
    return os.path.dirname(lab.info["router"].removeprefix("unix:"))


def mounts_below(folder):
    points = (line.split()[4] for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines())
    return [p for p in points if p == folder or p.startswith(folder + "/")]


def processes_naming(*words):
    """Processes that have one of these paths in their command line, and their descendants."""
    parents, found = {}, set()
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                command = (entry / "cmdline").read_bytes().decode(errors="replace")
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
            if any(w in command for w in words):
                found.add(int(entry.name))
    while more := {p for p, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def nothing_left(folder, sockets, pids=()):
    equal([p for p in pids if alive(p)], [], "processes that are left")
    equal(processes_naming(folder, *sockets), set(), "processes that name the lab")
    equal(mounts_below(folder), [], "mounts that are left")
    equal([p for p in sockets if os.path.exists(p)], [], "socket folders that are left")


def write(path, text):
    with open(path, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def read(path):
    return pathlib.Path(path).read_text()


def test_two_labs_side_by_side():
    with lab_of(mounts=2) as one, lab_of(mounts=1) as other:
        for key in ("router", "router_tcp", "postgres", "logs", "publisher"):
            check(one.info[key] != other.info[key], f"both have {key} {one.info[key]}")
        first, second = (processes_naming(lab.dir, sockets_of(lab)) for lab in (one, other))
        for lab, pids in ((one, first), (other, second)):
            named = lab.info["pids"]
            check({named["router"], named["postgres"], *named["mounts"]} <= pids, f"{named} of {pids}")
        equal(first & second, set(), "processes of both")
        write(f"{one.mounts[0]}/memory/only-here", "1")
        write(f"{one.mounts[0]}/memory/same-name", "of one")
        write(f"{other.mounts[0]}/memory/same-name", "of other")
        write(f"{one.mounts[0]}/workspace/w", "1")
        equal(sorted(os.listdir(f"{one.mounts[1]}/memory")), ["only-here", "same-name"])
        equal(os.listdir(f"{other.mounts[0]}/memory"), ["same-name"])
        equal(os.listdir(f"{other.mounts[0]}/workspace"), [])
        equal([read(f"{m}/memory/same-name") for m in (*one.mounts, *other.mounts)], ["of one", "of one", "of other"])
        one.down()
        nothing_left(one.dir, [sockets_of(one)], first)
        equal([p for p in second if not alive(p)], [], "processes of the other that ended")
        equal(read(f"{other.mounts[0]}/memory/same-name"), "of other")
        write(f"{other.mounts[0]}/memory/same-name", "still of other")
        other.do("restart", "router")  # its socket, its database and its configuration are there, too
        other.do("restart", "mount:1")
        equal(read(f"{other.mounts[0]}/memory/same-name"), "still of other")
        equal(json.loads(lab_program("show", other.dir).stdout), other.info)


def test_memory_store():
    with lab_of(mounts=2, store="mem") as lab:
        equal((lab.info["postgres"], lab.info["pids"]["postgres"]), (None, None))
        check(alive(lab.info["pids"]["router"]) and all(map(alive, lab.info["pids"]["mounts"])))
        for route in ("memory", "sessions", "scratch"):
            write(f"{lab.mounts[0]}/{route}/f", route)
            equal(read(f"{lab.mounts[1]}/{route}/f"), route)
        names = {read(f"/proc/{p}/comm").strip() for p in processes_naming(lab.dir, sockets_of(lab))}
        check(not any("postgres" in n for n in names), names)
        refused(1, "this lab has no postgres", "kill", lab.dir, "postgres")


def test_only_the_memory_store_does_without_postgres():
    """In a mount namespace where Postgres is not installed."""
    hidden = "/usr/lib/postgresql"
    if not os.path.isdir(hidden) or shutil.which("initdb", path="/usr/bin:/bin"):
        raise RuntimeError(f"Postgres is not in {hidden}: this test does not know how to hide it")
    with place() as base:
        out = sh(f"""unshare -m bash -c 'set -eu; export PATH=/usr/bin:/bin
            mount -t tmpfs none {hidden}; lab="timeout 60 {ROOT}/tests/lab"
            $lab up {base}/pg --build {BUILD} 2>&1 && exit 1
            $lab up {base}/mem --build {BUILD} --store mem >{base}/json
            echo kept >{base}/mem/m1/memory/f; cat {base}/mem/m1/memory/f
            $lab down {base}/mem' """)
        check("Postgres is not installed" in out and "--store mem" in out and out.endswith("kept\n"), out)
        sockets = os.path.dirname(json.loads(read(f"{base}/json"))["router"].removeprefix("unix:"))
        nothing_left(base, [sockets])


def test_down_leaves_nothing():
    """Also where its files are in use."""
    with lab_of(mounts=2) as lab:
        pids = processes_naming(lab.dir, sockets_of(lab))
        named = lab.info["pids"]
        check({named["router"], named["postgres"], *named["mounts"], *named["proxies"]} <= pids, f"{named} of {pids}")
        check(len(mounts_below(lab.dir)) >= 2, mounts_below(lab.dir))
        write(f"{lab.mounts[0]}/memory/f", "1")
        held = os.open(f"{lab.mounts[0]}/memory/f", os.O_RDONLY)
        user = subprocess.Popen(["sleep", "120"], cwd=f"{lab.mounts[1]}/workspace")
        try:
            done = lab_program("down", lab.dir)
        finally:
            user.kill()
            user.wait()
            equal(errno_of(os.close, held), errno.ENOTCONN)
        equal((done.returncode, done.stdout, done.stderr), (0, "", ""), "down")
        check(not os.path.exists(lab.dir), f"{lab.dir} is there")
        nothing_left(lab.dir, [sockets_of(lab)], pids)
        for _ in range(2):
            done = lab_program("down", lab.dir)
            equal((done.returncode, done.stderr.strip()), (0, f"lab: {lab.dir} is not there: nothing to end"))


def test_down_of_a_lab_in_pieces():
    """A router that is dead, Postgres and a mount stopped, a mount killed and a network cut: all goes, unstopped."""
    with lab_of(mounts=3) as lab:
        pids = processes_naming(lab.dir, sockets_of(lab))
        write(f"{lab.mounts[0]}/memory/f", "1")
        for verb, target in (("stop", "mount:1"), ("kill", "mount:2"), ("cut", "mount:3"), ("kill", "router"),
                             ("stop", "postgres")):
            lab.do(verb, target)
        equal([alive(p) for p in (lab.info["pids"]["router"], *lab.info["pids"]["mounts"])], [False, True, False, True])
        done = lab_program("down", lab.dir)
        equal((done.returncode, done.stderr), (0, ""), "down")
        check(not os.path.exists(lab.dir), f"{lab.dir} is there")
        nothing_left(lab.dir, [sockets_of(lab)], pids)


def test_up_that_fails_leaves_nothing():
    """The mount program fails when Postgres, the router and the first proxy run already."""
    with place() as base:
        for name in ("routerd/linkspan-routerd", "tests/support/lab-proxy", "tests/support/step-clock.so"):
            os.makedirs(os.path.dirname(f"{base}/build/{name}"), exist_ok=True)
            os.symlink(os.path.realpath(f"{BUILD}/{name}"), f"{base}/build/{name}")
        os.makedirs(f"{base}/build/fusefs/cli")
        os.symlink(shutil.which("false"), f"{base}/build/fusefs/cli/linkspan")
        done = lab_program("up", f"{base}/lab", "--build", f"{base}/build")
        equal((done.returncode, done.stdout), (1, ""), done.stderr)
        said = f"mount 1 did not get ready (exit status 1); its log {base}/lab/log/mount1.log ends:"
        check(said in done.stderr, done.stderr)
        router = read(f"{base}/lab/router.toml").split('"unix:')[1].split('"')[0]
        nothing_left(base, [os.path.dirname(router)])
        check(os.path.exists(f"{base}/lab/log/router.log"), "the logs are gone")
        # DIR is no lab, and is not taken for one.
        refused(1, f"{base}/lab holds no lab", "down", f"{base}/lab")
        refused(1, "is not empty", "up", f"{base}/lab", "--build", BUILD)


def test_errors():
    with lab_of(mounts=1, store="mem") as lab, place() as base:
        both = "is not router, postgres or mount:1..mount:1"
        for target in ("mount:0", "mount:2", "mount:", "mount:x", "mounts", "router:2", "router:0", ""):
            refused(1, f"'{target}' {both}", "kill", lab.dir, target)
        for verb in ("stop", "cont", "restart"):
            refused(1, f"'mount:2' {both}", verb, lab.dir, "mount:2")
        for verb in ("cut", "join", "break", "slow", "fast"):
            refused(1, "'router' is not mount:1..mount:1", verb, lab.dir, "router")
        refused(1, "'database' is not mount:1..mount:1", "cut", lab.dir, "database")
        refused(1, "holds a lab already: tests/lab down", "up", lab.dir, "--build", BUILD)
        for no_lab in (base, f"{base}/none"):
            for verb, *more in (("show",), ("kill", "router"), ("cut", "mount:1"), ("clock", "router", "5")):
                refused(1, f"{no_lab} holds no lab: tests/lab up", verb, no_lab, *more)
        refused(1, f"{base} holds no lab", "down", base)
        check(not os.path.exists(f"{base}/none"), "it was made")
        refused(1, "Run `meson setup build && ninja -C build`", "up", f"{base}/new", "--build", f"{base}/no-build")
        write(f"{base}/mine", "1")
        refused(1, f"{base} is not empty: name a new or empty folder", "up", base, "--build", BUILD)
        equal(read(f"{base}/mine"), "1")
        for usage in ((), ("up",), ("kill", lab.dir), ("frobnicate", lab.dir), ("up", f"{base}/new", "--mounts", "x"),
                      ("up", f"{base}/new", "--store", "disk"), ("up", f"{base}/new", "--quota-bytes", "-1")):
            refused(2, "usage: tests/lab", *usage)
        check(not os.path.exists(f"{base}/new"), "it was made")
        # Nothing of that concerned the lab.
        equal(json.loads(lab_program("show", lab.dir).stdout), lab.info)
        write(f"{lab.mounts[0]}/memory/f", "1")
        # Of what does not run.
        lab.do("kill", "mount:1")
        for verb in ("stop", "cont"):
            refused(1, f"mount:1 is not running: tests/lab restart {lab.dir} mount:1", verb, lab.dir, "mount:1")
        os.kill(lab.info["pids"]["proxies"][0], signal.SIGKILL)
        labtest.eventually(lambda: not alive(lab.info["pids"]["proxies"][0]), 10, "the proxy ends")
        refused(1, "the proxy of mount:1 is gone: tests/lab down", "cut", lab.dir, "mount:1")


if __name__ == "__main__":
    labtest.main(globals(), each_seconds=120)
