#!/usr/bin/env python3
"""Many processes on two mounts do random things to the same small tree at once. Nothing may hang,
answer with an errno that Linux does not know for the call, or leave the mounts disagreeing.

Prints its seed; LINKSPAN_SEED repeats the choices (not the interleaving), LINKSPAN_SECONDS sets how long.
"""
import collections
import errno
import mmap
import os
import random
import stat
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
import labtest  # noqa: E402
from labtest import check, equal  # noqa: E402

SECONDS = float(os.environ.get("LINKSPAN_SECONDS", "15"))
PROCESSES = 4  # on each mount
NAMES = [a + b for a in ("", "d1/", "d1/d2/", "d3/") for b in ("a", "b", "c", "d")]
DIRS = ["d1", "d1/d2", "d3", "d1/d4", "e"]
# A path that others change meanwhile. ESTALE: the kernel walks a path once more when a node on it is gone,
# and not a third time (retry_estale in Linux' fs/internal.h); as on NFS.
SHARED = {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ESTALE}
FILE = SHARED | {errno.EEXIST, errno.ENXIO}


class Worker:
    def __init__(self, root, rng, number):
        self.root, self.rng, self.number = root, rng, number
        self.done = collections.Counter()

    def path(self, names=NAMES):
        return os.path.join(self.root, self.rng.choice(names))

    def open(self, flags):
        return os.open(self.path(), flags | os.O_NONBLOCK | os.O_CLOEXEC, 0o644)

    def do_write(self):
        flags = self.rng.choice([os.O_WRONLY, os.O_RDWR, os.O_WRONLY | os.O_APPEND])
        fd = self.open(flags | os.O_CREAT | self.rng.choice([0, 0, os.O_TRUNC, os.O_EXCL]))
        try:
            for _ in range(self.rng.randrange(4)):
                os.write(fd, b"x" * self.rng.choice([1, 100, 4096, 70000]))
            if self.rng.random() < .2:
                os.fsync(fd)
        finally:
            os.close(fd)

    def do_read(self):
        fd = self.open(os.O_RDONLY)
        try:
            size = os.fstat(fd).st_size
            if stat.S_ISREG(os.fstat(fd).st_mode):
                # Two last lines without a newline get one between them when they are merged.
                found = set(os.pread(fd, 65536, self.rng.randrange(size + 1)))
                check(found <= set(b"\0xm\n"), f"bytes that nobody wrote: {bytes(sorted(found))!r}")
        finally:
            os.close(fd)

    def do_map(self):
        # A file of its own: where another cuts a mapped file, SIGBUS is what Linux sends.
        fd = os.open(os.path.join(self.root, f"map{self.number}"), os.O_RDWR | os.O_CREAT, 0o644)
        try:
            os.ftruncate(fd, 70000)
            with mmap.mmap(fd, 70000) as area:
                area[self.rng.randrange(70000)] = ord("m")
        finally:
            os.close(fd)

    def do_truncate(self):
        os.truncate(self.path(), self.rng.choice([0, 1, 5000, 100000]))

    def do_rename(self):
        os.rename(self.path(NAMES + DIRS), self.path(NAMES + DIRS))

    def do_link(self):
        os.link(self.path(), self.path(), follow_symlinks=False)

    def do_symlink(self):
        os.symlink(self.rng.choice(["a", "d1/b", "../c"]), self.path())

    def do_unlink(self):
        os.unlink(self.path())

    def do_mkdir(self):
        os.mkdir(self.path(DIRS))

    def do_rmdir(self):
        os.rmdir(self.path(DIRS))

    def do_list(self):
        for name in os.listdir(self.path([".", "."] + DIRS)):
            check(name not in (".", ".."), name)

    def do_stat(self):
        os.lstat(self.path(NAMES + DIRS))

    def do_chmod(self):
        os.chmod(self.path(), self.rng.choice([0o644, 0o600, 0o755]))

    def do_xattr(self):
        os.setxattr(self.path(), "user.x", b"v" * self.rng.choice([0, 10, 1000]))

    ODDS = {"write": 20, "read": 12, "map": 3, "truncate": 4, "rename": 12, "link": 4, "symlink": 2, "unlink": 10,
            "mkdir": 5, "rmdir": 4, "list": 6, "stat": 10, "chmod": 3, "xattr": 3}
    ALLOWED = {"write": FILE, "read": SHARED | {errno.ENXIO}, "map": FILE | {errno.EINVAL}, "truncate": FILE | {errno.EINVAL},
               "rename": SHARED | {errno.EEXIST, errno.ENOTEMPTY, errno.EINVAL}, "unlink": SHARED,
               "link": SHARED | {errno.EEXIST, errno.EPERM}, "symlink": SHARED | {errno.EEXIST},
               "mkdir": SHARED | {errno.EEXIST}, "rmdir": SHARED | {errno.ENOTEMPTY, errno.EEXIST},
               "list": SHARED, "stat": SHARED, "chmod": SHARED, "xattr": SHARED | {errno.EPERM}}

    def run(self, end):
        kinds, odds = list(self.ODDS), list(self.ODDS.values())
        while time.monotonic() < end:
            kind = self.rng.choices(kinds, odds)[0]
            try:
                getattr(self, "do_" + kind)()
                self.done[kind] += 1
            except OSError as error:
                check(error.errno in self.ALLOWED[kind], f"{kind}: {error}")
        return sum(self.done.values())


def tree(root):
    """What a walk finds, with the number of links that are there."""
    found, links = {}, collections.Counter()
    for where, dirs, files in os.walk(root):
        for name in dirs + files:
            path = os.path.join(where, name)
            st = os.lstat(path)
            content = None
            if stat.S_ISREG(st.st_mode):
                links[st.st_ino] += 1
                with open(path, "rb") as file:
                    content = file.read()
                equal(len(content), st.st_size, f"size of {path}")
            elif stat.S_ISLNK(st.st_mode):
                content = os.readlink(path)
            else:
                equal(st.st_nlink, 2 + sum(e.is_dir(follow_symlinks=False) for e in os.scandir(path)), f"links of {path}")
            found[os.path.relpath(path, root)] = (st.st_ino, st.st_mode, st.st_nlink, st.st_mtime_ns, content)
    for name, (ino, mode, nlink, _, _) in found.items():
        if stat.S_ISREG(mode):
            equal(nlink, links[ino], f"links of {name}")
    return found


def stress(lab, route):
    first = labtest.seed()
    roots = [f"{mount}/{route}/stress" for mount in lab.mounts]
    os.mkdir(roots[0])
    end = time.monotonic() + SECONDS
    children = []
    for n in range(PROCESSES * len(roots)):
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                count = Worker(roots[n % len(roots)], random.Random(first + n), n).run(end)
                print(f"  worker {n}: {count} calls succeeded", flush=True)
                status = 0
            except BaseException as error:  # noqa: BLE001
                print(f"  worker {n}: {error!r}", flush=True)
            os._exit(status)
        children.append(pid)
    equal([os.waitpid(pid, 0)[1] for pid in children], [0] * len(children), "workers")
    trees = [tree(root) for root in roots]
    for name in sorted(set(trees[0]) | set(trees[1])):
        check(trees[0].get(name) == trees[1].get(name),
              f"{name}: {str(trees[0].get(name))[:200]} here, {str(trees[1].get(name))[:200]} there")
    labtest.sh(f"rm -r {roots[1]}")
    check(not os.path.exists(roots[0]), "removed there, still here")


def test_memory_route(lab):
    stress(lab, "memory")


def test_last_writer_wins_route(lab):
    stress(lab, "scratch")


if __name__ == "__main__":
    labtest.main(globals(), each_seconds=int(SECONDS * 2 + 180), mounts=2)
