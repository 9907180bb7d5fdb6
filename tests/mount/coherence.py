#!/usr/bin/env python3
"""What one mount sees of what another does to a file that is open, read in parts, or mapped."""
import mmap
import os
import re
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
import labtest  # noqa: E402
from labtest import check, equal  # noqa: E402

QUIET = 3.2  # longer than VfsOptions::direct_for: the file counts as one that others leave alone


PLANTED = os.environ.get("LINKSPAN_PLANT", "").split(",")


def kernel_has_the_epoch_call():
    return tuple(map(int, re.findall(r"\d+", os.uname().release)[:2])) >= (6, 16) and "no-epoch" not in PLANTED


def write(path, data):
    with open(path, "wb") as f:
        f.write(data)


def both(lab, name):
    return f"{lab.mounts[0]}/memory/{name}", f"{lab.mounts[1]}/memory/{name}"


def answered_by_the_kernel(lab, path):
    os.stat(path)
    os.stat(path)
    lab.do("stop", "mount:2")
    look = subprocess.Popen(["stat", path], stdout=subprocess.DEVNULL)
    try:
        look.wait(1)
        return True
    except subprocess.TimeoutExpired:
        return False
    finally:
        lab.do("cont", "mount:2")
        equal(look.wait(30), 0)


def test_the_kernel_keeps_names_where_they_can_be_dropped_by_the_epoch_call(lab):
    """Else the mount keeps them: told by looks at one while the mount is stopped."""
    _, there = both(lab, "kept")
    write(there, b"1")
    time.sleep(QUIET)
    equal(any(answered_by_the_kernel(lab, there) for _ in range(3)), kernel_has_the_epoch_call(), "answered by the kernel")


def killed_in(lab, name, change):
    """`change` is done by a process that is killed while the router waits for the other mount's word."""
    here, there = both(lab, name)
    write(here, b"old\n")
    with open(there, "rb") as f:
        equal(f.read(), b"old\n")
    lab.do("stop", "mount:2")
    try:
        child = subprocess.Popen([sys.executable, "-c", "import os, sys; print(flush=True); " + change, here],
                                 stdout=subprocess.PIPE)
        child.stdout.readline()
        try:
            child.wait(0.3)
        except subprocess.TimeoutExpired:
            pass
        child.kill()
        killed = child.wait(30) != 0
        child.stdout.close()
    finally:
        lab.do("cont", "mount:2")
    return here, there, killed


def test_a_change_whose_caller_was_killed_is_seen_on_its_own_mount(lab):
    """The router made it all the same: neither the old file nor what is appended to it may stay there alone."""
    replace = "p = sys.argv[1]; open(p + '.new', 'w').write('new\\n'); print(flush=True); os.rename(p + '.new', p)"
    here, there, killed = killed_in(lab, "killed", replace.replace("print(flush=True); ", ""))
    check(killed, "the rename waited for the other mount")
    with open(here, "ab") as f:
        f.write(b"line\n")
    with open(here, "rb") as mine, open(there, "rb") as others:
        seen = mine.read()
        equal(seen, others.read())
    check(seen in (b"new\nline\n", b"old\nline\n"), seen)
    here, there, killed = killed_in(lab, "killed2", "os.unlink(sys.argv[1])")
    check(killed, "the removal waited for the other mount")
    labtest.eventually(lambda: os.path.exists(here) == os.path.exists(there), 10, "both see the same")
    if not os.path.exists(there):
        os.close(os.open(here, os.O_WRONLY | os.O_CREAT | os.O_EXCL))


def test_names_that_another_mount_makes_moves_and_removes_are_seen_at_once(lab):
    here, there = both(lab, "name")
    for number in range(50):
        for path in (there, f"{there}.2"):
            check(not os.path.exists(path), f"{path} before round {number}")
        write(here, b"1")
        equal(os.stat(there).st_size, 1, f"made in round {number}")
        os.rename(here, f"{here}.2")
        equal((os.path.exists(there), os.path.exists(f"{there}.2")), (False, True), f"moved in round {number}")
        write(here, b"22")
        os.rename(f"{here}.2", here)  # over it
        equal((os.stat(there).st_size, os.path.exists(f"{there}.2")), (1, False), f"replaced in round {number}")
        os.unlink(here)


def test_a_held_descriptor_sees_each_rewrite_without_a_stat(lab):
    here, there = both(lab, "held")
    for quiet in (0, QUIET):
        write(here, b"one....")
        time.sleep(quiet)
        fd = os.open(there, os.O_RDONLY)
        try:
            equal(os.pread(fd, 3, 0), b"one", "at first")
            for number in range(200):
                text = f"{number:03}".encode()
                write(here, text + b"!" * (number % 9))
                # Within the size that the file always had: the kernel need not ask for the new one.
                equal(os.pread(fd, 3, 0), text, f"rewrite {number}, opened {quiet} s after a change")
                equal(os.pread(fd, 100, 0), text + b"!" * (number % 9), "the whole")
        finally:
            os.close(fd)


def test_a_mapping_sees_each_rewrite(lab):
    here, there = both(lab, "mapped")
    write(here, b"000" + b"-" * 5000)
    equal(os.stat(there).st_size, 5003)
    time.sleep(QUIET)
    with open(there, "rb") as f, mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        equal(mapped[:3], b"000")
        for number in range(100):
            write(here, f"{number:03}".encode() + b"-" * 5000)
            labtest.eventually(lambda: mapped[:3] == f"{number:03}".encode(), 5, f"the mapping shows {mapped[:3]}")


def test_a_file_that_others_change_can_be_mapped_privately_at_once(lab):
    here, there = both(lab, "private")
    write(here, b"a" * 5000)
    equal(os.stat(there).st_size, 5000)
    write(here, b"b" * 6000)
    with open(there, "rb") as f, mmap.mmap(f.fileno(), 0, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ) as mapped:
        equal(mapped[:], b"b" * 6000)


def test_own_files_can_be_mapped_shared_at_once(lab):
    here, _ = both(lab, "own")
    for number in range(3):
        write(here, bytes([number]) * 5000)
        with open(here, "rb") as f, mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            equal(mapped[:], bytes([number]) * 5000)


def test_reading_in_parts_ends_with_the_version_that_it_began_with(lab):
    here, there = both(lab, "parts")
    for number in range(20):
        write(here, f"old{number}".encode() * 9000)
        fd = os.open(there, os.O_RDONLY)
        try:
            got = os.read(fd, 4096)
            write(here, f"new{number}, longer".encode() * 9000)
            while part := os.read(fd, 4096):
                got += part
            equal(got, f"old{number}".encode() * 9000, "read in parts")
            equal(os.pread(fd, 3, 0), b"new", "a read that begins anew")
            # Who follows a log goes on where it ended.
            log = os.open(here, os.O_WRONLY | os.O_APPEND)
            os.write(log, b"and more")
            os.close(log)
            end = len(f"new{number}, longer") * 9000
            equal(os.pread(fd, 100, end), b"and more", "what was added")
        finally:
            os.close(fd)


def test_nobody_sees_the_emptiness_before_a_rewrite(lab):
    here, there = both(lab, "emptied")
    write(here, b"old")
    equal(open(there, "rb").read(), b"old")
    with open(here, "wb") as writer:  # O_TRUNC
        until = time.monotonic() + 1
        while time.monotonic() < until:
            equal(open(there, "rb").read(), b"old", "while the writer thinks")
        writer.write(b"new")
    equal(open(there, "rb").read(), b"new", "closed")
    # Another process replaces the file while the writer thinks; its own bytes go with the old file.
    with open(here, "wb") as writer:
        write(f"{here}.tmp", b"replaced")
        os.rename(f"{here}.tmp", here)
        equal(open(there, "rb").read(), b"replaced")
        writer.write(b"gone")
    equal(open(there, "rb").read(), b"replaced")
    write(here, b"")
    equal(open(there, "rb").read(), b"", "emptied for good")


def test_a_rewrite_soon_after_another_is_seen_whole(lab):
    """What is left of the first one's timer must not commit half of the second."""
    here, there = both(lab, "quick")
    tried = 0
    for number in range(100):
        old, new = (f"{letter}{number:03}".encode() * 100 for letter in "ab")
        write(here, old)
        time.sleep(0.07)
        fd = os.open(here, os.O_WRONLY | os.O_TRUNC)
        begun = time.monotonic()
        os.write(fd, new[:200])
        time.sleep(0.05)
        with open(there, "rb") as f:
            seen = f.read()
        in_time = time.monotonic() - begun < 0.09  # else the mount may commit what there is
        os.write(fd, new[200:])
        os.close(fd)
        if not in_time:
            continue
        equal(seen, old, f"in the middle of rewrite {number}")
        tried += 1
        if tried == 10:
            return
    check(False, f"only {tried} of 100 rewrites were quick enough")


if __name__ == "__main__":
    labtest.main(globals(), mounts=2)
