#!/usr/bin/env python3
"""One file under random reads, writes, mappings, truncations and holes, against a byte array.

Prints its seed; LINKSPAN_SEED repeats it, LINKSPAN_STEPS sets how far. Every few steps the file is
closed and opened again, synced, or compared whole, also from the second mount.
"""
import ctypes
import mmap
import os
import random
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
import labtest  # noqa: E402
from labtest import check, equal  # noqa: E402

STEPS = int(os.environ.get("LINKSPAN_STEPS", "3000"))
MAX = 600_000
LIBC = ctypes.CDLL(None, use_errno=True)


class Exerciser:
    def __init__(self, path, rng, other):
        self.path, self.rng, self.other = path, rng, other
        self.model = bytearray()
        self.fd = os.open(path, os.O_CREAT | os.O_RDWR | os.O_TRUNC, 0o644)
        self.log = []

    def span(self, end):
        at = self.rng.randrange(end)
        length = self.rng.choice([1, 10, 511, 4096, 4097, 65536, 100_000])
        return at, min(length, end - at)

    def do_write(self):
        at, length = self.span(MAX)
        data = self.rng.randbytes(length)
        self.log.append(f"write {at} {length}")
        equal(os.pwrite(self.fd, data, at), length)
        if len(self.model) < at:
            self.model.extend(b"\0" * (at - len(self.model)))
        self.model[at:at + length] = data

    def do_read(self):
        at, length = self.span(MAX)
        self.log.append(f"read {at} {length}")
        self.same(os.pread(self.fd, length, at), self.model[at:at + length], at)

    def same(self, got, want, at):
        if got != want:
            first = next((i for i, (a, b) in enumerate(zip(got, want)) if a != b), min(len(got), len(want)))
            raise AssertionError(f"differs at {at + first}: lengths {len(got)}, {len(want)}; "
                                 f"last steps: {self.log[-25:]}")

    def do_map_write(self):
        if not self.model:
            return
        at, length = self.span(len(self.model))
        self.log.append(f"mapwrite {at} {length}")
        data = self.rng.randbytes(length)
        with mmap.mmap(self.fd, len(self.model)) as mapped:
            mapped[at:at + length] = data
            if self.rng.random() < .5:
                mapped.flush()
        self.model[at:at + length] = data

    def do_map_read(self):
        if not self.model:
            return
        at, length = self.span(len(self.model))
        self.log.append(f"mapread {at} {length}")
        with mmap.mmap(self.fd, len(self.model), prot=mmap.PROT_READ) as mapped:
            self.same(mapped[at:at + length], self.model[at:at + length], at)

    def do_truncate(self):
        size = self.rng.randrange(MAX)
        self.log.append(f"truncate {size}")
        os.ftruncate(self.fd, size) if self.rng.random() < .7 else os.truncate(self.path, size)
        del self.model[size:]
        self.model.extend(b"\0" * (size - len(self.model)))

    def do_punch(self):
        at, length = self.span(MAX)
        self.log.append(f"punch {at} {length}")
        if LIBC.fallocate(self.fd, 3, ctypes.c_long(at), ctypes.c_long(length)) != 0:
            raise OSError(ctypes.get_errno(), "fallocate")
        end = min(at + length, len(self.model))
        if end > at:
            self.model[at:end] = b"\0" * (end - at)

    def do_reopen(self):
        self.log.append("reopen")
        os.close(self.fd)
        self.fd = os.open(self.path, os.O_RDWR)
        equal(os.fstat(self.fd).st_size, len(self.model), "size after reopening")

    def do_fsync(self):
        self.log.append("fsync")
        os.fsync(self.fd)

    def do_elsewhere(self):
        """What a second mount reads after fsync is the whole file."""
        self.do_fsync()
        self.log.append("elsewhere")
        with open(self.other, "rb") as file:
            self.same(file.read(), self.model, 0)

    def do_check(self):
        self.log.append("check")
        equal(os.fstat(self.fd).st_size, len(self.model), "size")
        self.same(os.pread(self.fd, MAX + 1, 0), self.model, 0)

    def run(self, steps):
        verbs = ["write", "read", "map_write", "map_read", "truncate", "punch", "reopen", "fsync", "elsewhere", "check"]
        for _ in range(steps):
            getattr(self, "do_" + self.rng.choices(verbs, [20, 20, 10, 10, 6, 4, 4, 3, 3, 3])[0])()
        self.do_reopen()
        self.do_elsewhere()
        os.close(self.fd)


def exercise(lab, route):
    number = labtest.seed()
    path = f"{route}/fsx"
    Exerciser(f"{lab.mounts[0]}/{path}", random.Random(number), f"{lab.mounts[1]}/{path}").run(STEPS)


def test_memory_route(lab):
    exercise(lab, "memory")


def test_last_writer_wins_route(lab):
    exercise(lab, "scratch")


def test_several_processes_on_several_files(lab):
    number = labtest.seed()
    children = []
    for i in range(4):
        pid = os.fork()
        if pid == 0:
            try:
                path = f"scratch/fsx-{i}"
                Exerciser(f"{lab.mounts[i % 2]}/{path}", random.Random(number + i),
                          f"{lab.mounts[1 - i % 2]}/{path}").run(STEPS // 4)
                os._exit(0)
            except BaseException as error:  # noqa: BLE001
                print(f"  process {i}: {error}", flush=True)
                os._exit(1)
        children.append(pid)
    check([os.waitpid(pid, 0)[1] for pid in children] == [0] * 4, "a process failed")


if __name__ == "__main__":
    labtest.main(globals(), each_seconds=600, mounts=2)
