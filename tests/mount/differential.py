#!/usr/bin/env python3
"""The same random operations on a mount and on a local directory, compared call by call:
result, errno, stat, content. Prints its seed; LINKSPAN_SEED repeats it, LINKSPAN_STEPS sets how far.
"""
import errno
import os
import random
import stat
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
import labtest  # noqa: E402
from labtest import check  # noqa: E402

STEPS = int(os.environ.get("LINKSPAN_STEPS", "6000"))
HISTORY = 60  # calls told when a walk fails
FALLOC_KEEP, FALLOC_PUNCH, FALLOC_ZERO = 1, 2, 16

import ctypes  # noqa: E402
LIBC = ctypes.CDLL(None, use_errno=True)


def raw_fallocate(fd, mode, offset, length):
    if LIBC.fallocate(fd, mode, ctypes.c_long(offset), ctypes.c_long(length)) != 0:
        raise OSError(ctypes.get_errno(), "fallocate")


def raw_renameat2(a, b, flags):
    if LIBC.renameat2(-100, os.fsencode(a), -100, os.fsencode(b), flags) != 0:
        raise OSError(ctypes.get_errno(), "renameat2")


class Side:
    """One of the two trees, with its own open files."""

    def __init__(self, root):
        self.root = root
        self.files = {}

    def path(self, name):
        return os.path.join(self.root, name)


class Walk:
    def __init__(self, rng, sides):
        self.rng = rng
        self.sides = sides
        self.next_fd = 0
        self.open = []
        self.history = []

    def name(self):
        depth = self.rng.choice([1, 1, 1, 2, 2, 3])
        return "/".join(self.rng.choice(["a", "b", "c", "d", "e", "f"]) for _ in range(depth))

    def both(self, what, call):
        """The call on both sides; what each returned or the errno it failed with."""
        results = []
        for side in self.sides:
            try:
                results.append(("ok", call(side)))
            except OSError as error:
                results.append(("errno", errno.errorcode.get(error.errno, error.errno)))
        self.history.append(f"{what}: {results[0]!r:.80}")
        check(results[0] == results[1], f"{what}: mount {results[0]!r}, local {results[1]!r}")
        return results[0]

    @staticmethod
    def facts(st):
        kind = stat.S_IFMT(st.st_mode)
        size = st.st_size if kind != stat.S_IFDIR else None
        return (oct(st.st_mode), st.st_nlink, size, st.st_uid, st.st_gid)

    def step(self):
        rng = self.rng
        kind = rng.choices(
            ["open", "close", "write", "pwrite", "read", "ftruncate", "truncate", "rename", "renamex", "link",
             "symlink", "readlink", "unlink", "mkdir", "rmdir", "chmod", "utime", "stat", "listdir", "xattr",
             "fallocate", "seek", "copy", "mknod", "fsync", "cat", "fstat", "access"],
            [10, 8, 14, 10, 10, 4, 3, 8, 3, 4, 3, 3, 7, 6, 4, 3, 3, 6, 4, 4, 3, 3, 3, 1, 3, 6, 3, 1])[0]
        getattr(self, "do_" + kind)()

    def do_open(self):
        if len(self.open) > 12:
            return self.do_close()
        rng = self.rng
        name = self.name()
        flags = rng.choice([os.O_RDONLY, os.O_WRONLY, os.O_RDWR, os.O_RDWR])
        for flag, odds in ((os.O_CREAT, .6), (os.O_TRUNC, .2), (os.O_EXCL, .1), (os.O_APPEND, .2),
                           (os.O_NOFOLLOW, .1), (os.O_DIRECTORY, .05)):
            if rng.random() < odds:
                flags |= flag
        if flags & os.O_EXCL:
            flags |= os.O_CREAT  # without it the result is undefined
        if flags & os.O_DIRECTORY:
            flags &= ~os.O_CREAT  # changed meaning between kernels
        number = self.next_fd
        self.next_fd += 1
        mode = rng.choice([0o644, 0o600, 0o755])

        def call(side):
            side.files[number] = os.open(side.path(name), flags | os.O_NONBLOCK, mode)
            return "opened"
        if self.both(f"open({name}, {flags:#o})", call)[0] == "ok":
            self.open.append((number, flags))

    def file(self):
        return self.rng.choice(self.open) if self.open else None

    def with_file(self, what, call):
        chosen = self.file()
        if chosen:
            return self.both(f"{what} on fd {chosen[0]} (flags {chosen[1]:#o})", lambda s: call(s, s.files[chosen[0]]))
        return None

    def do_close(self):
        if not self.open:
            return
        chosen = self.open.pop(self.rng.randrange(len(self.open)))
        self.both(f"close {chosen[0]}", lambda s: os.close(s.files.pop(chosen[0])))

    def data(self):
        length = self.rng.choice([1, 10, 100, 1000, 4096, 5000, 70000, 140000])
        return bytes([self.rng.randrange(256)]) * length

    def do_write(self):
        data = self.data()
        self.with_file(f"write {len(data)}", lambda s, f: os.write(f, data))

    def do_pwrite(self):
        data, at = self.data(), self.rng.choice([0, 1, 4095, 4096, 65536, 100000, 300000])
        chosen = self.file()
        if chosen and not chosen[1] & os.O_APPEND:
            self.both(f"pwrite {len(data)}@{at}", lambda s: os.pwrite(s.files[chosen[0]], data, at))

    def do_read(self):
        length, at = self.rng.choice([1, 4096, 65536, 200000]), self.rng.choice([0, 1, 4000, 65536, 100000])
        self.with_file(f"pread {length}@{at}", lambda s, f: os.pread(f, length, at))

    def do_ftruncate(self):
        size = self.rng.choice([0, 1, 100, 4096, 65536, 65537, 200000])
        self.with_file(f"ftruncate {size}", lambda s, f: os.ftruncate(f, size))

    def do_truncate(self):
        name, size = self.name(), self.rng.choice([0, 1, 5000, 65536, 130000])
        self.both(f"truncate({name}, {size})", lambda s: os.truncate(s.path(name), size))

    def do_rename(self):
        a, b = self.name(), self.name()
        self.both(f"rename({a}, {b})", lambda s: os.rename(s.path(a), s.path(b)))

    def do_renamex(self):
        a, b, flags = self.name(), self.name(), self.rng.choice([1, 2])
        self.both(f"renameat2({a}, {b}, {flags})", lambda s: raw_renameat2(s.path(a), s.path(b), flags))

    def do_link(self):
        a, b = self.name(), self.name()
        self.both(f"link({a}, {b})", lambda s: os.link(s.path(a), s.path(b), follow_symlinks=False))

    def do_symlink(self):
        target, name = self.rng.choice(["a", "b/c", "nowhere", "../a", "x" * 300]), self.name()
        self.both(f"symlink({name})", lambda s: os.symlink(target, s.path(name)))

    def do_readlink(self):
        name = self.name()
        self.both(f"readlink({name})", lambda s: os.readlink(s.path(name)))

    def do_unlink(self):
        name = self.name()
        self.both(f"unlink({name})", lambda s: os.unlink(s.path(name)))

    def do_mkdir(self):
        name, mode = self.name(), self.rng.choice([0o755, 0o700, 0o2755])
        self.both(f"mkdir({name})", lambda s: os.mkdir(s.path(name), mode))

    def do_rmdir(self):
        name = self.name()
        self.both(f"rmdir({name})", lambda s: os.rmdir(s.path(name)))

    def do_chmod(self):
        name, mode = self.name(), self.rng.choice([0o644, 0o600, 0o4755, 0o2755, 0o1777, 0o755])
        self.both(f"chmod({name}, {mode:#o})", lambda s: os.chmod(s.path(name), mode))

    def do_utime(self):
        name, times = self.name(), (self.rng.randrange(1 << 60), self.rng.randrange(1 << 60))
        def call(side):
            os.utime(side.path(name), ns=times)
            st = os.stat(side.path(name))
            return st.st_mtime_ns, st.st_atime_ns
        self.both(f"utime({name})", call)

    def do_stat(self):
        name = self.name()
        self.both(f"lstat({name})", lambda s: self.facts(os.lstat(s.path(name))))

    def do_fstat(self):
        self.with_file("fstat", lambda s, f: self.facts(os.fstat(f)))

    def do_listdir(self):
        name = self.rng.choice([".", self.name()])
        self.both(f"listdir({name})", lambda s: sorted(os.listdir(s.path(name))))

    def do_cat(self):
        name = self.name()
        def call(side):
            fd = os.open(side.path(name), os.O_RDONLY | os.O_NONBLOCK)
            try:
                data = b""
                while piece := os.read(fd, 1 << 20):
                    data += piece
                return hash(data), len(data)
            finally:
                os.close(fd)
        self.both(f"cat({name})", call)

    def do_access(self):
        name, mode = self.name(), self.rng.choice([os.R_OK, os.W_OK, os.X_OK, os.F_OK])
        self.both(f"access({name}, {mode})", lambda s: os.access(s.path(name), mode))

    def do_xattr(self):
        name, key = self.name(), self.rng.choice(["user.one", "user.two"])
        value, flags = b"v" * self.rng.choice([0, 1, 1000]), self.rng.choice([0, 1, 2])
        verb = self.rng.choice(["set", "get", "list", "remove"])
        call = {"set": lambda s: os.setxattr(s.path(name), key, value, flags, follow_symlinks=False),
                "get": lambda s: os.getxattr(s.path(name), key, follow_symlinks=False),
                "list": lambda s: sorted(os.listxattr(s.path(name), follow_symlinks=False)),
                "remove": lambda s: os.removexattr(s.path(name), key, follow_symlinks=False)}[verb]
        self.both(f"{verb}xattr({name}, {key}, flags {flags})", call)

    def do_fallocate(self):
        mode = self.rng.choice([0, FALLOC_KEEP, FALLOC_PUNCH | FALLOC_KEEP, FALLOC_ZERO])
        at, length = self.rng.choice([0, 4096, 65536]), self.rng.choice([4096, 65536, 100000])
        self.with_file(f"fallocate({mode}, {at}, {length})", lambda s, f: raw_fallocate(f, mode, at, length))

    def do_seek(self):
        # Where holes are is the filesystem's choice; that SEEK_DATA never skips data is not.
        at = self.rng.choice([0, 5000, 70000, 400000])
        def call(side, fd):
            size = os.fstat(fd).st_size
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                return "not a file"
            try:
                hole = os.lseek(fd, at, os.SEEK_HOLE)
            except OSError as error:
                return errno.errorcode[error.errno], at >= size
            check(at <= hole <= size, f"SEEK_HOLE {at} -> {hole} of {size}")
            try:
                data = os.lseek(fd, at, os.SEEK_DATA)
            except OSError as error:
                check(error.errno == errno.ENXIO, f"SEEK_DATA: {error}")
                data = size
            if stat.S_ISREG(os.fstat(fd).st_mode) and data > at:
                try:
                    skipped = os.pread(fd, min(data - at, 1 << 20), at)
                    check(skipped.count(0) == len(skipped), f"SEEK_DATA {at} -> {data} skipped data")
                except OSError:
                    pass  # opened for writing only
            os.lseek(fd, 0, os.SEEK_SET)
            return "ok"
        self.with_file(f"seek {at}", call)

    def do_copy(self):
        if len(self.open) < 2:
            return
        a, b = self.rng.sample(self.open, 2)
        if b[1] & os.O_APPEND:
            return
        at_a, at_b, length = self.rng.choice([0, 100]), self.rng.choice([0, 5000]), self.rng.choice([10, 70000])
        self.both(f"copy_file_range {length}", lambda s: os.copy_file_range(
            s.files[a[0]], s.files[b[0]], length, at_a, at_b))

    def do_mknod(self):
        name, kind = self.name(), self.rng.choice([stat.S_IFIFO, stat.S_IFSOCK, stat.S_IFREG])
        self.both(f"mknod({name})", lambda s: os.mknod(s.path(name), kind | 0o644))

    def do_fsync(self):
        self.with_file("fsync", lambda s, f: os.fsync(f))

    def compare_trees(self):
        def tree(side):
            found = {}
            for where, dirs, files in os.walk(side.root):
                for name in dirs + files:
                    path = os.path.join(where, name)
                    st = os.lstat(path)
                    content = None
                    if stat.S_ISREG(st.st_mode):
                        with open(path, "rb") as file:
                            content = hash(file.read())
                    elif stat.S_ISLNK(st.st_mode):
                        content = os.readlink(path)
                    found[os.path.relpath(path, side.root)] = (self.facts(st), content)
            return found
        mount, local = tree(self.sides[0]), tree(self.sides[1])
        for path in sorted(set(mount) | set(local)):
            check(mount.get(path) == local.get(path), f"{path}: mount {mount.get(path)}, local {local.get(path)}")
        return len(mount)


def walk(root, local, number, steps):
    rng = random.Random(number)
    os.makedirs(root)
    os.makedirs(local)
    w = Walk(rng, [Side(root), Side(local)])
    try:
        for i in range(steps):
            w.step()
            if i % 500 == 499:
                w.compare_trees()
        while w.open:
            w.do_close()
        return w.compare_trees()
    except AssertionError as error:
        last = "\n  ".join(w.history[-HISTORY:])
        raise AssertionError(f"seed {number}, step {i}: {error}; the last calls:\n  {last}") from error


def run(lab, route, owner_steps):
    first = labtest.seed()
    rounds = 6
    for i in range(rounds):
        nodes = walk(f"{lab.mounts[0]}/{route}/diff{i}", f"{lab.base}/local-{route}/{i}", first + i, owner_steps // rounds)
        print(f"  seed {first + i}: {owner_steps // rounds} steps agree, {nodes} nodes at the end")


def test_memory_route_agrees_with_a_local_directory(lab):
    run(lab, "memory", STEPS)


def test_last_writer_wins_route_agrees_with_a_local_directory(lab):
    run(lab, "scratch", STEPS)


if __name__ == "__main__":
    labtest.main(globals(), each_seconds=600, mounts=1, owner="identity")
