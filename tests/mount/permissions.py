#!/usr/bin/env python3
"""Who may do what, and what it leaves behind: each call by each sort of caller on each kind of node, with
directories and files of many modes and owners, on the mount and on a local directory. Results, errnos,
modes, owners, link counts and which times moved must be the same.
"""
import contextlib
import errno
import itertools
import mmap
import os
import shutil
import stat
import sys
import time

sys.path.insert(0, os.path.dirname(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
import labtest  # noqa: E402
from differential import raw_fallocate, raw_renameat2  # noqa: E402
from labtest import check  # noqa: E402

ALICE, BOB, TEAM, OTHERS = 65533, 65532, 65531, 65530  # TEAM is a supplementary group of Alice
EXCHANGE, NOREPLACE = 2, 1
CLOCK_STEP = 0.012  # more than the granularity of any timestamp here


@contextlib.contextmanager
def caller(uid):
    """As that user, who may become root again. Alice's own group is of her number."""
    os.setgroups([TEAM] if uid == ALICE else [])
    os.setegid(uid)
    os.seteuid(uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups([])


def outcome(call, *args):
    try:
        value = call(*args)
        return ("ok", value)
    except OSError as error:
        return ("errno", errno.errorcode.get(error.errno, error.errno))


def facts(path):
    st = os.lstat(path)
    size = None if stat.S_ISDIR(st.st_mode) else st.st_size
    return oct(st.st_mode), st.st_nlink, st.st_uid, st.st_gid, size


def tree(root):
    """path -> facts, for everything below."""
    found = {".": facts(root)}
    for where, dirs, files in os.walk(root):
        for name in dirs + files:
            path = os.path.join(where, name)
            found[os.path.relpath(path, root)] = facts(path)
    return found


def make(path, kind, uid=0, gid=0, mode=0o644, data=b"data"):
    if kind == "file":
        fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        os.write(fd, data)
        os.close(fd)
    elif kind == "dir":
        os.mkdir(path)
    elif kind == "symlink":
        os.symlink("target", path)
    else:
        os.mknod(path, {"fifo": stat.S_IFIFO, "socket": stat.S_IFSOCK}[kind] | 0o600)
    os.chown(path, uid, gid, follow_symlinks=False)
    if kind != "symlink":
        os.chmod(path, mode)


def clear(path):
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    elif os.path.lexists(path):
        os.unlink(path)


def opened(flags, use=lambda fd: None):
    def call(path):
        fd = os.open(path, flags | os.O_NONBLOCK, 0o644)
        try:
            return use(fd)
        finally:
            os.close(fd)
    return call


class Comparison:
    """A folder on the mount and one beside it; counts what was compared and tells every difference."""

    def __init__(self, lab, name):
        self.roots = [f"{lab.mounts[0]}/scratch/{name}", f"{lab.base}/local-{name}"]
        os.umask(0)
        for root in self.roots:
            clear(root)
            os.makedirs(root)
            os.chmod(root, 0o755)
        self.cases = 0
        self.wrong = []

    def compare(self, what, run):
        self.cases += 1
        mount, local = (run(root) for root in self.roots)
        if mount != local:
            self.wrong.append(f"{what}: mount {mount!r}, local {local!r}")

    def done(self):
        print(f"  {self.cases} cases compared", flush=True)
        os.umask(0o022)
        for root in self.roots:
            shutil.rmtree(root)
        check(not self.wrong, f"{len(self.wrong)} of {self.cases} differ:\n  " + "\n  ".join(self.wrong[:40]))


# ---- names: who may remove, move and make ------------------------------------------------------

NAME_CALLS = {
    "unlink": lambda r: os.unlink(f"{r}/p/x"),
    "rmdir": lambda r: os.rmdir(f"{r}/p/x"),
    "rename within": lambda r: os.rename(f"{r}/p/x", f"{r}/p/y"),
    "rename away": lambda r: os.rename(f"{r}/p/x", f"{r}/free/y"),
    "rename over mine": lambda r: os.rename(f"{r}/p/x", f"{r}/free/mine"),
    "rename onto": lambda r: os.rename(f"{r}/free/mine", f"{r}/p/x"),
    "rename noreplace": lambda r: raw_renameat2(f"{r}/free/mine", f"{r}/p/x", NOREPLACE),
    "exchange": lambda r: raw_renameat2(f"{r}/free/mine", f"{r}/p/x", EXCHANGE),
    "link from": lambda r: os.link(f"{r}/p/x", f"{r}/free/y", follow_symlinks=False),
    "link into": lambda r: os.link(f"{r}/free/mine", f"{r}/p/y", follow_symlinks=False),
}
MAKING_CALLS = {
    "create": lambda r: os.close(os.open(f"{r}/p/y", os.O_CREAT | os.O_WRONLY, 0o6777)),
    "create exclusively": lambda r: os.close(os.open(f"{r}/p/y", os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o2755)),
    "mkdir": lambda r: os.mkdir(f"{r}/p/y", 0o1777),
    "mkfifo": lambda r: os.mkfifo(f"{r}/p/y", 0o640),
    "mknod": lambda r: os.mknod(f"{r}/p/y", stat.S_IFREG | 0o6755),
    "socket": lambda r: os.mknod(f"{r}/p/y", stat.S_IFSOCK | 0o777),
    "symlink": lambda r: os.symlink("to", f"{r}/p/y"),
    "stat inside": lambda r: os.stat(f"{r}/p/x") and None,
    "stat of none": lambda r: os.stat(f"{r}/p/none") and None,
    "list": lambda r: sorted(os.listdir(f"{r}/p")),
    "open inside": lambda r: os.close(os.open(f"{r}/p/x", os.O_RDONLY)),
    "create what is there": lambda r: os.close(os.open(f"{r}/p/x", os.O_CREAT | os.O_RDWR, 0o644)),
}
# owner, group, mode of the directory
PARENTS = [(o, 0, m) for o in (ALICE, BOB) for m in (0o755, 0o777, 0o1777, 0o555, 0o333, 0o666)] + [
    (BOB, TEAM, 0o1775), (BOB, TEAM, 0o2775), (ALICE, OTHERS, 0o2777)]


def prepare(root, kind, uid, parent):
    owner, group, mode = parent
    for name in ("p", "free"):
        clear(f"{root}/{name}")
    make(f"{root}/p", "dir", owner, group, mode)
    make(f"{root}/p/x", kind, uid, uid)
    make(f"{root}/free", "dir", ALICE, ALICE, 0o755)
    make(f"{root}/free/mine", kind, ALICE, ALICE)
    return tree(root)


def in_directories(c, kind, uid, parent, calls, who):
    """Each of the calls, in directories that are made anew only when the one before changed something."""
    fresh = {root: None for root in c.roots}

    def run(root, call):
        if fresh[root] is None:
            fresh[root] = prepare(root, kind, uid, parent)
        with caller(who):
            result = outcome(call, root)
        left = tree(root)
        if left != fresh[root]:
            fresh[root] = None
        return result, left
    for name, call in calls.items():
        c.compare(f"{name} of a {kind} of {uid} in {parent} by {who}", lambda root: run(root, call))


def test_removing_and_moving_names(lab):
    c = Comparison(lab, "names")
    for parent in PARENTS:
        for kind, uid in itertools.product(("file", "dir", "symlink", "fifo"), (ALICE, BOB)):
            if kind in ("symlink", "fifo") and parent[2] not in (0o755, 0o1777):
                continue  # as files are; what kinds do differently shows in these two
            in_directories(c, kind, uid, parent, NAME_CALLS, ALICE)
    c.done()


def test_making_names(lab):
    c = Comparison(lab, "making")
    for parent, uid in itertools.product(PARENTS, (ALICE, BOB)):
        in_directories(c, "file", uid, parent, MAKING_CALLS, ALICE)
    for parent in PARENTS:
        in_directories(c, "file", BOB, parent, MAKING_CALLS, 0)
    c.done()


# ---- nodes: who may read, write and change -----------------------------------------------------

NODE_CALLS = {
    "open to read": opened(os.O_RDONLY),
    "open to write": opened(os.O_WRONLY),
    "open for both": opened(os.O_RDWR),
    "open to truncate": opened(os.O_WRONLY | os.O_TRUNC),
    "open to read, truncating": opened(os.O_RDONLY | os.O_TRUNC),
    "open a path": opened(os.O_PATH),
    "open a directory": opened(os.O_RDONLY | os.O_DIRECTORY),
    "open without following": opened(os.O_RDONLY | os.O_NOFOLLOW),
    "open without atime": opened(os.O_RDONLY | os.O_NOATIME),
    "list": os.listdir,
    "chdir": lambda p: os.chdir(p) or os.chdir("/"),
    "truncate": lambda p: os.truncate(p, 1),
    "may read": lambda p: os.access(p, os.R_OK, effective_ids=True),
    "may write": lambda p: os.access(p, os.W_OK, effective_ids=True),
    "may execute": lambda p: os.access(p, os.X_OK, effective_ids=True),
    "chmod": lambda p: os.chmod(p, 0o711),
    "chmod set-id": lambda p: os.chmod(p, 0o6755),
    "chmod sticky": lambda p: os.chmod(p, 0o1755),
    "chown to none": lambda p: os.chown(p, -1, -1),
    "chown to myself": lambda p: os.chown(p, ALICE, -1),
    "chown to another": lambda p: os.chown(p, BOB, -1),
    "chgrp to mine": lambda p: os.chown(p, -1, ALICE),
    "chgrp to my team": lambda p: os.chown(p, -1, TEAM),
    "chgrp to others": lambda p: os.chown(p, -1, OTHERS),
    "lchown to myself": lambda p: os.lchown(p, ALICE, ALICE),
    "touch": lambda p: os.utime(p, None),
    "set times": lambda p: os.utime(p, ns=(1, 2)),
    "set xattr": lambda p: os.setxattr(p, "user.name", b"value"),
    "set trusted xattr": lambda p: os.setxattr(p, "trusted.name", b"value"),
    "get xattr": lambda p: os.getxattr(p, "user.there"),
    "list xattrs": lambda p: [n for n in os.listxattr(p) if n.startswith("user.")],
    "remove xattr": lambda p: os.removexattr(p, "user.there"),
    "readlink": os.readlink,
}
# whose node it is, and how far the bits that count for Alice are from the lowest
RELATIONS = [(ALICE, OTHERS, 6), (BOB, ALICE, 3), (BOB, TEAM, 3), (BOB, OTHERS, 0)]


def state(path):
    attributes = {n: os.getxattr(path, n, follow_symlinks=False) for n in os.listxattr(path, follow_symlinks=False)
                  if n.startswith("user.")}
    return facts(path), attributes, os.lstat(path).st_mtime_ns == 2


def on_node(c, kind, uid, gid, mode, calls, who):
    """Each of the calls on a node, which is made anew only when the one before changed it."""
    fresh = {root: None for root in c.roots}

    def run(root, call):
        path = f"{root}/x"
        if fresh[root] is None:
            clear(path)
            make(path, kind, uid, gid, mode)
            if kind in ("file", "dir"):
                os.setxattr(path, "user.there", b"1")
            fresh[root] = state(path)
        with caller(who):
            result = outcome(call, path)
        left = state(path)
        if left != fresh[root]:
            fresh[root] = None
        return result, left
    for name, call in calls.items():
        c.compare(f"{name} by {who} on a {kind} of {uid}:{gid} with {mode:o}", lambda root: run(root, call))
    for root in c.roots:
        clear(f"{root}/x")


def test_reading_writing_and_changing_nodes(lab):
    c = Comparison(lab, "nodes")
    for kind, (uid, gid, shift), bits in itertools.product(("file", "dir", "fifo"), RELATIONS, range(8)):
        if kind == "fifo" and bits not in (0, 2, 4, 7):
            continue
        # The other classes have the opposite bits: whoever looks at those is found out.
        mode = sum((bits if at == shift else 7 ^ bits) << at for at in (0, 3, 6))
        on_node(c, kind, uid, gid, mode, NODE_CALLS, ALICE)
    for kind, mode in itertools.product(("file", "dir", "fifo", "symlink", "socket"), (0, 0o777)):
        on_node(c, kind, BOB, OTHERS, mode, NODE_CALLS, 0)
        on_node(c, kind, ALICE, TEAM, mode, NODE_CALLS, ALICE)
    c.done()


# ---- set-id bits -------------------------------------------------------------------------------

def mapped(fd):
    with mmap.mmap(fd, 4) as view:
        view[0:1] = b"m"
        view.flush()


def copied(fd):
    return os.copy_file_range(fd, fd, 1, 0, 2)


WRITING_CALLS = {
    "write": opened(os.O_WRONLY, lambda fd: os.write(fd, b"new")),
    "write nothing": opened(os.O_WRONLY, lambda fd: os.write(fd, b"")),
    "append": opened(os.O_WRONLY | os.O_APPEND, lambda fd: os.write(fd, b"new")),
    "pwrite": opened(os.O_RDWR, lambda fd: os.pwrite(fd, b"new", 100)),
    "write twice, synced": opened(os.O_RDWR, lambda fd: (os.write(fd, b"1"), os.fsync(fd), os.write(fd, b"2"))),
    "truncate": lambda p: os.truncate(p, 2),
    "truncate to the same": lambda p: os.truncate(p, 4),
    "ftruncate": opened(os.O_WRONLY, lambda fd: os.ftruncate(fd, 2)),
    "open to truncate": opened(os.O_WRONLY | os.O_TRUNC),
    "fallocate": opened(os.O_WRONLY, lambda fd: raw_fallocate(fd, 0, 0, 100)),
    "fallocate past the end": opened(os.O_WRONLY, lambda fd: raw_fallocate(fd, 1, 0, 100)),
    "punch": opened(os.O_WRONLY, lambda fd: raw_fallocate(fd, 3, 0, 2)),
    "copy_file_range": opened(os.O_RDWR, copied),
    "mapping": opened(os.O_RDWR, mapped),
    "read": opened(os.O_RDONLY, lambda fd: os.read(fd, 4)),
    "fchmod": opened(os.O_RDONLY, lambda fd: os.fchmod(fd, 0o6755)),
    "chown to none": lambda p: os.chown(p, -1, -1),
    "chown to the same": lambda p: os.chown(p, ALICE, -1),
    "chgrp to my team": lambda p: os.chown(p, -1, TEAM),
    "lchown": lambda p: os.lchown(p, -1, TEAM),
    "chown by root": lambda p: os.chown(p, BOB, OTHERS),
    "set xattr": lambda p: os.setxattr(p, "user.name", b"value"),
    "touch": lambda p: os.utime(p, None),
    "link": lambda p: os.link(p, p + "y") or os.unlink(p + "y"),
    "rename": lambda p: os.rename(p, p + "y") or os.rename(p + "y", p),
}


def test_what_clears_set_id_bits(lab):
    c = Comparison(lab, "setid")
    for root in c.roots:
        os.chmod(root, 0o777)
    for mode, (uid, gid) in itertools.product((0o4777, 0o2777, 0o6767, 0o6766, 0o7777),
                                              ((ALICE, ALICE), (ALICE, OTHERS), (BOB, TEAM))):
        if gid == OTHERS and mode & 0o2010 == 0o2000:
            continue  # set-gid without execution, by a stranger to the group: FUSE's kernel side keeps it
        on_node(c, "file", uid, gid, mode, WRITING_CALLS, ALICE)
    for mode, kind in itertools.product((0o6777, 0o2767), ("file", "dir")):
        on_node(c, kind, ALICE, OTHERS, mode, WRITING_CALLS, 0)
        on_node(c, kind, ALICE, TEAM, mode, WRITING_CALLS, ALICE)
    c.done()


# ---- times -------------------------------------------------------------------------------------
# Not compared, for file systems differ: chown to nobody (-1, -1), an attribute set to what it is, and
# space set aside past the end.

def written(path, flags, *calls):
    fd = os.open(path, flags)
    for call in calls:
        call(fd)
    os.close(fd)


TIME_CALLS = {
    "create": lambda r: os.close(os.open(f"{r}/a/new", os.O_CREAT | os.O_WRONLY)),
    "mkdir": lambda r: os.mkdir(f"{r}/a/new"),
    "mkfifo": lambda r: os.mkfifo(f"{r}/a/new"),
    "symlink": lambda r: os.symlink("x", f"{r}/a/new"),
    "link": lambda r: os.link(f"{r}/a/file", f"{r}/b/new"),
    "unlink": lambda r: os.unlink(f"{r}/a/file"),
    "unlink one of two": lambda r: os.unlink(f"{r}/a/twice"),
    "rmdir": lambda r: os.rmdir(f"{r}/a/empty"),
    "rename": lambda r: os.rename(f"{r}/a/file", f"{r}/a/new"),
    "rename to another directory": lambda r: os.rename(f"{r}/a/file", f"{r}/b/new"),
    "rename a directory": lambda r: os.rename(f"{r}/a/empty", f"{r}/a/new"),
    "move a directory": lambda r: os.rename(f"{r}/a/empty", f"{r}/b/new"),
    "rename over one of two": lambda r: os.rename(f"{r}/a/file", f"{r}/a/twice"),
    "rename over the same": lambda r: os.rename(f"{r}/a/twice", f"{r}/b/twice"),
    "rename to itself": lambda r: os.rename(f"{r}/a/file", f"{r}/a/file"),
    "rename over a directory": lambda r: os.rename(f"{r}/a/empty", f"{r}/b/empty"),
    "exchange": lambda r: raw_renameat2(f"{r}/a/file", f"{r}/b/empty", EXCHANGE),
    "exchange in one": lambda r: raw_renameat2(f"{r}/a/file", f"{r}/a/empty", EXCHANGE),
    "chmod": lambda r: os.chmod(f"{r}/a/file", 0o600),
    "chmod to the same": lambda r: os.chmod(f"{r}/a/file", 0o644),
    "chmod a directory": lambda r: os.chmod(f"{r}/a", 0o700),
    "chown": lambda r: os.chown(f"{r}/a/file", 1, 1),
    "chown to the same": lambda r: os.chown(f"{r}/a/file", 0, 0),
    "lchown": lambda r: os.lchown(f"{r}/a/symlink", 1, 1),
    "truncate": lambda r: os.truncate(f"{r}/a/file", 1),
    "truncate to more": lambda r: os.truncate(f"{r}/a/file", 100),
    "truncate to the same": lambda r: os.truncate(f"{r}/a/file", 4),
    "ftruncate": lambda r: written(f"{r}/a/file", os.O_WRONLY, lambda fd: os.ftruncate(fd, 1)),
    "ftruncate to the same": lambda r: written(f"{r}/a/file", os.O_WRONLY, lambda fd: os.ftruncate(fd, 4)),
    "open to truncate": lambda r: written(f"{r}/a/file", os.O_WRONLY | os.O_TRUNC),
    "open to truncate what is empty": lambda r: written(f"{r}/a/nothing", os.O_WRONLY | os.O_TRUNC),
    "open what is there": lambda r: written(f"{r}/a/file", os.O_WRONLY | os.O_CREAT),
    "write": lambda r: written(f"{r}/a/file", os.O_WRONLY, lambda fd: os.write(fd, b"new")),
    "write nothing": lambda r: written(f"{r}/a/file", os.O_WRONLY, lambda fd: os.write(fd, b"")),
    "write and sync": lambda r: written(f"{r}/a/file", os.O_WRONLY, lambda fd: os.write(fd, b"new"), os.fsync),
    "sync": lambda r: written(f"{r}/a/file", os.O_WRONLY, os.fsync),
    "fallocate": lambda r: written(f"{r}/a/file", os.O_WRONLY, lambda fd: raw_fallocate(fd, 0, 0, 100)),
    "punch": lambda r: written(f"{r}/a/file", os.O_WRONLY, lambda fd: raw_fallocate(fd, 3, 0, 2)),
    "zero": lambda r: written(f"{r}/a/file", os.O_WRONLY, lambda fd: raw_fallocate(fd, 16, 0, 2)),
    "copy_file_range": lambda r: written(f"{r}/a/file", os.O_RDWR, copied),
    "mapping": lambda r: written(f"{r}/a/file", os.O_RDWR, mapped),
    "set xattr": lambda r: os.setxattr(f"{r}/a/file", "user.new", b"1"),
    "replace xattr": lambda r: os.setxattr(f"{r}/a/file", "user.there", b"2"),
    "remove xattr": lambda r: os.removexattr(f"{r}/a/file", "user.there"),
    "set xattr of a directory": lambda r: os.setxattr(f"{r}/a", "user.new", b"1"),
    "touch": lambda r: os.utime(f"{r}/a/file", None),
    "touch a directory": lambda r: os.utime(f"{r}/a", None),
    "set times": lambda r: os.utime(f"{r}/a/file", ns=(5, 7)),
    "set times of a symlink": lambda r: os.utime(f"{r}/a/symlink", ns=(5, 7), follow_symlinks=False),
    "stat": lambda r: os.stat(f"{r}/a/file"),
    "open and close": lambda r: written(f"{r}/a/file", os.O_RDWR),
    "failed unlink": lambda r: outcome(os.unlink, f"{r}/a/empty"),
    "failed rmdir": lambda r: outcome(os.rmdir, f"{r}/a"),
    "failed mkdir": lambda r: outcome(os.mkdir, f"{r}/a/file"),
    "failed create": lambda r: outcome(os.open, f"{r}/a/file", os.O_CREAT | os.O_EXCL),
    "failed rename": lambda r: outcome(os.rename, f"{r}/b", f"{r}/a"),
    "failed rename over a directory": lambda r: outcome(os.rename, f"{r}/a/file", f"{r}/b/empty"),
    "failed link": lambda r: outcome(os.link, f"{r}/a/file", f"{r}/b/twice"),
    "failed noreplace": lambda r: outcome(raw_renameat2, f"{r}/a/file", f"{r}/b/twice", NOREPLACE),
    "failed set xattr": lambda r: outcome(os.setxattr, f"{r}/a/file", "user.there", b"2", os.XATTR_CREATE),
    "failed remove xattr": lambda r: outcome(os.removexattr, f"{r}/a/file", "user.none"),
    "failed truncate": lambda r: outcome(os.truncate, f"{r}/a", 1),
    "failed write": lambda r: written(f"{r}/a/file", os.O_RDONLY, lambda fd: outcome(os.write, fd, b"1")),
}


def times(root):
    """inode -> its times; a node that moved is still the same."""
    found = {}
    for where, dirs, files in os.walk(root):
        for path in [where] + [os.path.join(where, name) for name in dirs + files]:
            st = os.lstat(path)
            found[st.st_ino] = (st.st_mtime_ns, st.st_ctime_ns)
    return found


def moved(root, call):
    root += "/case"
    for name in ("", "a", "b", "a/empty", "b/empty"):
        os.mkdir(f"{root}/{name}")
    make(f"{root}/a/file", "file")
    make(f"{root}/a/nothing", "file", data=b"")
    make(f"{root}/a/twice", "file")
    os.link(f"{root}/a/twice", f"{root}/b/twice")
    os.symlink("x", f"{root}/a/symlink")
    os.setxattr(f"{root}/a/file", "user.there", b"1")
    names = {os.lstat(p).st_ino: p[len(root):]  # of two names, the last
             for p in sorted(p for w, d, f in os.walk(root) for p in [w] + [f"{w}/{n}" for n in d + f])}
    before = times(root)
    time.sleep(CLOCK_STEP)
    result = outcome(call, root)
    time.sleep(CLOCK_STEP)
    after = times(root)
    shutil.rmtree(root)
    changes = {}
    for ino, (mtime, ctime) in before.items():
        if ino in after:
            what = ("m" if after[ino][0] != mtime else "") + ("c" if after[ino][1] != ctime else "")
            if after[ino][1] < ctime:
                what += " (ctime went back)"
            if what:
                changes[names[ino]] = what
    return result[0], changes, len(after)


def test_which_times_move(lab):
    c = Comparison(lab, "times")
    for name, call in TIME_CALLS.items():
        c.compare(name, lambda root: moved(root, call))
    c.done()


if __name__ == "__main__":
    labtest.main(globals(), each_seconds=900, mounts=1, owner="identity", store="mem")
