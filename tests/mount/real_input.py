#!/usr/bin/env python3
"""Real input, by hand (not in meson; an hour and more on two cores): this repository is cloned with its history,
configured, built and tested, and a package of npm's is installed, in a lab's `memory` and `workspace` and beside
them on the local disk. Prints how long each took.

  tests/mount/real_input.py [--places local,memory,workspace] [--steps clone,configure,build,unit,mem,npm]

A step needs those before it: clone, configure, build, then unit and mem (conformance on the memory store); npm stands
alone. The build takes ccache as it is set up; `local` comes first, so that all others find what it put there. For
compile times set CCACHE_DISABLE=1. npm fetches once, untimed, into a cache that all places use.
"""
import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
import labtest  # noqa: E402
from labtest import ROOT, check, equal, sh  # noqa: E402

PLACES = ["local", "memory", "workspace"]
STEPS = ["clone", "configure", "build", "unit", "mem", "npm"]
PACKAGE = "express"
PATIENCE = 3 * 3600  # seconds for one step, which a hung mount would not end


def environment(folder):
    env = {k: v for k, v in os.environ.items() if k not in ("CXX", "CC") and not k.startswith("LINKSPAN_")}
    env.update(CCACHE_BASEDIR=f"{folder}/repo", CCACHE_NOHASHDIR="1", GIT_CONFIG_GLOBAL="/dev/null",
               npm_config_update_notifier="false")
    return env


def clone(folder, _npm_cache):
    sh(f"git -c safe.directory='*' clone -q --no-local {ROOT} repo", cwd=folder, env=environment(folder),
       timeout=PATIENCE)
    count = "git -c safe.directory='*' rev-list --count HEAD"
    equal(sh(count, cwd=f"{folder}/repo"), sh(count, cwd=ROOT), "commits")
    sh("git fsck --strict 2>&1; test -z \"$(git status --porcelain)\"", cwd=f"{folder}/repo", env=environment(folder),
       timeout=PATIENCE)


def in_repo(command):
    return lambda folder, _npm_cache: sh(command, cwd=f"{folder}/repo", env=environment(folder), timeout=PATIENCE)


def npm(folder, npm_cache):
    os.mkdir(f"{folder}/npm")
    sh(f"npm install --prefer-offline --no-audit --no-fund --cache {npm_cache} {PACKAGE}", cwd=f"{folder}/npm",
       env=environment(folder), timeout=PATIENCE)
    sh(f"node -e 'require(\"{PACKAGE}\")' && npm ls --all", cwd=f"{folder}/npm", env=environment(folder))


RUN = {
    "clone": clone,
    "configure": in_repo("meson setup build"),
    "build": in_repo("ninja -C build"),
    "unit": in_repo("meson test -C build --no-rebuild --suite unit"),
    "mem": in_repo("meson test -C build --no-rebuild conformance-mem"),
    "npm": npm,
}


def measure(folders, steps, npm_cache):
    """step -> place -> seconds; each step at all places before the next."""
    took = {}
    for step in steps:
        for place, folder in folders.items():
            begun = time.monotonic()
            RUN[step](folder, npm_cache)
            took.setdefault(step, {})[place] = time.monotonic() - begun
            print(f"{step} on {place}: {took[step][place]:.1f} s", flush=True)
    return took


def table(took, places):
    print("\n" + f"{'seconds':<12}" + "".join(f"{p:>12}" for p in places))
    for step, row in took.items():
        print(f"{step:<12}" + "".join(f"{row[p]:>12.1f}" for p in places))


def chosen(text, known):
    names = text.split(",")
    if unknown := set(names) - set(known):
        raise argparse.ArgumentTypeError(f"{', '.join(sorted(unknown))}: known are {', '.join(known)}")
    return [k for k in known if k in names]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--places", type=lambda t: chosen(t, PLACES), default=PLACES, help=",".join(PLACES))
    parser.add_argument("--steps", type=lambda t: chosen(t, STEPS), default=STEPS, help=",".join(STEPS))
    arguments = parser.parse_args()
    check(os.geteuid() == 0, "needs root for mounts of a lab")
    steps = arguments.steps
    if "npm" in steps and shutil.which("npm") is None:
        print("npm is not here: not tried", flush=True)
        steps.remove("npm")
    local = tempfile.mkdtemp(prefix="lsp-real-", dir="/var/tmp")
    lab = None
    try:
        lab = labtest.Lab(mounts=1)
        folders = {"local": f"{local}/work", "memory": f"{lab.mounts[0]}/memory/real",
                   "workspace": f"{lab.mounts[0]}/workspace/real"}
        folders = {place: folders[place] for place in arguments.places}
        for folder in folders.values():
            os.mkdir(folder)
        if "npm" in steps:
            os.mkdir(f"{local}/fetch")
            npm(f"{local}/fetch", f"{local}/cache")
        table(measure(folders, steps, f"{local}/cache"), arguments.places)
    except (AssertionError, OSError, subprocess.SubprocessError) as error:
        print(f"FAIL {error}", flush=True)
        print(lab.logs() if lab else "", flush=True)
        return 1
    finally:
        if lab:
            lab.down()
        shutil.rmtree(local, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
