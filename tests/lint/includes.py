#!/usr/bin/env python3
"""Reads every #include and keeps the layers of ARCHITECTURE.md one way.

Exits 1 and names file, line and the rule for each violation.
"""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]

# folder -> folders (and "linkspan/" for the contract) that it may include from. A folder may always
# include itself. The longest matching folder of a file decides.
ALLOWED = {
    "proto/linkspan": ["linkspan/"],
    "fusefs/client": ["linkspan/"],
    "fusefs/cache": ["linkspan/", "fusefs/client/router_client.h"],
    "fusefs/vfs": ["linkspan/", "fusefs/cache/", "fusefs/client/router_client.h"],
    "fusefs/local": ["linkspan/"],
    "fusefs/fuse": ["linkspan/", "fusefs/vfs/vfs.h", "fusefs/local/", "fusefs/client/router_client.h"],
    "fusefs/cli": ["linkspan/", "fusefs/fuse/", "fusefs/vfs/vfs.h", "fusefs/client/", "fusefs/local/"],
    "routerd/store": ["linkspan/"],
    "routerd/store/mem": ["linkspan/", "routerd/store/"],
    "routerd/store/pg": ["linkspan/", "routerd/store/store.h", "routerd/store/checks.h",
                         "routerd/store/data_ranges.h", "routerd/store/logged_path.h"],
    "routerd/core": ["linkspan/", "routerd/store/store.h", "routerd/store/checks.h"],
    "routerd/rpc": ["linkspan/", "routerd/core/router.h", "routerd/store/store.h"],
    "routerd": ["linkspan/", "routerd/"],
    "harness": ["linkspan/"],
}

# header pattern -> the only places that may include it (tests may include anything).
ONLY = [
    (r"fuse.*\.h", re.compile(r"^(fuse3?/.*|fuse_lowlevel\.h|fuse\.h)$"), ["fusefs/fuse/"]),
    ("libpq-fe.h", re.compile(r"^(libpq-fe\.h|postgresql/.*)$"), ["routerd/store/pg/"]),
    ("generated protobuf", re.compile(r"\.pb\.h$"),
     ["proto/linkspan/convert", "fusefs/client/", "routerd/rpc/"]),
    ("gRPC", re.compile(r"^grpc(pp)?/"), ["proto/linkspan/convert", "fusefs/client/", "routerd/rpc/"]),
    ("libgit2", re.compile(r"^git2"), ["routerd/core/", "fusefs/cli/patch.cc"]),
]

INCLUDE = re.compile(r'^\s*#\s*include\s+[<"]([^">]+)[">]')


def folder_rules(path):
    best = None
    for folder in ALLOWED:
        if path.startswith(folder + "/") and (best is None or len(folder) > len(best)):
            best = folder
    return best


def main():
    problems = []
    files = 0
    for top in ("proto", "fusefs", "routerd", "harness"):
        for file in sorted((ROOT / top).rglob("*")):
            if file.suffix not in (".h", ".cc"):
                continue
            files += 1
            path = file.relative_to(ROOT).as_posix()
            folder = folder_rules(path)
            if folder is None:
                problems.append(f"{path}:1: no layer is known for this folder; add it to ALLOWED")
                continue
            for number, line in enumerate(file.read_text(errors="replace").splitlines(), 1):
                match = INCLUDE.match(line)
                if not match:
                    continue
                header = match.group(1)
                for name, pattern, places in ONLY:
                    if pattern.search(header) and not any(path.startswith(p) for p in places):
                        problems.append(f"{path}:{number}: {name} ({header}) belongs to {', '.join(places)} only")
                ours = header.startswith(("fusefs/", "routerd/", "harness/", "tests/"))
                if ours and not header.startswith(folder + "/") and not any(
                        header.startswith(a) for a in ALLOWED[folder]):
                    problems.append(f"{path}:{number}: {folder} may not include {header}")
    for problem in problems:
        print(problem)
    print(f"{files} files read, {len(problems)} violations")
    if files == 0:
        print("no source was found: the test looked in the wrong place")
        return 1
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
