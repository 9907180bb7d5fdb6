"""inotify(7) for tests, over libc.

As a program, `inotify.py SECONDS PATH...` watches and prints one JSON line "ready", then one for each
event: [path watched, [names of bits], name, seconds since the epoch].
"""
import ctypes
import json
import os
import select
import struct
import sys
import time

LIBC = ctypes.CDLL(None, use_errno=True)
BITS = {0x1: "ACCESS", 0x2: "MODIFY", 0x4: "ATTRIB", 0x8: "CLOSE_WRITE", 0x10: "CLOSE_NOWRITE", 0x20: "OPEN",
        0x40: "MOVED_FROM", 0x80: "MOVED_TO", 0x100: "CREATE", 0x200: "DELETE", 0x400: "DELETE_SELF",
        0x800: "MOVE_SELF", 0x2000: "UNMOUNT", 0x4000: "Q_OVERFLOW", 0x8000: "IGNORED", 0x40000000: "ISDIR"}
# Without what only looking at things raises: ACCESS, OPEN, CLOSE_NOWRITE.
CHANGES = 0x2 | 0x4 | 0x8 | 0x40 | 0x80 | 0x100 | 0x200 | 0x400 | 0x800


class Watch:
    """Watches paths; events are (path watched, set of bits, name)."""

    def __init__(self, *paths, mask=CHANGES):
        self.fd = LIBC.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        self.paths = {}
        self.seen = []
        for path in paths:
            self.add(path, mask)

    def add(self, path, mask=CHANGES):
        wd = LIBC.inotify_add_watch(self.fd, os.fsencode(path), mask)
        if wd < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), path)
        self.paths[wd] = path

    def close(self):
        os.close(self.fd)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def read(self, seconds):
        """The events of the next so many seconds at most; returns when there are some."""
        if not select.select([self.fd], [], [], max(seconds, 0))[0]:
            return []
        data, events = os.read(self.fd, 1 << 16), []
        while data:
            wd, mask, _, length = struct.unpack_from("iIII", data)
            name = os.fsdecode(data[16:16 + length].rstrip(b"\0"))
            events.append((self.paths.get(wd), {text for bit, text in BITS.items() if mask & bit}, name))
            data = data[16 + length:]
        self.seen += events
        return events

    def until(self, wanted, seconds):
        """Reads until `wanted` (a list of (bit, name)) were seen, in any order; how long that took."""
        begun = time.monotonic()
        missing = list(wanted)
        got = []
        while missing:
            left = begun + seconds - time.monotonic()
            events = self.read(left) if left > 0 else []
            if not events and time.monotonic() >= begun + seconds:
                raise AssertionError(f"not within {seconds} s: {missing}; seen {got}")
            got += events
            for _, bits, name in events:
                missing = [(bit, want) for bit, want in missing if not (bit in bits and want == name)]
        return time.monotonic() - begun

    def drain(self, quiet):
        """Reads until nothing comes for `quiet` seconds; all of it."""
        events = []
        while True:
            more = self.read(quiet)
            if not more:
                return events
            events += more


def main():
    watch = Watch(*sys.argv[2:])
    print(json.dumps("ready"), flush=True)
    end = time.monotonic() + float(sys.argv[1])
    while time.monotonic() < end:
        for path, bits, name in watch.read(end - time.monotonic()):
            print(json.dumps([path, sorted(bits), name, time.time()]), flush=True)


if __name__ == "__main__":
    main()
