#!/usr/bin/env python3
"""The workspace served through FUSE, where it cannot be a bind mount: the same POSIX checks, random
operations and programs as on a route, and what is its own: nothing leads out of the directory, and
changes behind the mount are seen at once.
"""
import errno
import importlib.util
import mmap
import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
import differential  # noqa: E402
import fsx  # noqa: E402
import labtest  # noqa: E402
import permissions  # noqa: E402
import programs  # noqa: E402
from labtest import check, equal, errno_of, sh  # noqa: E402

# Not "import posix": that is a module of Python's own.
SPEC = importlib.util.spec_from_file_location("posix_checks", os.path.join(os.path.dirname(__file__), "posix.py"))
posix_checks = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(posix_checks)

# Checks that are about routes, a second mount, or quotas, or that the filesystem beneath decides
# (ext4 keeps 4 KiB of attributes).
NOT_LOCAL = {"test_read_only_route", "test_statfs_has_real_numbers", "test_rename_rules",
             "test_link_counts_and_errors", "test_xattrs", "test_workspace_is_local",
             "test_inodes_and_birth_time_are_stable", "test_control_files_answer", "test_relatime",
             "test_devices_are_refused",
             # how finely holes are told is the local file system's
             "test_sparse_files", "test_copies_of_sparse_files_stay_sparse"}


class Passthrough:
    """A directory and its mount; enough of a lab for the other tests."""

    def __init__(self):
        self.base = tempfile.mkdtemp(prefix="lsp-local-", dir="/var/tmp")
        os.chmod(self.base, 0o755)
        self.source, self.mount = f"{self.base}/beneath", f"{self.base}/mount"
        for path in (self.source, self.mount, f"{self.source}/memory", f"{self.source}/scratch"):
            os.mkdir(path)
        program = f"{labtest.BUILD}/tests/support/local-mount"
        self.server = subprocess.Popen([program, self.source, self.mount], stdin=subprocess.PIPE,
                                       stdout=subprocess.PIPE, text=True)
        equal(self.server.stdout.readline(), "ready\n")
        self.mounts = [self.mount, self.mount]

    def logs(self):
        return ""

    def down(self):
        self.server.stdin.close()
        equal(self.server.wait(timeout=60), 0, "local-mount's exit status")
        check(not os.path.ismount(self.mount), "still mounted")
        sh(f"rm -rf {self.base}")


def test_changes_behind_the_mount_are_seen_at_once(lab):
    name = "behind"
    for i in range(200):
        with open(f"{lab.source}/{name}", "w") as file:
            file.write(f"{i}" * 3)
        with open(f"{lab.mount}/{name}") as file:
            equal(file.read(), f"{i}" * 3)
        equal(os.stat(f"{lab.mount}/{name}").st_size, len(f"{i}" * 3))
        os.rename(f"{lab.source}/{name}", f"{lab.source}/{name}2")
        equal(errno_of(os.stat, f"{lab.mount}/{name}"), errno.ENOENT)
        check(os.path.exists(f"{lab.mount}/{name}2"))
        os.unlink(f"{lab.source}/{name}2")


def test_symlinks_are_the_callers_to_follow(lab):
    os.symlink("/etc/hostname", f"{lab.mount}/absolute")
    os.symlink("../../../../../../etc/hostname", f"{lab.mount}/climbing")
    for name in ("absolute", "climbing"):
        check(os.path.islink(f"{lab.mount}/{name}"))
        equal(errno_of(os.open, f"{lab.mount}/{name}", os.O_RDONLY | os.O_NOFOLLOW), errno.ELOOP)
    equal(open(f"{lab.mount}/absolute").read(), open("/etc/hostname").read())
    os.link(f"{lab.mount}/absolute", f"{lab.mount}/hard", follow_symlinks=False)
    equal(os.readlink(f"{lab.mount}/hard"), "/etc/hostname")
    equal(os.lstat(f"{lab.mount}/hard").st_nlink, 2)


def test_directory_swapped_for_a_symlink_leads_nowhere(lab):
    os.makedirs(f"{lab.mount}/real/inner")
    held = os.open(f"{lab.mount}/real", os.O_RDONLY)
    os.rename(f"{lab.source}/real", f"{lab.source}/moved")
    os.symlink("/etc", f"{lab.source}/real")
    check(os.path.islink(f"{lab.mount}/real"), "a fresh look-up sees the symlink")
    equal(errno_of(os.open, "hostname", os.O_RDONLY, dir_fd=held), errno.ENOENT)
    equal(os.listdir(held), ["inner"])
    os.close(held)


def test_mapping_is_shared_with_the_file_beneath(lab):
    with open(f"{lab.mount}/mapped", "w+b") as file:
        file.write(b"\0" * 8192)
        file.flush()
        with mmap.mmap(file.fileno(), 8192) as view:
            view[5000:5005] = b"hello"
            view.flush()
    with open(f"{lab.source}/mapped", "rb") as file:
        equal(file.read()[5000:5005], b"hello")


def test_descriptors_are_given_back(lab):
    def used():
        return len(os.listdir(f"/proc/{lab.server.pid}/fd"))
    sh(f"mkdir {lab.mount}/many; cd {lab.mount}/many; for i in $(seq 500); do echo $i > $i; done; "
       "cat * | wc -l; ls -l | wc -l")
    sh(f"rm -rf {lab.mount}/many; sync; echo 2 > /proc/sys/vm/drop_caches")
    labtest.eventually(lambda: used() < 200, 20, "the kernel forgets what is gone")


def borrowed():
    """The other files' tests, as tests of this one."""
    found = {}
    for module in (posix_checks, permissions, differential, fsx, programs):
        for name, test in vars(module).items():
            if name.startswith("test_") and callable(test) and name not in NOT_LOCAL:
                found[f"{name}"] = test
    return found


if __name__ == "__main__":
    labtest.Lab = lambda **_: Passthrough()
    labtest.main({**globals(), **borrowed()}, each_seconds=300, passthrough=True)
