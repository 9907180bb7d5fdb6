#!/usr/bin/env python3
"""Large files and large directories on a real mount: whole, on both mounts, in bounded memory.

LINKSPAN_BIG="MIB,ENTRIES" sets the sizes (192,4000 unless set); "full" is 1024,100000: a file of
1 GiB and a directory of 100,000 entries, half an hour on a small machine.
"""
import hashlib
import os
import pathlib
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
import labtest  # noqa: E402
from labtest import check, equal, sh  # noqa: E402

MIB = 1 << 20
WANTED = os.environ.get("LINKSPAN_BIG", "192,4000")
FILE_MIB, ENTRIES = map(int, ("1024,100000" if WANTED == "full" else WANTED).split(","))
RESIDENT_MIB = 256  # of the mount, and of the router, at most
PATIENCE = 1200     # seconds for one command, which a hung mount would not end


def resident(lab):
    """The most memory that each program had, in MiB."""
    found = {}
    pids = lab.info["pids"]
    for name, pid in [("router", pids["router"])] + [(f"mount {i}", p) for i, p in enumerate(pids["mounts"])]:
        status = pathlib.Path(f"/proc/{pid}/status").read_text()
        found[name] = int(status.split("VmHWM:")[1].split()[0]) // 1024
    return found


def check_memory(lab, what):
    found = resident(lab)
    print(f"  memory after {what}: " + ", ".join(f"{k} {v} MiB" for k, v in found.items()), flush=True)
    for name, mib in found.items():
        check(mib < RESIDENT_MIB, f"{name} took {mib} MiB for {what}")


def timed(what, command):
    begun = time.monotonic()
    out = sh(command, timeout=PATIENCE)
    print(f"  {what}: {time.monotonic() - begun:.1f} s", flush=True)
    return out


def stored_bytes(lab):
    tables = sh(f"psql -qAt '{lab.info['postgres']}' -c \"SELECT sum(pg_total_relation_size(c.oid)) FROM pg_class c "
                "JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'linkspan' AND c.relkind = 'r'\"")
    return int(tables)


def digest(path):
    return timed(f"sha256sum of {path.split('/', 3)[-1]}", f"sha256sum < {path}").split()[0]


def test_a_large_file(lab):
    source = f"{lab.base}/source"
    expected = hashlib.sha256()
    with open(source, "wb") as file:
        for _ in range(FILE_MIB // 8):
            block = os.urandom(8 * MIB)
            expected.update(block)
            file.write(block)
    here, there = (f"{m}/scratch/large" for m in lab.mounts)
    timed(f"dd of {FILE_MIB} MiB with fsync", f"dd if={source} of={here} bs=1M conv=fsync status=none")
    os.unlink(source)
    equal(os.stat(there).st_size, FILE_MIB * MIB)
    equal(digest(there), expected.hexdigest(), "what the other mount reads")
    check_memory(lab, "the large file")
    # The same in one piece: one commit, and all its bytes between two others.
    timed("rewritten, closed at once", f"cp --sparse=never {there} {here}.copy")
    equal(digest(f"{there}.copy"), expected.hexdigest(), "the copy")
    check_memory(lab, "its copy")


def test_one_byte_of_a_large_file_costs_little(lab):
    size = min(200, FILE_MIB) * MIB
    here, there = (f"{m}/scratch/patched" for m in lab.mounts)
    sh(f"dd if=/dev/urandom of={here} bs=1M count={size // MIB} conv=fsync status=none", timeout=PATIENCE)
    before = stored_bytes(lab)
    begun = time.monotonic()
    for i in range(10):
        fd = os.open(here, os.O_RDWR)
        os.pwrite(fd, bytes([i]), size // 2 + i * MIB)
        os.fsync(fd)
        os.close(fd)
    grown = stored_bytes(lab) - before
    print(f"  10 bytes of {size // MIB} MiB: {grown} bytes of tables, {time.monotonic() - begun:.2f} s", flush=True)
    check(grown < 256 << 10, f"10 changed bytes made the tables grow by {grown} bytes")
    fd = os.open(there, os.O_RDONLY)
    equal([os.pread(fd, 1, size // 2 + i * MIB) for i in range(10)], [bytes([i]) for i in range(10)])
    os.close(fd)
    check_memory(lab, "ten patches")


def test_a_large_directory(lab):
    here, there = (f"{m}/scratch/wide" for m in lab.mounts)
    os.mkdir(here)
    begun = time.monotonic()
    for i in range(ENTRIES):
        os.close(os.open(f"{here}/entry-{i:06}", os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))
    print(f"  {ENTRIES} files created: {time.monotonic() - begun:.1f} s", flush=True)
    check_memory(lab, "creating")
    for name, path in (("here", here), ("there", there)):
        equal(int(timed(f"ls -f {name}", f"ls -f {path} | wc -l")), ENTRIES + 2)
        equal(int(timed(f"ls -l {name}", f"ls -l {path} | wc -l")), ENTRIES + 1)
    begun = time.monotonic()
    step = max(1, ENTRIES // 5000)
    for i in range(0, ENTRIES, step):
        equal(os.stat(f"{there}/entry-{i:06}").st_size, 0)
    check(not os.path.exists(f"{there}/entry-{ENTRIES:06}"))
    print(f"  {ENTRIES // step} lookups there: {time.monotonic() - begun:.1f} s", flush=True)
    check_memory(lab, "listing")
    timed("rm -r", f"rm -r {here}")
    check(not os.path.exists(there))
    check_memory(lab, "removing")


if __name__ == "__main__":
    labtest.main(globals(), each_seconds=3600, mounts=2)
