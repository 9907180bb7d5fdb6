"""What Python tests share: a lab of their own, and a plain way to check and report.

A test file defines functions test_*(lab) (or test_* without arguments) and ends with
`labtest.main(globals(), mounts=2, ...)`. Each test prints its name and result; the last line is
"N passed, N failed". The build folder comes from LINKSPAN_BUILD (meson sets it).
"""
import contextlib
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = os.environ.get("LINKSPAN_BUILD", str(ROOT / "build"))


class Lab:
    """A running lab; see tests/lab. LINKSPAN_PLANT runs any test with something planted."""

    def __init__(self, **options):
        options.setdefault("plant", os.environ.get("LINKSPAN_PLANT", ""))
        # On a disk: /tmp is often a tmpfs, and no fallocate(2), fsync(2) or size is there as on a disk.
        self.base = tempfile.mkdtemp(prefix="lsp-test-", dir="/var/tmp")
        os.chmod(self.base, 0o755)
        self.dir = f"{self.base}/lab"
        command = [str(ROOT / "tests/lab"), "up", self.dir, "--build", BUILD]
        for key, value in options.items():
            command += ["--" + key.replace("_", "-"), str(value)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=180)
        if done.returncode != 0:
            raise RuntimeError(f"lab up failed: {done.stderr}")
        self.info = json.loads(done.stdout)
        self.mounts = self.info["mounts"]

    def do(self, verb, target, *more, timeout=120):
        done = subprocess.run([str(ROOT / "tests/lab"), verb, self.dir, target, *map(str, more)], capture_output=True,
                              text=True, timeout=timeout)
        if done.returncode != 0:
            raise RuntimeError(f"lab {verb} {target} failed: {done.stderr}")
        if done.stdout:
            self.info = json.loads(done.stdout)

    def down(self):
        done = subprocess.run([str(ROOT / "tests/lab"), "down", self.dir], capture_output=True,
                              text=True, timeout=180)
        if done.returncode != 0:
            raise RuntimeError(f"lab down failed: {done.stderr}")
        pids = self.info["pids"]
        left = [pid for pid in (*pids["routers"], *pids["mounts"], pids["postgres"]) if pid and alive(pid)]
        check(not left, f"lab down left processes: {left}")
        shutil.rmtree(self.base, ignore_errors=True)

    def sql(self, statement):
        """One value from the database, also while the routers use it."""
        done = subprocess.run(["psql", "-XAtq", "-d", self.info["postgres"], "-c", statement], capture_output=True,
                              text=True, timeout=60)
        if done.returncode != 0:
            raise RuntimeError(f"psql failed: {done.stderr}")
        return done.stdout.strip()

    def logs(self, lines=12):
        text = ""
        for log in sorted(pathlib.Path(self.dir, "log").glob("*.log")):
            end = log.read_text(errors="replace").splitlines()[-lines:]
            text += f"--- {log.name}\n" + "\n".join(end) + "\n"
        return text


def alive(pid):
    try:
        state = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    return state not in ("Z", "X")


def check(condition, message="check failed"):
    if not condition:
        raise AssertionError(message)


def equal(got, want, what=""):
    if got != want:
        raise AssertionError(f"{what}: got {got!r}, want {want!r}" if what else f"got {got!r}, want {want!r}")


def errno_of(call, *args, **kwargs):
    """The errno that a call fails with, 0 when it does not."""
    try:
        call(*args, **kwargs)
    except OSError as error:
        return error.errno
    return 0


def sh(command, timeout=120, cwd=None, env=None):
    """Runs a shell command; its output; raises with all of it when it fails."""
    done = subprocess.run(["bash", "-euo", "pipefail", "-c", command], capture_output=True, text=True,
                          timeout=timeout, cwd=cwd, env=env, errors="replace")
    if done.returncode != 0:
        raise AssertionError(f"`{command}` -> {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout


def seed(name="LINKSPAN_SEED"):
    value = int(os.environ.get(name) or random.SystemRandom().randrange(1 << 31))
    print(f"{name}={value}", flush=True)
    return value


@contextlib.contextmanager
def deadline(seconds):
    """Raises when the block takes longer; a hung mount must not hang the suite."""
    def late(_number, _frame):
        raise TimeoutError(f"not done after {seconds} s")
    old = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, old)


def eventually(condition, seconds, what):
    """Waits for a condition that another process brings about and that nothing announces."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(0.01)


def main(names, each_seconds=300, known=None, recover=None, **options):
    """`known`: test name -> the bug that still fails it, by SEMANTICS.md "Not kept yet". Such a test is
    run and its result said; its failure does not fail the suite until the bug is mended. `recover` is
    called after each failure and cleans up, so that the next test begins as if it were the first."""
    known = known or {}
    tests = [(n, f) for n, f in names.items() if n.startswith("test_") and callable(f)]
    wanted = sys.argv[1:]
    if wanted:
        tests = [(n, f) for n, f in tests if n in wanted]
    if os.geteuid() != 0 and options:
        print("SKIPPED: needs root for mounts of a lab")
        sys.exit(77)
    lab = Lab(**options) if options else None
    passed, failures = 0, []
    try:
        for name, test in tests:
            begun = time.monotonic()
            try:
                with deadline(each_seconds):
                    test(lab) if test.__code__.co_argcount else test()
                passed += 1
                print(f"ok   {name} ({time.monotonic() - begun:.1f} s)", flush=True)
            except BaseException as error:  # noqa: BLE001 - reported, and the next test runs
                if recover:
                    try:
                        with deadline(60):
                            recover()
                    except BaseException as worse:  # noqa: BLE001
                        print(f"     not cleaned up after {name}: {worse!r}", flush=True)
                if name in known:
                    print(f"KNOWN {name}: {known[name]} ({str(error)[:200]})", flush=True)
                    continue
                print(f"FAIL {name} ({time.monotonic() - begun:.1f} s)\n{traceback.format_exc()}", flush=True)
                failures.append(f"FAIL {name}: {error!s:.3000}")
                if lab and len(failures) == 1:
                    print(lab.logs(), flush=True)
    finally:
        if lab:
            lab.down()
    # Once more: of a long output often only the end is kept.
    print(*failures, f"{passed} passed, {len(failures)} failed", sep="\n", flush=True)
    sys.exit(1 if failures or not tests else 0)
