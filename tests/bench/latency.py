#!/usr/bin/env python3
"""Prints one table: operations on a mount beside a local directory, a bare gRPC echo and a bare
Postgres commit, medians from one interleaved run on one machine.

  tests/bench/latency.py [--rounds N] [--build DIR] [--json] [--route memory]
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
import labtest  # noqa: E402


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--build", default=labtest.BUILD)
    parser.add_argument("--route", default="memory")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    labtest.BUILD = arguments.build
    lab = labtest.Lab(mounts=1)
    try:
        local = tempfile.mkdtemp(prefix="latency-", dir=lab.base)
        socket = tempfile.mktemp(prefix="lsp-echo-", dir="/tmp")
        done = subprocess.run([f"{arguments.build}/tests/bench/latency", f"{lab.mounts[0]}/{arguments.route}/latency",
                               f"{local}/tree", lab.info["postgres"], socket, str(arguments.rounds)],
                              capture_output=True, text=True, timeout=1200)
        if done.returncode != 0:
            sys.exit(f"latency: {done.stderr}")
        figures = json.loads(done.stdout)
    finally:
        lab.down()
    if arguments.json:
        print(json.dumps(figures, indent=1))
        return
    echo, commit = figures["grpc_echo"]["bare_p50_us"], figures["pg_commit"]["bare_p50_us"]
    print(f"bare gRPC echo (unix socket) {echo:.0f} us, bare Postgres commit {commit:.0f} us "
          f"(p50, {arguments.rounds} rounds)\n")
    print(f"{'operation':<18}{'mount us':>10}{'p99':>10}{'local us':>10}{'x local':>9}{'x echo':>8}{'x (commit+echo)':>17}")
    for name, f in figures.items():
        if "mount_p50_us" in f:
            mount, local_us = f["mount_p50_us"], f["local_p50_us"]
            print(f"{name:<18}{mount:>10.1f}{f['mount_p99_us']:>10.1f}{local_us:>10.1f}{mount / local_us:>9.1f}"
                  f"{mount / echo:>8.2f}{mount / (commit + echo):>17.2f}")


if __name__ == "__main__":
    main()
