#!/usr/bin/env python3
"""A volume's quotas, seen at two mounts: what passes them fails with EDQUOT at the call that commits (bytes) or makes
(files), what was accepted stays, what is removed frees, and statfs shows quota and rest.
"""
import errno
import mmap
import os
import shutil
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
import labtest  # noqa: E402
from labtest import check, equal, errno_of, eventually, sh  # noqa: E402

KIB = 1 << 10
BLOCK = 4 * KIB  # the unit of statfs
BYTES, FILES = 1 << 20, 12


def folders(lab):
    """The bounded volume at both mounts, empty."""
    here, there = (f"{m}/scratch" for m in lab.mounts)
    for entry in os.scandir(here):
        shutil.rmtree(entry.path) if entry.is_dir(follow_symlinks=False) else os.unlink(entry.path)
    equal(free(here), (BYTES, FILES), "free in the empty volume")
    return here, there


def free(path):
    st = os.statvfs(path)
    return st.f_bavail * st.f_frsize, st.f_favail


def opened(path):
    return os.open(path, os.O_CREAT | os.O_RDWR, 0o644)


def store(path, data):
    """The first errno of write, fsync and close, 0 when all went well."""
    fd = opened(path)
    errors = errno_of(os.write, fd, data), errno_of(os.fsync, fd), errno_of(os.close, fd)
    return next(filter(None, errors), 0)


def save(path, data):
    equal(store(path, data), 0, f"saving {path}")


def read(path):
    with open(path, "rb") as file:
        return file.read()


def test_bytes(lab):
    here, there = folders(lab)
    first, more = os.urandom(600 * KIB), os.urandom(600 * KIB)
    fd = opened(f"{here}/f")
    os.write(fd, first)
    os.fsync(fd)
    os.write(fd, more)
    equal(errno_of(os.fsync, fd), errno.EDQUOT, "fsync beyond the quota")
    equal(errno_of(os.fsync, fd), errno.EDQUOT, "fsync again")
    equal(read(f"{there}/f"), first, "what was accepted, at the other mount")
    equal(free(here), (BYTES - 600 * KIB, FILES - 1))
    check(f"quota of {BYTES} bytes" in read(f"{lab.mounts[0]}/.linkspan/status").decode(), "status does not say so")
    equal(errno_of(os.close, fd), errno.EDQUOT, "close beyond the quota")
    # Nobody can try again: what was refused goes, a moment after the close.
    eventually(lambda: os.stat(f"{here}/f").st_size == len(first), 10, "the refused bytes go")
    equal((read(f"{here}/f"), read(f"{there}/f")), (first, first), "what was accepted")


def test_what_was_refused_is_stored_when_there_is_room(lab):
    here, there = folders(lab)
    save(f"{here}/old", bytes(range(256)) * 4 * 900)
    fd = opened(f"{here}/f")
    data = os.urandom(200 * KIB)
    os.write(fd, data)
    equal(errno_of(os.fsync, fd), errno.EDQUOT)
    os.unlink(f"{there}/old")
    os.fsync(fd)
    equal(read(f"{there}/f"), data)
    os.close(fd)
    equal(free(there), (BYTES - 200 * KIB, FILES - 1))
    check("quota" not in read(f"{lab.mounts[0]}/.linkspan/status").decode(), "status says that writes are refused")


def test_every_call_that_commits(lab):
    here, there = folders(lab)
    save(f"{here}/full", os.urandom(BYTES - 64 * KIB))

    def beyond(call):
        fd = opened(f"{here}/f")
        try:
            os.write(fd, os.urandom(65 * KIB))
            return errno_of(call, fd)
        finally:
            errno_of(os.close, fd)
            os.unlink(f"{here}/f")

    for name, call in (("fsync", os.fsync), ("fdatasync", os.fdatasync),
                       ("close of a copy", lambda fd: os.close(os.dup(fd)))):
        equal(beyond(call), errno.EDQUOT, name)
    # An atomic save whose bytes were not told yet: the rename commits them, or says that it could not; the old stays.
    save(f"{here}/old", b"old")
    fd = opened(f"{here}/new")
    os.write(fd, os.urandom(65 * KIB))
    equal(errno_of(os.rename, f"{here}/new", f"{here}/old"), errno.EDQUOT, "rename of what does not fit")
    equal(errno_of(os.close, fd), errno.EDQUOT)
    equal((read(f"{here}/old"), read(f"{there}/old")), (b"old", b"old"))
    # A mapping.
    os.truncate(f"{here}/new", 0)
    os.truncate(f"{here}/new", 128 * KIB)
    fd = os.open(f"{here}/new", os.O_RDWR)
    view = mmap.mmap(fd, 128 * KIB)
    view[:] = os.urandom(128 * KIB)
    equal(errno_of(view.flush), errno.EDQUOT, "msync")
    view.close()
    equal(errno_of(os.close, fd), errno.EDQUOT, "close after msync")
    # A program.
    out = sh(f"dd if=/dev/urandom of={here}/dd bs=65k count=1 status=none 2>&1 && exit 1; "
             f"cp {here}/full {here}/copy 2>&1 && exit 1; true")
    equal(out.count("Disk quota exceeded"), 2, out)


def test_exactly_the_quota(lab):
    here, there = folders(lab)
    save(f"{here}/f", b"f" * (BYTES - BLOCK))
    equal(store(f"{here}/g", b"g" * (BLOCK + 1)), errno.EDQUOT, "one byte too many")
    save(f"{there}/g", b"g" * BLOCK)
    equal(free(here), (0, FILES - 2))
    equal(store(f"{there}/h", b"h"), errno.EDQUOT, "a byte in a full volume")
    # What is rewritten makes room for itself; holes take none.
    save(f"{there}/f", b"F" * (BYTES - BLOCK))
    equal(read(f"{here}/f"), b"F" * (BYTES - BLOCK))
    os.truncate(f"{here}/h", 1 << 30)
    equal(os.stat(f"{there}/h").st_size, 1 << 30)
    # Other volumes are not concerned.
    save(f"{here}/../memory/f", b"m" * 2 * BYTES)
    os.unlink(f"{here}/../memory/f")
    os.truncate(f"{here}/f", 0)
    equal(free(there), (BYTES - BLOCK, FILES - 3))
    save(f"{here}/g", b"g" * BYTES)


def test_files(lab):
    here, there = folders(lab)
    os.mkdir(f"{here}/d")
    os.symlink("x", f"{here}/s")
    for i in range(FILES - 2):
        save(f"{(here, there)[i % 2]}/f{i}", b"x")
    names = sorted(os.listdir(here))
    equal(len(names), FILES)
    for mount in (here, there):
        for name, call in (("open", lambda p: os.open(p, os.O_CREAT | os.O_WRONLY)), ("mkdir", os.mkdir),
                           ("symlink", lambda p: os.symlink("x", p)), ("mkfifo", os.mkfifo)):
            equal(errno_of(call, f"{mount}/d/new"), errno.EDQUOT, name)
        equal(errno_of(os.stat, f"{mount}/d/new"), errno.ENOENT)
        equal((sorted(os.listdir(mount)), os.listdir(f"{mount}/d"), free(mount)[1]), (names, [], 0))
    # A name more is no file more.
    os.link(f"{here}/f0", f"{here}/d/link")
    os.rename(f"{here}/d/link", f"{here}/d/moved")
    save(f"{here}/f1", b"rewritten")
    os.unlink(f"{here}/f0")
    equal(free(there)[1], 0, "files to be had while a name is left")
    for i, remove in enumerate((lambda: os.unlink(f"{here}/d/moved"), lambda: os.rmdir(f"{here}/d"),
                                lambda: os.unlink(f"{there}/s"), lambda: os.rename(f"{here}/f1", f"{here}/f2"))):
        remove()
        equal((free(here)[1], free(there)[1]), (1, 1), f"files to be had after removal {i}")
        save(f"{there}/again{i}", b"x")
        equal(errno_of(os.mkdir, f"{here}/d2"), errno.EDQUOT)


def test_statvfs_and_df(lab):
    here, there = folders(lab)
    os.mkdir(f"{here}/d")
    save(f"{here}/d/f", os.urandom(256 * KIB))
    save(f"{there}/g", os.urandom(128 * KIB))
    left = BYTES - 384 * KIB
    for path in (here, there, f"{there}/d/f"):
        st = os.statvfs(path)
        equal([n * st.f_frsize for n in (st.f_blocks, st.f_bfree, st.f_bavail)], [BYTES, left, left], path)
        equal((st.f_files, st.f_ffree, st.f_favail), (FILES, FILES - 3, FILES - 3), path)
        equal(sh(f"df -B1 --output=size,used,avail,pcent {path} | tail -1").split(),
              [str(BYTES), str(384 * KIB), str(left), "38%"], path)
        equal(sh(f"df --output=itotal,iused,iavail {path} | tail -1").split(), [str(FILES), "3", str(FILES - 3)], path)
        equal(sh(f"df -i {path} | tail -1").split()[1:5], [str(FILES), "3", str(FILES - 3), "25%"], path)
    check(free(f"{lab.mounts[0]}/memory") > (1 << 40, 1 << 20), "memory, which has no quota")
    os.unlink(f"{there}/d/f")
    equal((free(here), free(there)), ((BYTES - 128 * KIB, FILES - 2),) * 2, "after a removal")


def together(*calls):
    threads = [threading.Thread(target=call) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_two_mounts_do_not_pass_it_together(lab):
    here, there = folders(lab)
    for turn in range(5):
        fds = [opened(f"{here}/a"), opened(f"{there}/b")]
        errors = [None, None]

        def commit(i):
            os.write(fds[i], os.urandom(700 * KIB))
            errors[i] = errno_of(os.fsync, fds[i])
        together(lambda: commit(0), lambda: commit(1))
        # Of two at once both can be refused, for the room that the other was promised; then each tries again.
        check(errors in ([0, errno.EDQUOT], [errno.EDQUOT, 0], [errno.EDQUOT] * 2), f"turn {turn}: {errors}")
        errors = [errno_of(os.fsync, fd) for fd in fds]
        equal(sorted(errors), [0, errno.EDQUOT], f"turn {turn}")
        equal(free(here)[0], BYTES - 700 * KIB)
        equal([errno_of(os.close, fd) for fd in fds], errors, f"turn {turn}")
        refused = f"{here}/a" if errors[0] else f"{there}/b"
        eventually(lambda: os.stat(refused).st_size == 0, 10, "the refused bytes go")
        os.unlink(f"{here}/a")
        os.unlink(f"{there}/b")


def test_it_holds_after_a_restart_of_the_router(lab):
    here, there = folders(lab)
    save(f"{here}/f", os.urandom(700 * KIB))
    equal(store(f"{there}/g", os.urandom(700 * KIB)), errno.EDQUOT)
    lab.do("restart", "router")
    equal((free(here), free(there)), ((BYTES - 700 * KIB, FILES - 2),) * 2)
    equal(store(f"{there}/h", os.urandom(700 * KIB)), errno.EDQUOT)
    save(f"{here}/i", os.urandom(324 * KIB))
    equal(free(there), (0, FILES - 4))


def test_usage_is_exact_where_a_commit_and_a_removal_meet(lab):
    """What was refused is tried once more when its file is released, which finds the room of the file removed then."""
    here, there = folders(lab)
    for turn in range(150):
        fds = [opened(f"{here}/a"), opened(f"{there}/b")]
        for fd in fds:
            os.write(fd, os.urandom(700 * KIB))
        together(*(lambda fd=fd: errno_of(os.fsync, fd) for fd in fds))
        for fd in fds:
            errno_of(os.close, fd)
        os.unlink(f"{here}/a")
        os.unlink(f"{here}/b")
        equal(free(here), (BYTES, FILES), f"free in the empty volume, turn {turn}")


if __name__ == "__main__":
    labtest.main(globals(), each_seconds=120, mounts=2, quota_bytes=BYTES, quota_files=FILES)
