#!/usr/bin/env python3
"""Every C++ file is as clang-format makes it. Its versions differ in small things: only Debian 12's is asked, which the gate has."""
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
VERSION = "14"

try:
    said = subprocess.run(["clang-format", "--version"], capture_output=True, text=True, check=True).stdout
except FileNotFoundError:
    sys.exit("clang-format is missing: apt-get install clang-format")
if (found := re.search(r"version (\d+)", said)[1]) != VERSION:
    print(f"clang-format is {found}, the sources follow {VERSION}: not looked at")
    sys.exit(0)
files = sorted(str(path.relative_to(ROOT)) for top in ("fusefs", "routerd", "proto", "tests")
               for path in (ROOT / top).rglob("*") if path.suffix in (".h", ".cc"))
assert len(files) > 300, f"only {len(files)} files under {ROOT}"
done = subprocess.run(["clang-format", "--dry-run", "-Werror", *files], cwd=ROOT, capture_output=True, text=True)
if done.returncode:
    wrong = sorted(set(re.findall(r"^(\S+?):\d+", done.stderr, re.M)))
    sys.exit("not formatted; run: clang-format -i " + " ".join(wrong or ["(see below)\n" + done.stderr[-2000:]]))
print(f"{len(files)} files")
