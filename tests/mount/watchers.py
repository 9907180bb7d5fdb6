#!/usr/bin/env python3
"""Programs that watch (inotify) hear of what other mounts change: files and directories, read-only
routes too, within a second; nothing else changes for it, and nothing is done while nobody watches."""
import os
import pathlib
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
import labtest  # noqa: E402
from inotify import Watch  # noqa: E402
from labtest import check, equal, eventually, sh  # noqa: E402

LINKSPAN = labtest.BUILD + "/fusefs/cli/linkspan"
SECOND = 1.0
QUIET = 1.0  # without an event: no more will come
DELAYS = []


def stats(mount):
    found = {}
    for line in pathlib.Path(mount, ".linkspan/stats").read_text().splitlines():
        if not line.startswith("#"):
            key, _, value = line.rpartition(" ")
            found[key.removeprefix("linkspan_")] = float(value)
    return found


def found(mount, count):
    """The mount has found so many watched nodes, by a look that began later than this."""
    scans = stats(mount)["watch_scans_total"] + 1

    def found_them():
        now = stats(mount)
        return now["watched"] == count and now["watch_scans_total"] > scans
    eventually(found_them, 15, f"{count} watched nodes")


def save(path, text):
    """As editors do."""
    temporary = f"{os.path.dirname(path)}/.{os.path.basename(path)}.tmp"
    pathlib.Path(temporary).write_text(text)
    os.rename(temporary, path)


def heard(watch, wanted, change):
    """`change` is done elsewhere; what is wanted is heard within a second of its return."""
    change()
    DELAYS.append(watch.until(wanted, SECOND))


def folder(lab, name, route="memory"):
    """The same new directory on both mounts."""
    here, there = (f"{mount}/{route}/{name}" for mount in lab.mounts[:2])
    os.mkdir(there)
    return here, there


# ---- what is heard --------------------------------------------------------------------------------

def check_directory(here, there, mount):
    pathlib.Path(there, "old").write_text("old\n")
    os.mkdir(f"{there}/olddir")
    with Watch(here) as watch:
        found(mount, 1)
        heard(watch, [("CREATE", "new"), ("CLOSE_WRITE", "new")],
              lambda: pathlib.Path(there, "new").write_text("1\n"))
        watch.drain(0.3)
        heard(watch, [("MODIFY", "new"), ("CLOSE_WRITE", "new")],
              lambda: pathlib.Path(there, "new").write_text("in place\n"))
        equal(pathlib.Path(here, "new").read_text(), "in place\n")
        heard(watch, [("MODIFY", "old")], lambda: sh(f"echo more >> {there}/old"))
        equal(pathlib.Path(here, "old").read_text(), "old\nmore\n")
        heard(watch, [("MOVED_TO", "old")], lambda: save(f"{there}/old", "saved\n"))
        equal(pathlib.Path(here, "old").read_text(), "saved\n")
        heard(watch, [("ATTRIB", "old")], lambda: os.chmod(f"{there}/old", 0o755))
        equal(os.stat(f"{here}/old").st_mode & 0o777, 0o755)
        heard(watch, [("MODIFY", "old")], lambda: pathlib.Path(there, "old").write_text("#!/bin/sh\n"))
        heard(watch, [("DELETE", "new"), ("CREATE", "renamed")],
              lambda: os.rename(f"{there}/new", f"{there}/renamed"))
        equal(pathlib.Path(here, "renamed").read_text(), "in place\n")
        heard(watch, [("CREATE", "dir")], lambda: os.mkdir(f"{there}/dir"))
        heard(watch, [("CREATE", "link")], lambda: os.symlink("old", f"{there}/link"))
        equal(os.readlink(f"{here}/link"), "old")
        heard(watch, [("DELETE", "dir")], lambda: os.rmdir(f"{there}/dir"))
        heard(watch, [("DELETE", "olddir")], lambda: os.rmdir(f"{there}/olddir"))
        heard(watch, [("DELETE", "old")], lambda: os.unlink(f"{there}/old"))
        equal(sorted(os.listdir(here)), ["link", "renamed"])
        check(not os.path.exists(f"{here}/old"), "old is there")
        bits = set().union(*(bits for _, bits, _ in watch.seen))
        check(not bits & {"UNMOUNT", "IGNORED", "DELETE_SELF", "MOVE_SELF"}, f"{watch.seen}")


def test_a_watched_directory(lab):
    here, there = folder(lab, "directory")
    check_directory(here, there, lab.mounts[0])


def test_a_watched_directory_within_directories(lab):
    folder(lab, "outer")
    here, there = folder(lab, "outer/inner")
    check_directory(here, there, lab.mounts[0])


def test_a_look_beside_a_watched_directory(lab):
    """What is above both has changed, so the kernel drops the names in it, the watched directory's too."""
    above = folder(lab, "above")
    beside, _ = folder(lab, "above/beside")
    here, there = folder(lab, "above/watched")
    os.listdir(above[0])
    with Watch(here) as watch:
        found(lab.mounts[0], 1)
        for name in ("a", "b", "c"):
            heard(watch, [("CREATE", name)], lambda: pathlib.Path(there, name).write_text("1\n"))
            sh(f"stat {beside}")
        bits = set().union(*(bits for _, bits, _ in watch.seen))
        check(not bits & {"UNMOUNT", "IGNORED", "DELETE_SELF", "MOVE_SELF"}, f"{watch.seen}")


def test_the_root_of_a_route(lab):
    with Watch(f"{lab.mounts[0]}/scratch") as watch:
        found(lab.mounts[0], 1)
        heard(watch, [("CREATE", "top")], lambda: pathlib.Path(lab.mounts[1], "scratch/top").write_text("x"))
        heard(watch, [("DELETE", "top")], lambda: os.unlink(f"{lab.mounts[1]}/scratch/top"))
        check(all(name in ("top", "") for _, _, name in watch.seen), f"{watch.seen}")


def test_a_watched_file(lab):
    here, there = folder(lab, "file")
    for name in ("a", "b", "c"):
        pathlib.Path(there, name).write_text("1\n")
    with Watch(*(f"{here}/{name}" for name in "abc")) as watch:
        found(lab.mounts[0], 3)
        heard(watch, [("MODIFY", ""), ("CLOSE_WRITE", "")], lambda: pathlib.Path(there, "a").write_text("22\n"))
        equal(pathlib.Path(here, "a").read_text(), "22\n")
        heard(watch, [("ATTRIB", "")], lambda: os.chmod(f"{there}/a", 0o600))
        heard(watch, [("MODIFY", "")], lambda: sh(f"echo 3 >> {there}/a"))
        equal(pathlib.Path(here, "a").read_text(), "22\n3\n")
        watch.drain(0.3)
        # As on a local disk: the file that was watched is another's now, or nobody's.
        heard(watch, [("DELETE_SELF", "")], lambda: save(f"{there}/b", "saved\n"))
        equal(pathlib.Path(here, "b").read_text(), "saved\n")
        heard(watch, [("DELETE_SELF", "")], lambda: os.unlink(f"{there}/c"))
        check(not os.path.exists(f"{here}/c"), "c is there")
        equal(pathlib.Path(here, "a").read_text(), "22\n3\n")


def test_a_watched_directory_goes(lab):
    here, there = folder(lab, "goes")
    folder(lab, "goes/empty")
    with Watch(f"{here}/empty") as watch:
        found(lab.mounts[0], 1)
        heard(watch, [("DELETE_SELF", "")], lambda: os.rmdir(f"{there}/empty"))
    check(not os.path.exists(f"{here}/empty"), "it is there")


def test_an_open_file_stays_whole(lab):
    """A watched file that is open here loses its name elsewhere: the descriptor keeps it."""
    here, there = folder(lab, "open")
    pathlib.Path(there, "f").write_text("kept " * 1000)
    with open(f"{here}/f") as file, Watch(f"{here}/f", here) as watch:
        found(lab.mounts[0], 2)
        file.read(10)
        heard(watch, [("DELETE", "f")], lambda: os.unlink(f"{there}/f"))
        equal(os.fstat(file.fileno()).st_size, 5000)
        file.seek(0)
        equal(file.read(), "kept " * 1000)


def test_watched_and_changed_at_once(lab):
    """What is changed before the watch was found, and made here before it was changed there."""
    here, there = folder(lab, "fresh")
    pathlib.Path(there, "f").write_text("1\n")
    equal(pathlib.Path(here, "f").read_text(), "1\n")
    with Watch(here) as watch:
        heard(watch, [("MODIFY", "f")], lambda: pathlib.Path(there, "f").write_text("2\n"))
        pathlib.Path(here, "mine").write_text("1\n")
        watch.drain(0.3)
        heard(watch, [("MODIFY", "mine")], lambda: pathlib.Path(there, "mine").write_text("2\n"))
        pathlib.Path(here, "mine2").write_text("1\n")
        watch.drain(0.3)
        heard(watch, [("DELETE", "mine2")], lambda: os.unlink(f"{there}/mine2"))


# ---- read-only routes -----------------------------------------------------------------------------

class Publisher:
    """A mount whose token may write skills."""

    def __init__(self, lab):
        self.tree, self.state = f"{lab.base}/publisher", f"{lab.base}/publisher-state"
        os.makedirs(self.tree, exist_ok=True)
        subprocess.run([LINKSPAN, "mount", "--router", lab.info["router"], "--token-file", lab.info["publisher"],
                        "--state-dir", self.state, self.tree], check=True, timeout=60)

    def __enter__(self):
        return self.tree

    def __exit__(self, *_):
        subprocess.run([LINKSPAN, "umount", "--state-dir", self.state, self.tree], check=True, timeout=60)


def test_a_read_only_route(lab):
    here = f"{lab.mounts[0]}/skills"
    with Publisher(lab) as tree:
        os.mkdir(f"{tree}/skills/pdf")
        check_directory(f"{here}/pdf", f"{tree}/skills/pdf", lab.mounts[0])
        pathlib.Path(tree, "skills/SKILL.md").write_text("1\n")
        with Watch(here, f"{here}/SKILL.md") as watch:
            found(lab.mounts[0], 2)
            heard(watch, [("MODIFY", "SKILL.md"), ("MODIFY", "")],
                  lambda: pathlib.Path(tree, "skills/SKILL.md").write_text("2\n"))
            heard(watch, [("MOVED_TO", "SKILL.md"), ("DELETE_SELF", "")],
                  lambda: save(f"{tree}/skills/SKILL.md", "3\n"))
    equal(pathlib.Path(here, "SKILL.md").read_text(), "3\n")


def test_read_only_stays_so(lab):
    """The mount is read-only; made writable by hand, the connection still refuses."""
    import errno
    here = f"{lab.mounts[0]}/skills"
    with Publisher(lab) as tree:
        pathlib.Path(tree, "skills/ro").write_text("1\n")
    check(os.statvfs(here).f_flag & os.ST_RDONLY, "not mounted read-only")
    name = f"{here}/ro"
    changes = [lambda: os.open(name, os.O_WRONLY), lambda: os.open(f"{here}/x", os.O_WRONLY | os.O_CREAT),
               lambda: os.mkdir(f"{here}/x"), lambda: os.unlink(name), lambda: os.rename(name, f"{here}/x"),
               lambda: os.chmod(name, 0o600), lambda: os.utime(name), lambda: os.truncate(name, 0),
               lambda: os.symlink("x", f"{here}/x"), lambda: os.link(name, f"{here}/x"),
               lambda: os.setxattr(name, "user.x", b"1")]
    for number, change in enumerate(changes):
        equal(labtest.errno_of(change), errno.EROFS, f"change {number}")
    sh(f"mount -o remount,bind,rw {here}")
    try:
        for number, change in enumerate(changes):
            equal(labtest.errno_of(change), errno.EROFS, f"change {number}, remounted")
    finally:
        sh(f"mount -o remount,bind,ro {here}")
    equal(pathlib.Path(name).read_text(), "1\n")


# ---- and nothing else -----------------------------------------------------------------------------

def state_of(path):
    st = os.stat(path)
    xattrs = {name: os.getxattr(path, name) for name in
              ("user.linkspan.version", "user.linkspan.author", "user.linkspan.changed")}
    return (st.st_ino, st.st_mode, st.st_nlink, st.st_size, st.st_mtime_ns, st.st_ctime_ns, st.st_atime_ns, xattrs)


def test_nothing_is_changed(lab):
    here, there = folder(lab, "nothing")
    pathlib.Path(there, "f").write_text("1\n")
    with Watch(here, f"{here}/f") as watch:
        found(lab.mounts[0], 2)
        pathlib.Path(there, "f").write_text("22\n")
        before = [state_of(f"{there}/f"), state_of_directory(there)]
        log = sh(f"{LINKSPAN} log {there}")
        watch.until([("MODIFY", "f"), ("MODIFY", "")], SECOND)
        watch.drain(QUIET)
        for side in (here, there):
            equal([state_of(f"{side}/f"), state_of_directory(side)], before, side)
        equal(sh(f"{LINKSPAN} log {there}"), log)


def state_of_directory(path):
    st = os.stat(path)
    return (st.st_ino, st.st_mode, st.st_nlink, st.st_size, st.st_mtime_ns, st.st_ctime_ns, st.st_atime_ns)


def test_no_loop_no_storm(lab):
    """Both mounts watch the same: each change is told once on the other side, and then it is quiet."""
    here, there = folder(lab, "storm")
    pathlib.Path(there, "f").write_text("0\n")
    with Watch(here) as watch, Watch(there) as other:
        found(lab.mounts[0], 1)
        found(lab.mounts[1], 1)
        pathlib.Path(there, "f").write_text("1\n")
        events = watch.drain(QUIET)
        equal([sorted(bits) for _, bits, name in events if name == "f"], [["MODIFY"], ["CLOSE_WRITE"]], "here")
        # The writer's own; equal ones in a row are one.
        own = [sorted(bits) for _, bits, name in other.drain(QUIET) if name == "f"]
        equal(own, [["MODIFY"], ["CLOSE_WRITE"]], "there")
        before = [stats(mount)["nudges_total"] for mount in lab.mounts[:2]]
        for number in range(200):
            save(f"{there}/f", f"{number}\n")
        events = watch.drain(QUIET)
        other.drain(QUIET)
        after = [stats(mount)["nudges_total"] for mount in lab.mounts[:2]]
        check(1 <= after[0] - before[0] <= 600, f"{before} {after}")
        equal(after[1], before[1], "the writer's mount nudged")
        check(len(events) <= 1200, f"{len(events)} events")
        equal(pathlib.Path(here, "f").read_text(), "199\n")
        equal(watch.drain(QUIET), [], "later")


def test_nobody_watches(lab):
    here, there = folder(lab, "nobody")
    with Watch(f"{lab.base}") as elsewhere:
        found(lab.mounts[0], 0)
        begun, before = time.monotonic(), stats(lab.mounts[0])
        for number in range(50):
            save(f"{there}/f", f"{number}\n")
            equal(pathlib.Path(here, "f").read_text(), f"{number}\n")
        time.sleep(1)
        after = stats(lab.mounts[0])
        for key in ("nudges_total", "nudges_failed_total", "watched"):
            equal(after[key], before[key], key)
        scans = after["watch_scans_total"] - before["watch_scans_total"]
        took = time.monotonic() - begun
        check(scans <= 2 * took + 2, f"{scans:.0f} scans in {took:.1f} s")
        del elsewhere


def test_two_hundred_directories(lab):
    here, there = folder(lab, "many")
    for number in range(200):
        os.mkdir(f"{there}/{number}")
    with Watch(*(f"{here}/{number}" for number in range(200))) as watch:
        found(lab.mounts[0], 200)
        wanted = [("CREATE", f"f{number}") for number in range(200)]
        begun = time.monotonic()
        for number in range(200):
            pathlib.Path(there, f"{number}/f{number}").write_text("x")
        took = time.monotonic() - begun
        watch.until(wanted, SECOND)
        print(f"     200 files in {took:.2f} s", flush=True)
        heard(watch, [("MODIFY", "f77")], lambda: pathlib.Path(there, "77/f77").write_text("y"))


def test_writers_on_both_sides(lab):
    """While both mounts change the same names, and both watch, nobody is held up or told wrong."""
    here, there = folder(lab, "both", "scratch")
    stop, slowest, failures = threading.Event(), [0.0], []

    def write(side, number):
        while not stop.is_set():
            begun = time.monotonic()
            try:
                save(f"{side}/f{number}", f"{side}\n" * 10)
                pathlib.Path(side, "shared").write_text(f"{number}\n")
                os.mkdir(f"{side}/d{number}")
                os.rmdir(f"{side}/d{number}")
            except OSError as error:
                failures.append(f"{side} {error}")
            slowest[0] = max(slowest[0], time.monotonic() - begun)
    with Watch(here) as watch, Watch(there) as other:
        found(lab.mounts[0], 1)
        threads = [threading.Thread(target=write, args=(side, number))
                   for number, side in enumerate((here, there, here, there))]
        for thread in threads:
            thread.start()
        end = time.monotonic() + 8
        while time.monotonic() < end:
            watch.read(0.1)
            other.read(0.1)
        stop.set()
        for thread in threads:
            thread.join()
        watch.drain(0.5)
        equal(failures, [], "failures")
        check(slowest[0] < 3, f"one round took {slowest[0]:.2f} s")
        heard(watch, [("CREATE", "last")], lambda: pathlib.Path(there, "last").write_text("x"))
        equal(sorted(os.listdir(here)), sorted(os.listdir(there)))
        for name in os.listdir(here):
            equal(os.stat(f"{here}/{name}").st_ino, os.stat(f"{there}/{name}").st_ino, name)
            equal(os.stat(f"{here}/{name}").st_nlink, os.stat(f"{there}/{name}").st_nlink, name)
    print(f"     slowest round {slowest[0]:.2f} s", flush=True)


def test_what_is_executed(lab):
    """A program that is changed elsewhere can be executed here all the while."""
    here, there = folder(lab, "exec")
    program = f"{there}/tool"
    pathlib.Path(program).write_text("#!/bin/sh\necho 0\n")
    os.chmod(program, 0o755)
    with Watch(here, f"{here}/tool") as watch:
        found(lab.mounts[0], 2)
        for number in range(30):
            pathlib.Path(program).write_text(f"#!/bin/sh\necho {number}\n")
            for _ in range(3):
                equal(subprocess.run([f"{here}/tool"], capture_output=True, text=True).stdout, f"{number}\n")
        watch.until([("MODIFY", "tool"), ("MODIFY", "")], SECOND)


# ---- faults ---------------------------------------------------------------------------------------

def test_after_a_lost_lease(lab):
    here, there = folder(lab, "lease")
    for name in ("changed", "removed", "same"):
        pathlib.Path(there, name).write_text("1\n")
    with Watch(here) as watch:
        found(lab.mounts[0], 1)
        lab.do("cut", "mount:1")
        try:
            time.sleep(3)  # longer than the lease: nothing announces to us that it is over
            pathlib.Path(there, "changed").write_text("22\n")
            pathlib.Path(there, "made").write_text("1\n")
            os.unlink(f"{there}/removed")
        finally:
            lab.do("join", "mount:1")
        watch.until([("MODIFY", "changed"), ("CREATE", "made"), ("DELETE", "removed")], 20)
        check(all(name != "same" for _, _, name in watch.drain(QUIET)), "same")


def test_unmounting_meanwhile(lab):
    """However busy the watchers are kept, the mount can be unmounted at any time, plainly."""
    here, there = folder(lab, "unmount")
    tree, state = f"{lab.base}/third", f"{lab.base}/third-state"
    os.mkdir(tree)
    stop = threading.Event()

    def write():
        number = 0
        while not stop.is_set():
            number += 1
            save(f"{there}/f{number % 5}", f"{number}\n")
    writer = threading.Thread(target=write)
    writer.start()
    try:
        for way in ("umount", "linkspan", "lazy"):
            subprocess.run([LINKSPAN, "mount", "--router", lab.info["router"], "--token-file", lab.info["token"],
                            "--state-dir", state, tree], check=True, timeout=60)
            with Watch(f"{tree}/memory/unmount") as watch:
                watch.until([("MOVED_TO", f"f{number}") for number in range(5)], 15)
            pid = int(sh(f"pgrep -n -f -- '--state-dir {state}'"))
            begun = time.monotonic()
            if way == "linkspan":
                sh(f"timeout 20 {LINKSPAN} umount --state-dir {state} {tree}")
            else:
                sh(f"timeout 20 umount {'-l' if way == 'lazy' else ''} -R {tree}")
            eventually(lambda: not os.path.exists(f"/proc/{pid}"), 15, f"the mount process ends ({way})")
            print(f"     {way}: {time.monotonic() - begun:.2f} s", flush=True)
    finally:
        stop.set()
        writer.join()


# ---- in a sandbox ---------------------------------------------------------------------------------

def test_in_run(lab):
    """linkspan run: the watcher lives in bubblewrap's namespaces, the mount process outside of them."""
    folder(lab, "run")
    there = f"{lab.mounts[1]}/memory/run"
    script = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", "support", "inotify.py"))
    work = f"{lab.base}/run-work"
    os.makedirs(work)
    sh(f"cp {script} {work}/")
    process = subprocess.Popen([LINKSPAN, "run", "--router", lab.info["router"], "--token-file", lab.info["token"],
                                "--", "python3", "inotify.py", "20", "/memory/run"], cwd=work, text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        line = process.stdout.readline()
        check("ready" in line, f"{line!r}")
        time.sleep(2)  # found meanwhile: its mount's stats are inside
        begun = time.time()
        pathlib.Path(there, "f").write_text("x")
        for line in process.stdout:
            if '"CREATE"' in line and '"f"' in line:
                DELAYS.append(time.time() - begun)
                break
        else:
            raise AssertionError(process.stderr.read())
        check(time.time() - begun <= SECOND, f"{time.time() - begun:.2f} s")
    finally:
        process.terminate()
        process.wait(20)


def test_how_long_it_took(lab):
    """Last: the delays of all tests above."""
    if not DELAYS:
        return
    ordered = sorted(DELAYS)
    print(f"     {len(ordered)} changes heard: p50 {ordered[len(ordered) // 2] * 1000:.0f} ms, "
          f"worst {ordered[-1] * 1000:.0f} ms", flush=True)
    check(ordered[-1] <= SECOND, "too late")


if __name__ == "__main__":
    labtest.main(globals(), mounts=2, lease_ms=2000)
