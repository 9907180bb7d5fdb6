"""What the router kept, read when all is quiet: each version of the files that were saved, rewritten or noted in,
and each write that was refused. Through the mounts' .linkspan/query, as `linkspan log` and `linkspan cat` do it,
but without a process for each of some thousand versions.

Who made something is told as "principal@sandbox".
"""
import concurrent.futures
import errno
import json
import os
import time

import worker

PAGE = 500
BUSY_SECONDS = 20


def ask(tree, **request):
    """The first line of the answer, and the bytes after it."""
    end = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            fd = os.open(f"{tree}/.linkspan/query", os.O_RDWR)
            try:
                os.write(fd, json.dumps(request).encode())
                text = b""
                while part := os.read(fd, 1 << 18):
                    text += part
            finally:
                os.close(fd)
            break
        except OSError as error:
            if error.errno != errno.EBUSY or time.monotonic() > end:
                raise
            time.sleep(0.02)
    line, _, data = text.partition(b"\n")
    header = json.loads(line)
    if not header["ok"]:
        raise RuntimeError(f"{request}: {header}")
    return header, data


def author(answer):
    return f"{answer['principal']}@{answer['sandbox']}"


class Kept:
    def __init__(self):
        self.versions = {}   # key -> [(author, content), ...], oldest first
        self.conflicts = {}  # key -> [(author, content), ...]

    def made(self, key, by):
        return [data for who, data in self.versions.get(key, ()) if who == by]

    def refused(self, key, by):
        return [data for who, data in self.conflicts.get(key, ()) if who == by]


class Reader:
    def __init__(self, mounts, folder):
        self.mounts, self.folder = mounts, folder

    def read(self, keys):
        kept = Kept()
        with concurrent.futures.ThreadPoolExecutor(len(self.mounts)) as pool:
            # Each mount is asked about some of the files.
            for part in pool.map(self.some, self.mounts, [keys[i::len(self.mounts)] for i in range(len(self.mounts))]):
                kept.versions |= part
        kept.conflicts = self.all_conflicts(self.mounts[0])
        return kept

    def some(self, tree, keys):
        return {key: self.all_versions(tree, *self.place(key)) for key in keys}

    def place(self, key):
        slot, name = key.split("/")
        if name.endswith(".md"):
            return "memory", f"{self.folder}/{key}"
        return "scratch", f"{self.folder}/{worker.still(slot) if name[0] == 'h' else slot}/{name}"

    @staticmethod
    def content(tree, route, ino, version):
        header, data = ask(tree, op="read", route=route, ino=ino, version=version, length=1 << 18)
        if header["size"] != len(data):
            raise RuntimeError(f"version {version} of {ino} has {header['size']} bytes, {len(data)} came")
        return data

    @staticmethod
    def listed(tree, route, ino):
        """Newest first."""
        found, before = [], 0
        while page := ask(tree, op="versions", route=route, ino=ino, before=before, limit=PAGE)[0]["versions"]:
            found += page
            before = page[-1]["version"]
            if before <= 1:
                break
        return found

    def all_versions(self, tree, route, path):
        ino = os.stat(f"{tree}/{route}/{path}").st_ino
        infos = self.listed(tree, route, ino)
        told = {(v["ino"], v["version"]) for v in infos}
        versions = [(author(v), self.content(tree, route, ino, v["version"])) for v in reversed(infos)]
        # What was written through a descriptor whose file was replaced meanwhile is that file's.
        for replaced in sorted({v["ino"] for v in infos} - {ino}):
            later = [v for v in self.listed(tree, route, replaced) if (v["ino"], v["version"]) not in told]
            versions += [(author(v), self.content(tree, route, replaced, v["version"])) for v in reversed(later)]
        return versions

    def all_conflicts(self, tree):
        found, after = {}, 0
        while True:
            header, _ = ask(tree, op="conflicts", after=after, limit=PAGE)
            for c in header["conflicts"]:
                folder, _, key = c["path"].partition("/")
                if folder == self.folder:
                    data = self.content(tree, c["volume"], c["theirs"], 0)
                    found.setdefault(key, []).append((author(c), data))
            after = header["next"]
            if not after:
                return found
