#!/usr/bin/env python3
"""POSIX behaviour of a read-write route, checked call by call as root and as other users (identity
mode). Expectations come from the man pages named at each test, not from another filesystem.
"""
import ctypes
import errno
import mmap
import os
import pickle
import stat
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
import labtest  # noqa: E402
from labtest import check, equal, errno_of  # noqa: E402

ALICE, BOB, GROUP, OTHER_GROUP = 65533, 65532, 65531, 65530
LIBC = ctypes.CDLL(None, use_errno=True)


def as_user(uid, gid, call, groups=()):
    """Runs `call` in a child with those ids: its value, or the OSError it raised."""
    r, w = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(r)
            os.setgroups(list(groups))
            os.setresgid(gid, gid, gid)
            os.setresuid(uid, uid, uid)
            os.umask(0o022)
            try:
                answer = ("ok", call())
            except OSError as error:
                answer = ("errno", error.errno)
            os.write(w, pickle.dumps(answer))
        finally:
            os._exit(0)
    os.close(w)
    with os.fdopen(r, "rb") as pipe:
        kind, value = pickle.loads(pipe.read())
    os.waitpid(pid, 0)
    return value if kind == "ok" else OSError(value, os.strerror(value))


def refused(uid, gid, call, *errnos, groups=()):
    answer = as_user(uid, gid, call, groups)
    check(isinstance(answer, OSError) and answer.errno in errnos,
          f"wanted {[errno.errorcode[e] for e in errnos]}, got {answer!r}")


def allowed(uid, gid, call, groups=()):
    answer = as_user(uid, gid, call, groups)
    check(not isinstance(answer, OSError), f"refused: {answer!r}")
    return answer


def write(path, data=b"", mode=0o644):
    fd = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, mode)
    try:
        os.write(fd, data)
    finally:
        os.close(fd)


def read(path):
    with open(path, "rb") as file:
        return file.read()


KINDS = {
    "file": lambda p: write(p),
    "dir": lambda p: os.mkdir(p, 0o755),
    "fifo": lambda p: os.mkfifo(p, 0o644),
    "socket": lambda p: os.mknod(p, stat.S_IFSOCK | 0o644),
    "symlink": lambda p: os.symlink("target", p),
}
COUNTER = [0]


def fresh(lab):
    """A new folder on the route, open to everybody."""
    COUNTER[0] += 1
    path = f"{lab.mounts[0]}/scratch/t{COUNTER[0]}"
    os.mkdir(path)
    os.chmod(path, 0o777)
    return path


def remove(path):
    os.rmdir(path) if stat.S_ISDIR(os.lstat(path).st_mode) else os.unlink(path)


def later(before):
    """Until the clock has moved past every timestamp taken so far."""
    while time.time_ns() // 1_000_000 <= before // 1_000_000 + 10:
        time.sleep(0.005)


def moved(path, fields, call):
    """The times in `fields` ("amc") of path move forward across the call, and ctime never back."""
    before = os.lstat(path)
    later(time.time_ns())
    call()
    after = os.lstat(path)
    for f in "mc":
        old, new = getattr(before, f"st_{f}time_ns"), getattr(after, f"st_{f}time_ns")
        check((new > old) == (f in fields), f"{path}: {f}time {old} -> {new}, wanted it to "
              f"{'move' if f in fields else 'stay'}")


def all_path_calls(base):
    """name -> call(path) for calls that resolve a path, each harmless where it fails."""
    write(f"{base}/other")
    return {
        "open": lambda p: os.close(os.open(p, os.O_RDONLY)), "stat": os.stat, "lstat": os.lstat,
        "mkdir": os.mkdir, "rmdir": os.rmdir, "unlink": os.unlink, "mkfifo": os.mkfifo,
        "symlink": lambda p: os.symlink("x", p), "readlink": os.readlink, "truncate": lambda p: os.truncate(p, 1),
        "chmod": lambda p: os.chmod(p, 0o600), "chown": lambda p: os.chown(p, 0, 0),
        "utimensat": lambda p: os.utime(p, None), "link to": lambda p: os.link(f"{base}/other", p),
        "link from": lambda p: os.link(p, f"{base}/nothere"), "rename to": lambda p: os.rename(f"{base}/other", p),
        "rename from": lambda p: os.rename(p, f"{base}/nothere"), "listdir": os.listdir,
        "create": lambda p: os.close(os.open(p, os.O_CREAT | os.O_WRONLY, 0o644)),
        "getxattr": lambda p: os.getxattr(p, "user.x"), "setxattr": lambda p: os.setxattr(p, "user.x", b""),
    }


# -- path resolution: path_resolution(7) ---------------------------------------------------------

def test_component_that_is_no_directory_is_enotdir(lab):
    base = fresh(lab)
    for kind in ("file", "fifo", "socket"):
        KINDS[kind](f"{base}/{kind}")
        for name, call in all_path_calls(base).items():
            equal(errno_of(call, f"{base}/{kind}/x"), errno.ENOTDIR, f"{name} under a {kind}")


def test_missing_component_is_enoent(lab):
    base = fresh(lab)
    for name, call in all_path_calls(base).items():
        equal(errno_of(call, f"{base}/none/x"), errno.ENOENT, name)
        equal(errno_of(call, ""), errno.ENOENT, f"{name} of ''")


def test_names_to_255_bytes_and_not_more(lab):
    base = fresh(lab)
    for name in (b"n" * 255, bytes(b for b in range(1, 256) if b != 0x2F), b"\xff\xfe", b"a b\n\t\"'\\"):
        path = os.fsencode(base) + b"/" + name
        write(path, name)
        equal(read(path), name)
        check(name in os.listdir(os.fsencode(base)))
        os.unlink(path)
        os.mkdir(path)
        os.rename(path, os.fsencode(base) + b"/y")
        os.rmdir(os.fsencode(base) + b"/y")
    for name, call in all_path_calls(base).items():
        equal(errno_of(call, f"{base}/{'n' * 256}"), errno.ENAMETOOLONG, name)
        equal(errno_of(call, f"{base}/{'d/' * 2100}x"), errno.ENAMETOOLONG, f"{name}, long path")


def test_symlink_loops_are_eloop(lab):
    base = fresh(lab)
    os.symlink("l2", f"{base}/l1")
    os.symlink("l1", f"{base}/l2")
    for name, call in all_path_calls(base).items():
        equal(errno_of(call, f"{base}/l1/x"), errno.ELOOP, name)
    for name in ("open", "stat", "truncate", "chmod", "chown", "utimensat", "listdir", "create"):
        equal(errno_of(all_path_calls(base)[name], f"{base}/l1"), errno.ELOOP, name)
    equal(errno_of(os.open, f"{base}/l1", os.O_RDONLY | os.O_NOFOLLOW), errno.ELOOP)


def test_search_permission_is_needed(lab):
    base = fresh(lab)
    os.mkdir(f"{base}/closed", 0o700)
    write(f"{base}/closed/x")
    for name, call in all_path_calls(base).items():
        if name not in ("link to", "rename to"):
            refused(ALICE, GROUP, lambda c=call: c(f"{base}/closed/x"), errno.EACCES)


def test_write_permission_of_the_directory_is_needed(lab):
    base = fresh(lab)
    os.mkdir(f"{base}/d", 0o755)
    for kind, make in KINDS.items():
        make(f"{base}/d/{kind}")
        os.lchown(f"{base}/d/{kind}", ALICE, GROUP)
        refused(ALICE, GROUP, lambda m=make: m(f"{base}/d/new"), errno.EACCES)
        refused(ALICE, GROUP, lambda k=kind: remove(f"{base}/d/{k}"), errno.EACCES)
        refused(ALICE, GROUP, lambda k=kind: os.rename(f"{base}/d/{k}", f"{base}/out"), errno.EACCES)
        os.chmod(f"{base}/d", 0o777)
        allowed(ALICE, GROUP, lambda k=kind: os.rename(f"{base}/d/{k}", f"{base}/d/{k}2"))
        allowed(ALICE, GROUP, lambda k=kind: remove(f"{base}/d/{k}2"))
        os.chmod(f"{base}/d", 0o755)


def test_supplementary_groups_count(lab):
    base = fresh(lab)
    write(f"{base}/f", b"x", 0o640)
    os.chown(f"{base}/f", 0, OTHER_GROUP)
    refused(ALICE, GROUP, lambda: read(f"{base}/f"), errno.EACCES)
    equal(allowed(ALICE, GROUP, lambda: read(f"{base}/f"), groups=[OTHER_GROUP]), b"x")
    equal(allowed(ALICE, GROUP, lambda: os.access(f"{base}/f", os.W_OK), groups=[OTHER_GROUP]), False)


# -- open(2) -------------------------------------------------------------------------------------

def test_open_flags(lab):
    base = fresh(lab)
    write(f"{base}/f", b"hello")
    os.mkdir(f"{base}/d")
    os.symlink("f", f"{base}/s")
    equal(errno_of(os.open, f"{base}/f", os.O_CREAT | os.O_EXCL), errno.EEXIST)
    equal(errno_of(os.open, f"{base}/s", os.O_CREAT | os.O_EXCL), errno.EEXIST)
    equal(errno_of(os.open, f"{base}/s", os.O_NOFOLLOW), errno.ELOOP)
    equal(errno_of(os.open, f"{base}/f", os.O_DIRECTORY), errno.ENOTDIR)
    for flag in (os.O_WRONLY, os.O_RDWR, os.O_RDONLY | os.O_TRUNC):
        equal(errno_of(os.open, f"{base}/d", flag), errno.EISDIR)
    equal(errno_of(os.open, f"{base}/none", os.O_RDONLY), errno.ENOENT)
    fd = os.open(f"{base}/f", os.O_RDONLY)
    equal(errno_of(os.write, fd, b"x"), errno.EBADF)
    os.close(fd)
    fd = os.open(f"{base}/f", os.O_RDWR | os.O_TRUNC)
    equal(os.fstat(fd).st_size, 0)
    equal(os.stat(f"{base}/f").st_size, 0)
    os.write(fd, b"ab")
    equal(read(f"{base}/f"), b"ab", "unflushed bytes are visible to other descriptors")
    os.close(fd)
    fd = os.open(f"{base}/f", os.O_WRONLY | os.O_APPEND)
    os.write(fd, b"cd")
    os.lseek(fd, 0, os.SEEK_SET)
    os.write(fd, b"ef")
    os.close(fd)
    equal(read(f"{base}/f"), b"abcdef")
    fd = os.open(f"{base}/sock", os.O_CREAT | os.O_WRONLY, 0o644)
    os.close(fd)
    os.mknod(f"{base}/s2", stat.S_IFSOCK | 0o644)
    equal(errno_of(os.open, f"{base}/s2", os.O_RDONLY), errno.ENXIO)
    os.mkfifo(f"{base}/p")
    equal(errno_of(os.open, f"{base}/p", os.O_WRONLY | os.O_NONBLOCK), errno.ENXIO)


def test_opath_and_proc_self_fd(lab):
    base = fresh(lab)
    d = os.open(base, os.O_PATH | os.O_DIRECTORY)
    temp = f"/proc/self/fd/{d}/NAME.tmp.1"
    fd = os.open(temp, os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_WRONLY, 0o600)
    os.write(fd, b"memory")
    os.fchmod(fd, 0o644)
    os.fsync(fd)
    os.close(fd)
    os.rename(temp, f"/proc/self/fd/{d}/NAME")
    equal(read(f"{base}/NAME"), b"memory")
    f = os.open(f"{base}/NAME", os.O_PATH)
    equal(read(f"/proc/self/fd/{f}"), b"memory")
    os.unlink(f"{base}/NAME")
    equal(os.fstat(f).st_nlink, 0)
    equal(read(f"/proc/self/fd/{f}"), b"memory", "an unlinked file through O_PATH")
    os.close(f)
    os.close(d)


def test_modes_and_umask_at_creation(lab):
    base = fresh(lab)
    old = os.umask(0o027)
    try:
        os.close(os.open(f"{base}/f", os.O_CREAT, 0o666))
        os.mkdir(f"{base}/d", 0o777)
        os.mkfifo(f"{base}/p", 0o666)
    finally:
        os.umask(old)
    equal([oct(stat.S_IMODE(os.stat(f"{base}/{n}").st_mode)) for n in "fdp"], ["0o640", "0o750", "0o640"])
    fd = os.open(f"{base}/ro", os.O_CREAT | os.O_RDWR, 0o444)
    os.write(fd, b"a read-only file is writable by who creates it")
    os.close(fd)
    st = allowed(ALICE, GROUP, lambda: (os.close(os.open(f"{base}/a", os.O_CREAT)), os.stat(f"{base}/a"))[1])
    equal((st.st_uid, st.st_gid), (ALICE, GROUP))


def test_setgid_directories_hand_down_their_group(lab):
    base = fresh(lab)
    os.mkdir(f"{base}/d")
    os.chown(f"{base}/d", ALICE, OTHER_GROUP)
    os.chmod(f"{base}/d", 0o2777)
    allowed(BOB, GROUP, lambda: (write(f"{base}/d/f"), os.mkdir(f"{base}/d/sub")))
    equal(os.stat(f"{base}/d/f").st_gid, OTHER_GROUP)
    sub = os.stat(f"{base}/d/sub")
    equal((sub.st_gid, bool(sub.st_mode & stat.S_ISGID)), (OTHER_GROUP, True))


def test_unlinked_while_open(lab):
    base = fresh(lab)
    fd = os.open(f"{base}/f", os.O_CREAT | os.O_RDWR, 0o644)
    os.write(fd, b"still here")
    os.unlink(f"{base}/f")
    equal(errno_of(os.stat, f"{base}/f"), errno.ENOENT)
    equal(os.fstat(fd).st_nlink, 0)
    equal(os.pread(fd, 100, 0), b"still here")
    os.pwrite(fd, b"S", 0)
    os.ftruncate(fd, 5)
    os.fsync(fd)
    os.fchmod(fd, 0o600)
    equal((os.pread(fd, 100, 0), os.fstat(fd).st_size, stat.S_IMODE(os.fstat(fd).st_mode)), (b"Still", 5, 0o600))
    write(f"{base}/f", b"another")
    equal(os.pread(fd, 100, 0), b"Still")
    os.close(fd)
    equal(read(f"{base}/f"), b"another")


def test_rename_over_an_open_file(lab):
    base = fresh(lab)
    write(f"{base}/f", b"old")
    fd = os.open(f"{base}/f", os.O_RDWR)
    write(f"{base}/t", b"new")
    ino = os.stat(f"{base}/t").st_ino
    os.rename(f"{base}/t", f"{base}/f")
    equal((os.pread(fd, 9, 0), read(f"{base}/f"), os.stat(f"{base}/f").st_ino), (b"old", b"new", ino))
    equal(os.fstat(fd).st_nlink, 0)
    os.pwrite(fd, b"OLD", 0)
    os.close(fd)
    equal(read(f"{base}/f"), b"new")


def test_etxtbsy_and_execution(lab):
    base = fresh(lab)
    write(f"{base}/run", b"#!/bin/sh\necho ran $1\n", 0o755)
    equal(subprocess.run([f"{base}/run", "it"], capture_output=True).stdout, b"ran it\n")
    os.chmod(f"{base}/run", 0o644)
    equal(errno_of(os.execv, f"{base}/run", ["run"]), errno.EACCES)
    labtest.sh(f"cp /bin/true {base}/true && {base}/true")


# -- rename(2), renameat2(2) ---------------------------------------------------------------------

def test_rename_of_every_kind_over_every_kind(lab):
    for a, make_a in KINDS.items():
        for b, make_b in KINDS.items():
            base = fresh(lab)
            make_a(f"{base}/a")
            make_b(f"{base}/b")
            ino = os.lstat(f"{base}/a").st_ino
            got = errno_of(os.rename, f"{base}/a", f"{base}/b")
            want = 0 if (a == "dir") == (b == "dir") else errno.ENOTDIR if a == "dir" else errno.EISDIR
            equal(got, want, f"{a} over {b}")
            equal(os.lstat(f"{base}/{'a' if want else 'b'}").st_ino, ino, f"{a} over {b}: inode")


def test_rename_rules(lab):
    base = fresh(lab)
    os.makedirs(f"{base}/d/e/f")
    equal(errno_of(os.rename, f"{base}/d", f"{base}/d/e/f/g"), errno.EINVAL)
    equal(errno_of(os.rename, f"{base}/d", f"{base}/d/e"), errno.EINVAL)
    check(errno_of(os.rename, f"{base}/d/e", f"{base}/d") in (errno.ENOTEMPTY, errno.EEXIST))
    os.makedirs(f"{base}/full/x")
    check(errno_of(os.rename, f"{base}/d", f"{base}/full") in (errno.ENOTEMPTY, errno.EEXIST))
    os.rmdir(f"{base}/full/x")
    os.rename(f"{base}/d", f"{base}/full")
    equal(sorted(os.listdir(base)), ["full"])
    equal(os.stat(f"{base}/full").st_nlink, 3)
    write(f"{base}/f", b"1")
    os.link(f"{base}/f", f"{base}/g")
    os.rename(f"{base}/f", f"{base}/g")  # two names of one file: nothing happens
    equal(sorted(os.listdir(base)), ["f", "full", "g"])
    for name in (".", ".."):
        check(errno_of(os.rename, f"{base}/full/{name}", f"{base}/x") in (errno.EBUSY, errno.EINVAL))
    os.mkdir(f"{base}/p1")
    os.mkdir(f"{base}/p2")
    os.mkdir(f"{base}/p1/sub")
    os.rename(f"{base}/p1/sub", f"{base}/p2/sub")
    equal((os.stat(f"{base}/p1").st_nlink, os.stat(f"{base}/p2").st_nlink), (2, 3))
    equal(os.stat(f"{base}/p2/sub/..").st_ino, os.stat(f"{base}/p2").st_ino, "..")
    equal(errno_of(os.rename, f"{base}/f", f"{lab.mounts[0]}/memory/f"), errno.EXDEV)


def renameat2(a, b, flags):
    if LIBC.renameat2(-100, os.fsencode(a), -100, os.fsencode(b), flags) != 0:
        raise OSError(ctypes.get_errno(), "renameat2")


def test_renameat2_flags(lab):
    base = fresh(lab)
    write(f"{base}/f", b"f")
    os.makedirs(f"{base}/d/sub")
    equal(errno_of(renameat2, f"{base}/f", f"{base}/d", 1), errno.EEXIST)
    equal(errno_of(renameat2, f"{base}/f", f"{base}/none", 2), errno.ENOENT)
    renameat2(f"{base}/f", f"{base}/d", 2)
    check(os.path.isdir(f"{base}/f") and os.path.isfile(f"{base}/d"))
    os.mkdir(f"{base}/p")
    write(f"{base}/p/file", b"q")
    renameat2(f"{base}/p/file", f"{base}/f", 2)
    check(os.path.isdir(f"{base}/p/file/sub") and read(f"{base}/f") == b"q")
    equal((os.stat(f"{base}/p").st_nlink, os.stat(base).st_nlink), (3, 3))
    renameat2(f"{base}/f", f"{base}/new", 1)
    equal(errno_of(renameat2, f"{base}/p", f"{base}/p/file/sub", 2), errno.EINVAL)


def test_sticky_directories(lab):
    base = fresh(lab)
    for kind, make in KINDS.items():
        d = f"{base}/{kind}"
        os.mkdir(d)
        os.chown(d, ALICE, GROUP)
        os.chmod(d, 0o1777)
        allowed(BOB, GROUP, lambda m=make: m(f"{d}/bobs"))
        os.mkdir(f"{d}/carols")
        refused(ALICE + 100, GROUP, lambda: remove(f"{d}/bobs"), errno.EPERM, errno.EACCES)
        refused(ALICE + 100, GROUP, lambda: os.rename(f"{d}/bobs", f"{d}/x"), errno.EPERM, errno.EACCES)
        allowed(ALICE, GROUP, lambda: os.rename(f"{d}/bobs", f"{d}/x"))  # the directory's owner
        allowed(BOB, GROUP, lambda: remove(f"{d}/x"))                    # the file's owner


# -- links, removal ------------------------------------------------------------------------------

def test_link_counts_and_errors(lab):
    base = fresh(lab)
    for kind in ("file", "fifo", "socket"):
        KINDS[kind](f"{base}/{kind}")
        os.link(f"{base}/{kind}", f"{base}/{kind}2")
        os.link(f"{base}/{kind}2", f"{base}/{kind}3")
        equal({os.lstat(f"{base}/{kind}{s}").st_nlink for s in ("", "2", "3")}, {3})
        os.chmod(f"{base}/{kind}3", 0o611)
        equal(stat.S_IMODE(os.lstat(f"{base}/{kind}").st_mode), 0o611)
        os.unlink(f"{base}/{kind}")
        equal(os.lstat(f"{base}/{kind}2").st_nlink, 2)
        equal(errno_of(os.link, f"{base}/{kind}2", f"{base}/{kind}3"), errno.EEXIST)
    os.mkdir(f"{base}/d")
    equal(errno_of(os.link, f"{base}/d", f"{base}/d2"), errno.EPERM)
    write(f"{base}/f")
    equal(errno_of(os.link, f"{base}/f", f"{lab.mounts[0]}/memory/f"), errno.EXDEV)
    before = os.stat(base).st_nlink
    os.mkdir(f"{base}/d3")
    equal(os.stat(base).st_nlink, before + 1)
    os.rmdir(f"{base}/d3")
    equal(os.stat(base).st_nlink, before)


def test_unlink_and_rmdir_errors(lab):
    base = fresh(lab)
    os.makedirs(f"{base}/d/e")
    write(f"{base}/f")
    equal(errno_of(os.unlink, f"{base}/d"), errno.EISDIR)
    equal(errno_of(os.rmdir, f"{base}/f"), errno.ENOTDIR)
    check(errno_of(os.rmdir, f"{base}/d") in (errno.ENOTEMPTY, errno.EEXIST))
    equal(errno_of(os.rmdir, f"{base}/d/."), errno.EINVAL)
    check(errno_of(os.rmdir, f"{base}/d/e/..") in (errno.ENOTEMPTY, errno.EEXIST))
    os.symlink("d", f"{base}/s")
    equal(errno_of(os.rmdir, f"{base}/s"), errno.ENOTDIR)
    os.chdir(f"{base}/d/e")
    os.rmdir(f"{base}/d/e")
    equal(errno_of(os.mkdir, "x"), errno.ENOENT, "mkdir in a removed working directory")
    os.chdir("/")


def test_symlinks(lab):
    base = fresh(lab)
    for target in ("x", "y" * 4095, "../up/./down", "with space\n", b"\xff\xfe"):
        os.symlink(target, os.fsencode(f"{base}/s") if isinstance(target, bytes) else f"{base}/s")
        got = os.readlink(os.fsencode(f"{base}/s")) if isinstance(target, bytes) else os.readlink(f"{base}/s")
        equal(got, target)
        equal(os.lstat(f"{base}/s").st_size, len(target))
        os.unlink(f"{base}/s")
    equal(errno_of(os.symlink, "y" * 4096, f"{base}/s"), errno.ENAMETOOLONG)
    equal(errno_of(os.symlink, "", f"{base}/s"), errno.ENOENT)
    write(f"{base}/f")
    equal(errno_of(os.symlink, "x", f"{base}/f"), errno.EEXIST)
    equal(errno_of(os.readlink, f"{base}/f"), errno.EINVAL)


def test_devices_are_refused(lab):
    base = fresh(lab)
    equal(errno_of(os.mknod, f"{base}/c", stat.S_IFCHR | 0o600, os.makedev(1, 3)), errno.EPERM)
    equal(errno_of(os.mknod, f"{base}/b", stat.S_IFBLK | 0o600, os.makedev(7, 0)), errno.EPERM)


def test_fifos_and_sockets_work(lab):
    base = fresh(lab)
    os.mkfifo(f"{base}/p")
    labtest.sh(f"(timeout 10 cat {base}/p > {lab.base}/out) & echo through > {base}/p; wait; grep -q through {lab.base}/out")
    import socket
    server = socket.socket(socket.AF_UNIX)
    os.chdir(base)
    server.bind("sock")
    server.listen()
    client = socket.socket(socket.AF_UNIX)
    client.connect("sock")
    os.chdir("/")
    check(stat.S_ISSOCK(os.stat(f"{base}/sock").st_mode))


# -- chmod(2), chown(2), utimensat(2), truncate(2) -----------------------------------------------

def test_chmod_rights(lab):
    base = fresh(lab)
    for kind in ("file", "dir", "fifo", "socket"):
        path = f"{base}/{kind}"
        KINDS[kind](path)
        os.chown(path, ALICE, GROUP)
        refused(BOB, GROUP, lambda: os.chmod(path, 0o777), errno.EPERM)
        for mode in (0o000, 0o111, 0o777, 0o1755, 0o4755):
            allowed(ALICE, GROUP, lambda m=mode: os.chmod(path, m))
            equal(stat.S_IMODE(os.stat(path).st_mode), mode)
    os.chown(f"{base}/file", ALICE, OTHER_GROUP)
    allowed(ALICE, GROUP, lambda: os.chmod(f"{base}/file", 0o2755))
    equal(stat.S_IMODE(os.stat(f"{base}/file").st_mode), 0o755, "set-gid by one outside the group")


def test_chown_rights_and_set_id_bits(lab):
    base = fresh(lab)
    path = f"{base}/f"
    write(path)
    os.chown(path, ALICE, GROUP)
    refused(ALICE, GROUP, lambda: os.chown(path, BOB, -1), errno.EPERM)
    refused(ALICE, GROUP, lambda: os.chown(path, -1, OTHER_GROUP), errno.EPERM)
    refused(BOB, GROUP, lambda: os.chown(path, BOB, GROUP), errno.EPERM)
    os.chmod(path, 0o6755)
    allowed(ALICE, GROUP, lambda: os.chown(path, -1, OTHER_GROUP), groups=[OTHER_GROUP])
    equal((os.stat(path).st_gid, stat.S_IMODE(os.stat(path).st_mode)), (OTHER_GROUP, 0o755))
    os.symlink("f", f"{base}/s")
    os.lchown(f"{base}/s", BOB, GROUP)
    equal((os.lstat(f"{base}/s").st_uid, os.stat(path).st_uid), (BOB, ALICE))


def test_writes_clear_set_id_bits(lab):
    base = fresh(lab)
    for what, call in (("write", lambda p: write_into(p)), ("truncate", lambda p: os.truncate(p, 0))):
        path = f"{base}/{what}"
        write(path, b"abc")
        os.chown(path, ALICE, GROUP)
        os.chmod(path, 0o6777)
        allowed(BOB, OTHER_GROUP, lambda: call(path))
        equal(stat.S_IMODE(os.stat(path).st_mode), 0o777, what)


def write_into(path):
    fd = os.open(path, os.O_WRONLY)
    os.write(fd, b"x")
    os.close(fd)


def test_utimensat(lab):
    base = fresh(lab)
    path = f"{base}/f"
    write(path)
    for a, m in ((1_000_000_001, 1_900_000_000_123_456_789), (0, 0), (-1_000_000_000, -5)):
        os.utime(path, ns=(a, m))
        equal((os.stat(path).st_atime_ns, os.stat(path).st_mtime_ns), (a, m))
    omit, now = (1 << 30) - 2, (1 << 30) - 1

    class Spec(ctypes.Structure):
        _fields_ = [("sec", ctypes.c_long), ("nsec", ctypes.c_long)]

    def utimens(a, m):
        if LIBC.utimensat(-100, os.fsencode(path), (Spec * 2)(Spec(0, a), Spec(0, m)), 0) != 0:
            raise OSError(ctypes.get_errno(), "utimensat")
    os.utime(path, ns=(5, 6))
    utimens(omit, omit)
    equal((os.stat(path).st_atime_ns, os.stat(path).st_mtime_ns), (5, 6))
    utimens(omit, now)
    equal(os.stat(path).st_atime_ns, 5)
    check(abs(os.stat(path).st_mtime_ns - time.time_ns()) < 10_000_000_000)
    os.chown(path, ALICE, GROUP)
    os.chmod(path, 0o644)
    refused(BOB, GROUP, lambda: os.utime(path, None), errno.EACCES)
    refused(BOB, GROUP, lambda: os.utime(path, ns=(1, 1)), errno.EPERM)
    os.chmod(path, 0o666)
    allowed(BOB, GROUP, lambda: os.utime(path, None))
    refused(BOB, GROUP, lambda: os.utime(path, ns=(1, 1)), errno.EPERM)
    allowed(ALICE, GROUP, lambda: os.utime(path, ns=(1, 1)))


def test_times_stick_after_write_and_close(lab):
    base = fresh(lab)
    fd = os.open(f"{base}/f", os.O_CREAT | os.O_WRONLY, 0o644)
    os.write(fd, b"tar does this")
    os.utime(fd, ns=(111, 222))
    os.fchmod(fd, 0o640)
    os.close(fd)
    st = os.stat(f"{base}/f")
    equal((st.st_mtime_ns, st.st_size), (222, 13))
    before = st.st_ctime_ns
    check(before <= os.stat(f"{base}/f").st_ctime_ns)


def test_mtime_is_the_same_before_and_after_close(lab):
    base = fresh(lab)
    fd = os.open(f"{base}/f", os.O_CREAT | os.O_WRONLY, 0o644)
    os.write(fd, b"x")
    seen = os.fstat(fd).st_mtime_ns
    os.close(fd)
    equal(os.stat(f"{base}/f").st_mtime_ns, seen)


def test_times_move_as_posix_says(lab):
    base = fresh(lab)
    f, d = f"{base}/f", f"{base}/d"
    moved(base, "mc", lambda: write(f, b"abc"))
    moved(base, "mc", lambda: os.mkdir(d))
    moved(f, "c", lambda: os.chmod(f, 0o600))
    moved(f, "c", lambda: os.chown(f, ALICE, GROUP))
    moved(f, "c", lambda: os.link(f, f"{base}/g"))
    moved(f, "c", lambda: os.unlink(f"{base}/g"))
    moved(f, "mc", lambda: write_into(f))
    moved(f, "mc", lambda: os.truncate(f, 10))
    moved(f, "c", lambda: os.setxattr(f, "user.a", b"1"))
    moved(base, "mc", lambda: os.symlink("x", f"{base}/s"))
    moved(base, "mc", lambda: os.rename(f"{base}/s", f"{base}/t"))
    moved(d, "mc", lambda: os.mkfifo(f"{d}/p"))
    moved(base, "", lambda: os.unlink(f"{d}/p"))
    moved(base, "mc", lambda: os.rmdir(d))
    moved(base, "", lambda: write_into(f))
    moved(base, "", lambda: errno_of(os.mkdir, f"{base}/f"))
    st = os.stat(f)
    check(abs(st.st_ctime_ns - time.time_ns()) < 60_000_000_000)


def test_relatime(lab):
    base = fresh(lab)
    f = f"{base}/f"
    write(f, b"abc")
    os.utime(f, ns=(1, 2_000_000_000))
    read(f)
    labtest.eventually(lambda: os.stat(f).st_atime_ns > 2_000_000_000, 5, "atime moves when it is older than mtime")
    equal(os.stat(f).st_mtime_ns, 2_000_000_000)


def test_truncate(lab):
    base = fresh(lab)
    f = f"{base}/f"
    write(f, b"abcdef")
    os.truncate(f, 3)
    os.truncate(f, 6)
    equal(read(f), b"abc\0\0\0")
    os.truncate(f, 1 << 30)
    equal(os.stat(f).st_size, 1 << 30)
    check(os.stat(f).st_blocks < 4096, "a hole takes no space")
    equal(errno_of(os.truncate, f, 1 << 60), errno.EFBIG)
    equal(errno_of(os.truncate, base, 0), errno.EISDIR)
    os.chmod(f, 0o444)
    refused(ALICE, GROUP, lambda: os.truncate(f, 0), errno.EACCES)


# -- content: sparse files, fallocate(2), lseek(2), copy_file_range(2), mmap(2) ------------------

def test_sparse_files(lab):
    base = fresh(lab)
    fd = os.open(f"{base}/f", os.O_CREAT | os.O_RDWR, 0o644)
    os.pwrite(fd, b"end", 10 << 20)
    os.fsync(fd)
    equal(os.pread(fd, 4, (10 << 20) - 1), b"\0end")
    equal(os.fstat(fd).st_size, (10 << 20) + 3)
    data = os.lseek(fd, 0, os.SEEK_DATA)
    check(0 < data <= 10 << 20, f"SEEK_DATA found {data}")
    equal(os.lseek(fd, 0, os.SEEK_HOLE), 0)
    equal(os.lseek(fd, 10 << 20, os.SEEK_HOLE), (10 << 20) + 3)
    equal(errno_of(os.lseek, fd, 11 << 20, os.SEEK_DATA), errno.ENXIO)
    os.pwrite(fd, b"unsaved", 5 << 20)  # over the committed version
    equal([os.lseek(fd, 0, os.SEEK_DATA), os.lseek(fd, 5 << 20, os.SEEK_HOLE)], [5 << 20, (5 << 20) + 7])
    os.close(fd)
    check(os.stat(f"{base}/f").st_blocks * 512 <= 4096, "st_blocks counts what is stored")


def islands(path):
    """Where a file has data: [(begin, end)]."""
    fd, found, at = os.open(path, os.O_RDONLY), [], 0
    try:
        while at < os.fstat(fd).st_size:
            try:
                begin = os.lseek(fd, at, os.SEEK_DATA)
            except OSError as error:
                equal(error.errno, errno.ENXIO)
                break
            at = os.lseek(fd, begin, os.SEEK_HOLE)
            found.append((begin, at))
    finally:
        os.close(fd)
    return found


def test_copies_of_sparse_files_stay_sparse(lab):
    base = fresh(lab)
    with open(f"{base}/f", "wb") as file:
        for i in range(20):
            file.seek(i * (3 << 20))
            file.write(bytes([i + 1]) * 70_000)
        file.truncate(64 << 20)
    there = f"{lab.mounts[1]}/scratch/{os.path.basename(base)}"
    expected = [(i * (3 << 20), i * (3 << 20) + 70_000) for i in range(20)]
    equal(islands(f"{base}/f"), expected)
    equal(islands(f"{there}/f"), expected, "on another mount")
    labtest.sh(f"cp --sparse=auto {there}/f {there}/g; cmp {there}/f {there}/g")
    equal(islands(f"{base}/g"), expected)
    equal(os.stat(f"{base}/g").st_size, 64 << 20)
    check(os.stat(f"{base}/g").st_blocks * 512 < 2 << 20, "the copy stores no zeros")


def test_a_copy_holds_what_another_process_wrote_to_its_mapping(lab):
    base = fresh(lab)
    fd = os.open(f"{base}/f", os.O_CREAT | os.O_RDWR, 0o644)
    os.pwrite(fd, b"end", 4 << 20)
    os.fsync(fd)
    with mmap.mmap(fd, 4 << 20) as mapping:
        mapping[1 << 20:(1 << 20) + 6] = b"mapped"  # neither msync nor munmap
        labtest.sh(f"cp --sparse=auto {base}/f {base}/g")
    os.close(fd)
    labtest.sh(f"cmp {base}/f {base}/g")
    equal(read(f"{base}/g")[1 << 20:(1 << 20) + 6], b"mapped")


def fallocate(fd, mode, offset, length):
    if LIBC.fallocate(fd, mode, ctypes.c_long(offset), ctypes.c_long(length)) != 0:
        raise OSError(ctypes.get_errno(), "fallocate")


def test_fallocate(lab):
    base = fresh(lab)
    fd = os.open(f"{base}/f", os.O_CREAT | os.O_RDWR, 0o644)
    fallocate(fd, 0, 0, 10000)
    equal(os.fstat(fd).st_size, 10000)
    os.pwrite(fd, b"x" * 10000, 0)
    fallocate(fd, 1, 0, 50000)  # KEEP_SIZE
    equal(os.fstat(fd).st_size, 10000)
    fallocate(fd, 3, 4000, 2000)  # PUNCH_HOLE | KEEP_SIZE
    equal(os.pread(fd, 10000, 0), b"x" * 4000 + b"\0" * 2000 + b"x" * 4000)
    equal(errno_of(fallocate, fd, 2, 0, 10), errno.EOPNOTSUPP)
    equal(errno_of(fallocate, fd, 0, 0, 0), errno.EINVAL)
    os.close(fd)
    fd = os.open(f"{base}/f", os.O_RDONLY)
    equal(errno_of(fallocate, fd, 0, 0, 10), errno.EBADF)
    equal(os.pread(fd, 10000, 0), b"x" * 4000 + b"\0" * 2000 + b"x" * 4000)
    os.close(fd)
    equal(errno_of(os.posix_fallocate, os.open(f"{base}/g", os.O_CREAT | os.O_WRONLY), 0, 1 << 50), errno.EFBIG)


def test_copy_file_range_and_sendfile(lab):
    base = fresh(lab)
    data = os.urandom(300_000)
    write(f"{base}/a", data)
    a, b = os.open(f"{base}/a", os.O_RDONLY), os.open(f"{base}/b", os.O_CREAT | os.O_RDWR)
    done = 0
    while done < len(data):
        done += os.copy_file_range(a, b, len(data) - done)
    equal(os.pread(b, len(data) + 1, 0), data)
    os.close(a)
    os.close(b)
    equal(read(f"{base}/b"), data)


def test_mmap(lab):
    base = fresh(lab)
    data = os.urandom(200_000)
    write(f"{base}/f", data)
    fd = os.open(f"{base}/f", os.O_RDWR)
    shared = mmap.mmap(fd, len(data))
    equal(bytes(shared), data)
    shared[1000:1004] = b"MMAP"
    shared.flush()
    equal(read(f"{base}/f")[1000:1004], b"MMAP")
    os.pwrite(fd, b"PWRITE", 5000)
    equal(shared[5000:5006], b"PWRITE")
    private = mmap.mmap(fd, len(data), flags=mmap.MAP_PRIVATE)
    private[0:4] = b"gone"
    check(read(f"{base}/f")[:4] != b"gone")
    private.close()
    shared[100_000:100_003] = b"end"
    shared.close()
    os.close(fd)
    equal(read(f"{base}/f")[100_000:100_003], b"end")


def test_files_to_a_gibibyte(lab):
    base = fresh(lab)
    fd = os.open(f"{base}/big", os.O_CREAT | os.O_RDWR, 0o644)
    block = os.urandom(1 << 20)
    for i in range(64):
        os.pwrite(fd, block, i * (16 << 20))
    os.fsync(fd)
    os.ftruncate(fd, 1 << 30)
    os.close(fd)
    equal(os.stat(f"{base}/big").st_size, 1 << 30)
    fd = os.open(f"{base}/big", os.O_RDONLY)
    for i in (0, 31, 63):
        equal(os.pread(fd, 1 << 20, i * (16 << 20)), block)
    equal(os.pread(fd, 10, (1 << 30) - 10), b"\0" * 10)
    os.close(fd)


# -- xattrs, directories, locks, statfs ----------------------------------------------------------

def test_xattrs(lab):
    base = fresh(lab)
    for kind in ("file", "dir"):
        path = f"{base}/{kind}"
        KINDS[kind](path)
        equal(os.listxattr(path), [])
        equal(errno_of(os.getxattr, path, "user.a"), errno.ENODATA)
        os.setxattr(path, "user.a", b"1")
        os.setxattr(path, "user.b", b"")
        equal(errno_of(os.setxattr, path, "user.a", b"2", os.XATTR_CREATE), errno.EEXIST)
        equal(errno_of(os.setxattr, path, "user.c", b"2", os.XATTR_REPLACE), errno.ENODATA)
        os.setxattr(path, "user.a", b"3", os.XATTR_REPLACE)
        equal((os.getxattr(path, "user.a"), os.getxattr(path, "user.b")), (b"3", b""))
        equal(sorted(os.listxattr(path)), ["user.a", "user.b"])
        os.setxattr(path, "user.big", b"v" * 65536)
        equal(len(os.getxattr(path, "user.big")), 65536)
        check(errno_of(os.setxattr, path, "user.big", b"v" * 65537) in (errno.E2BIG, errno.ENOSPC))
        check(errno_of(os.setxattr, path, "user." + "n" * 251, b"") in (errno.ERANGE, errno.ENAMETOOLONG))
        equal(errno_of(os.setxattr, path, "user.", b""), errno.EINVAL)
        os.removexattr(path, "user.a")
        equal(errno_of(os.removexattr, path, "user.a"), errno.ENODATA)
        buffer = ctypes.create_string_buffer(10)
        equal(LIBC.getxattr(os.fsencode(path), b"user.big", None, 0), 65536, "size probing")
        equal(LIBC.getxattr(os.fsencode(path), b"user.big", buffer, 10), -1)
        equal(ctypes.get_errno(), errno.ERANGE)
        equal(LIBC.listxattr(os.fsencode(path), buffer, 3), -1)
        equal(ctypes.get_errno(), errno.ERANGE)


def test_large_directory_and_stable_positions(lab):
    base = fresh(lab)
    names = {f"entry-{i:05}" for i in range(3000)}
    for name in names:
        os.close(os.open(f"{base}/{name}", os.O_CREAT | os.O_WRONLY, 0o644))
    equal(set(os.listdir(base)), names)
    # Removing and adding while reading: what was there throughout is seen exactly once.
    seen = []
    with os.scandir(base) as entries:
        for i, entry in enumerate(entries):
            seen.append(entry.name)
            if i == 500:
                for name in sorted(names)[::10]:
                    os.unlink(f"{base}/{name}")
                write(f"{base}/added")
    stayed = names - set(sorted(names)[::10])
    check(len(seen) == len(set(seen)), "an entry was seen twice")
    check(stayed <= set(seen), f"entries were missed: {sorted(stayed - set(seen))[:5]}")
    equal(set(os.listdir(base)), stayed | {"added"})
    check({".", ".."} <= set(labtest.sh(f"ls -a {base}").split()))


class Dirent(ctypes.Structure):
    _fields_ = [("d_ino", ctypes.c_uint64), ("d_off", ctypes.c_int64), ("d_reclen", ctypes.c_ushort),
                ("d_type", ctypes.c_ubyte), ("d_name", ctypes.c_char * 256)]


class Stream:
    """A directory stream of libc; "." and ".." are left out."""

    def __init__(self, path):
        for call, result in ((LIBC.opendir, ctypes.c_void_p), (LIBC.readdir, ctypes.POINTER(Dirent)),
                             (LIBC.telldir, ctypes.c_long)):
            call.restype = result
        self.at = ctypes.c_void_p(LIBC.opendir(path.encode()))
        check(self.at, path)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        equal(LIBC.closedir(self.at), 0)

    def next(self):
        while True:
            ctypes.set_errno(0)
            entry = LIBC.readdir(self.at)
            if not entry:
                equal(ctypes.get_errno(), 0, "readdir")
                return None
            if entry.contents.d_name not in (b".", b".."):
                return entry.contents.d_name.decode()

    def rest(self):
        return list(iter(self.next, None))

    def tell(self):
        return LIBC.telldir(self.at)

    def seek(self, place):
        LIBC.seekdir(self.at, ctypes.c_long(place))


def test_telldir_and_seekdir(lab):
    base = fresh(lab)
    there = f"{lab.mounts[1]}/scratch/{os.path.basename(base)}"
    names = {f"entry-{i:03}-" + "x" * 100 for i in range(800)}  # some of libc's buffers full
    for name in names:
        write(f"{base}/{name}")
    with Stream(base) as stream:
        places, order = [stream.tell()], []
        while name := stream.next():
            order.append(name)
            places.append(stream.tell())
        equal(sorted(order), sorted(names))
        equal(len(set(places)), len(places), "places")
        # Nothing changed: each place is followed by what followed it.
        for i in (0, 1, 2, 300, 299, 799, 800):
            stream.seek(places[i])
            equal(stream.tell(), places[i])
            equal(stream.rest(), order[i:], f"after place {i}")
        # Both mounts remove entries before and after a place, the two beside it too, and make others.
        gone, made = set(), set()
        for turn, i in enumerate((400, 3, 797, 200, 600, 0, 800)):
            stream.seek(places[i])
            for n, name in enumerate([*order[max(0, i - 1):i + 1], *order[turn::40]]):
                if name not in gone:
                    os.unlink(f"{(base, there)[n % 2]}/{name}")
                    gone.add(name)
            for n, path in enumerate((base, there)):
                write(f"{path}/new-{turn}-{n}")
                made.add(f"new-{turn}-{n}")
            for again in (stream, None):  # as the stream goes on, and sought anew
                if not again:
                    stream.seek(places[i])
                seen = stream.rest()
                equal(len(seen), len(set(seen)), f"entries seen twice after place {i}")
                equal([n for n in seen if n in names and n not in gone], [n for n in order[i:] if n not in gone],
                      f"entries that stayed, after place {i}")
                check(set(seen) <= names | made, set(seen) - names - made)
            check(not gone & set(seen), f"removed, and seen after place {i}: {sorted(gone & set(seen))[:5]}")
        LIBC.rewinddir(stream.at)
        equal(sorted(stream.rest()), sorted(names - gone | made), "after rewinddir")


def test_syncfs_returns(lab):
    """No more than that: the kernel does not ask a FUSE mount."""
    base = fresh(lab)
    write(f"{base}/f", b"data")
    for path in (f"{base}/f", base):
        fd = os.open(path, os.O_RDONLY)
        try:
            equal(LIBC.syncfs(fd), 0, os.strerror(ctypes.get_errno()))
        finally:
            os.close(fd)
    equal((LIBC.syncfs(-1), ctypes.get_errno()), (-1, errno.EBADF))


def test_exec_closes_what_is_open_for_writing(lab):
    """Within execve(2) close-on-exec descriptors are flushed; some of the process' files in /proc wait for its end."""
    program = ("import os, sys\n"
               "fd = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)\n"
               "os.write(fd, b'text')\n"
               "if os.fork() == 0: os.execv('/bin/true', ['true'])\n"
               "sys.exit(os.waitstatus_to_exitcode(os.wait()[1]))\n")
    path = f"{lab.mounts[0]}/memory/exec"
    process = subprocess.Popen([sys.executable, "-c", program, path])
    equal(process.wait(20), 0)  # what hangs there cannot be killed
    equal(read(path), b"text")


def test_locks_within_a_mount(lab):
    import fcntl
    base = fresh(lab)
    write(f"{base}/f", b"0" * 100)
    a, b = os.open(f"{base}/f", os.O_RDWR), os.open(f"{base}/f", os.O_RDWR)
    fcntl.flock(a, fcntl.LOCK_EX)
    equal(errno_of(fcntl.flock, b, fcntl.LOCK_EX | fcntl.LOCK_NB), errno.EWOULDBLOCK)
    fcntl.flock(a, fcntl.LOCK_UN)
    fcntl.flock(b, fcntl.LOCK_SH | fcntl.LOCK_NB)
    fcntl.lockf(a, fcntl.LOCK_EX, 10, 0)

    def other():
        fd = os.open(f"{base}/f", os.O_RDWR)
        free = errno_of(fcntl.lockf, fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 10, 20)
        taken = errno_of(fcntl.lockf, fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 10, 5)
        return free, taken
    free, taken = allowed(0, 0, other)
    equal(free, 0)
    check(taken in (errno.EAGAIN, errno.EACCES))
    os.close(a)
    os.close(b)


def test_statfs_has_real_numbers(lab):
    base = fresh(lab)
    before = os.statvfs(base)
    check(before.f_blocks > 0 and before.f_files > 0 and before.f_namemax == 255)
    write(f"{base}/f", os.urandom(8 << 20))
    after = os.statvfs(base)
    check(before.f_bavail * before.f_frsize - after.f_bavail * after.f_frsize >= 8 << 20, "free space went down")
    check(after.f_ffree < before.f_ffree)
    seen = os.statvfs(f"{lab.mounts[1]}/scratch")
    equal((seen.f_bavail, seen.f_ffree), (after.f_bavail, after.f_ffree), "the same on another mount")
    os.unlink(f"{base}/f")
    again = os.statvfs(base)
    equal((again.f_blocks, again.f_bavail, again.f_ffree), (before.f_blocks, before.f_bavail, before.f_ffree))
    used = lambda: int(labtest.sh(f"df --output=used -B1 {base} | tail -1"))
    empty = used()
    write(f"{base}/f", os.urandom(8 << 20))
    equal(used() - empty, 8 << 20, "df")
    os.unlink(f"{base}/f")
    equal(used(), empty)


def test_read_only_route(lab):
    skills = f"{lab.mounts[0]}/skills"
    for name, call in (("mkdir", lambda: os.mkdir(f"{skills}/x")), ("write", lambda: write(f"{skills}/x")),
                       ("symlink", lambda: os.symlink("a", f"{skills}/x")), ("chmod", lambda: os.chmod(skills, 0o700)),
                       ("utime", lambda: os.utime(skills, None)), ("setxattr", lambda: os.setxattr(skills, "user.a", b"")),
                       ("rmdir", lambda: os.rmdir(f"{skills}/none"))):
        check(errno_of(call) in (errno.EROFS, errno.ENOENT if name == "rmdir" else errno.EROFS), name)


def test_inodes_and_birth_time_are_stable(lab):
    base = fresh(lab)
    write(f"{base}/f", b"1")
    ino = os.stat(f"{base}/f").st_ino
    birth = labtest.sh(f"stat -c %W {base}/f").strip()
    check(int(birth) > 1_700_000_000)
    write_into(f"{base}/f")
    equal(os.stat(f"{base}/f").st_ino, ino)
    equal(os.stat(f"{lab.mounts[1]}/scratch/{os.path.basename(base)}/f").st_ino, ino, "the same on another mount")
    lab.do("restart", "router")
    equal(os.stat(f"{base}/f").st_ino, ino, "the same after a restart of the router")


if __name__ == "__main__":
    labtest.main(globals(), each_seconds=120, mounts=2, owner="identity")
