"""What the cli_*.py tests share: a router on the memory store, the program, users without rights."""
import atexit
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
import labtest  # noqa: E402
from labtest import BUILD, alive, check, equal, errno_of, eventually  # noqa: E402,F401



def programs():
    """The build folder, or one with copies of both programs where others may not enter it (as below /root)."""
    if all(os.stat(folder).st_mode & 0o001 for folder in pathlib.Path(BUILD, "fusefs/cli/linkspan").resolve().parents):
        return BUILD
    place = tempfile.mkdtemp(prefix="lsp-programs-", dir="/tmp")
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    os.chmod(place, 0o755)
    for name in ("fusefs/cli/linkspan", "routerd/linkspan-routerd"):
        os.makedirs(os.path.dirname(f"{place}/{name}"))
        shutil.copy(f"{BUILD}/{name}", f"{place}/{name}")
    return place


PROGRAMS = programs()
LINKSPAN = f"{PROGRAMS}/fusefs/cli/linkspan"
ROUTERD = f"{PROGRAMS}/routerd/linkspan-routerd"
NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
# A user in a locked down container: no capabilities to gain, no set-uid programs.
BARE_NOBODY = NOBODY + ["--bounding-set=-all", "--no-new-privs"]

if os.geteuid() != 0:
    print("SKIPPED: needs root, to become other users and to hide devices")
    sys.exit(77)
if shutil.which("setpriv") is None or shutil.which("bwrap") is None:
    print("SKIPPED: needs setpriv (util-linux) and bwrap (bubblewrap)")
    sys.exit(77)


class Base:
    """A directory of this test file that everybody may enter, and what belongs to it."""

    def __init__(self, name):
        self.dir = tempfile.mkdtemp(prefix=f"lsp-{name}-", dir="/tmp")
        self.started = []
        os.chmod(self.dir, 0o755)
        self.state = self.make("state")
        self.make("state-user", uid=65534)
        self.make("tmp", mode=0o1777)

    def path(self, name):
        return f"{self.dir}/{name}"

    def make(self, name, mode=0o755, uid=0):
        path = self.path(name)
        os.makedirs(path, exist_ok=True)
        os.chmod(path, mode)
        os.chown(path, uid, uid)
        return path

    def write(self, name, text, mode=0o600, uid=0):
        path = self.path(name)
        pathlib.Path(path).write_text(text)
        os.chmod(path, mode)
        os.chown(path, uid, uid)
        return path

    def environment(self, more=None, user=None):
        env = {k: v for k, v in os.environ.items()
               if not k.startswith("LINKSPAN_") and not k.startswith("XDG_")}
        env["TMPDIR"] = self.path("tmp")
        env["XDG_STATE_HOME"] = self.path("state-user") if user else self.state
        env.update(more or {})
        return env

    def linkspan(self, *args, user=None, env=None, timeout=90, cwd="/", prefix=None, stdin=None, **more):
        command = (prefix or []) + (user or []) + [LINKSPAN, *args]
        return subprocess.run(command, capture_output=True, text=True, timeout=timeout, cwd=cwd,
                              env=self.environment(env, user), stdin=stdin or subprocess.DEVNULL,
                              errors="replace", **more)

    def start(self, *args, user=None, env=None, cwd="/", **more):
        process = subprocess.Popen((user or []) + [LINKSPAN, *args], cwd=cwd, env=self.environment(env, user),
                                   text=True, **more)
        self.started.append(process)
        return process

    def mounts(self):
        """Mountpoints of this test, in this namespace."""
        points = []
        for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines():
            point = line.split()[4]
            if point.startswith(self.dir + "/"):
                points.append(point)
        return points

    def processes(self, word=None):
        """Processes whose command line has this test's directory (or `word`) in it."""
        found = {}
        for entry in pathlib.Path("/proc").iterdir():
            if not entry.name.isdigit() or int(entry.name) == os.getpid():
                continue
            try:
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if (word or self.dir) in command:
                found[int(entry.name)] = command
        return found

    def nothing_left(self):
        equal(self.mounts(), [], "mounts that are left")
        equal(os.listdir(self.path("tmp")), [], "run directories that are left")

    def recover(self):
        """After a test that failed: ends what it started, so that the next one begins clean."""
        for process in self.started:
            if process.poll() is None:
                process.kill()
                process.wait(timeout=30)
        self.started.clear()
        end = now() + 10  # a mount server sees its run's end and removes its directory
        while (self.mounts() or os.listdir(self.path("tmp"))) and now() < end:
            time.sleep(0.05)
        self.unmount()
        for name in os.listdir(self.path("tmp")):
            shutil.rmtree(self.path(f"tmp/{name}"), ignore_errors=True)

    def unmount(self):
        for point in reversed(self.mounts()):
            subprocess.run(["umount", "-l", point], capture_output=True, timeout=30)

    def clean(self):
        self.unmount()
        for pid in self.processes():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        shutil.rmtree(self.dir, ignore_errors=True)


class Router:
    """linkspan-routerd on the memory store, with an agent's token and some that are no good."""

    def __init__(self, base, lease_ms=2000, timeout_ms=4000):
        self.base = base
        self.address = f"unix:{base.dir}/router.sock"
        self.token = self.new_token("agent.token")
        self.nobody_token = base.write("nobody.token", pathlib.Path(self.token).read_text(), uid=65534)
        self.expired = self.new_token("expired.token")
        self.unknown = self.new_token("unknown.token")
        routes = "".join(f"""
[[tenant.token.route]]
path = "{name}"
volume = "{name}"
rights = "{rights}"
policy = "merge"
timeout_ms = {timeout_ms}
""" for name, rights in (("skills", "ro"), ("memory", "rw"), ("sessions", "rw")))
        volumes = "".join(f'[[tenant.volume]]\nname = "{n}"\n' for n in ("skills", "memory", "sessions"))
        self.config = base.write("router.toml", f"""store = "mem:"
listen = ["{self.address}"]
lease_ms = {lease_ms}
[[tenant]]
name = "test"
{volumes}
[[tenant.token]]
sha256 = "{self.hashes['agent.token']}"
principal = "agent"
sandbox = "box"
{routes}
[[tenant.token]]
sha256 = "{self.hashes['expired.token']}"
principal = "late"
expires = 2020-01-01T00:00:00Z
{routes}
""")
        self.start()

    hashes = {}

    def new_token(self, name):
        made = json.loads(subprocess.check_output([ROUTERD, "token", "new"], timeout=30))
        self.hashes[name] = made["sha256"]
        return self.base.write(name, made["token"] + "\n")

    def start(self):
        read, write = os.pipe()
        log = open(self.base.path("router.log"), "a", encoding="utf-8")
        self.process = subprocess.Popen([ROUTERD, "--config", self.config, "--ready-fd", str(write)],
                                        pass_fds=[write], stdout=log, stderr=log)
        os.close(write)
        with os.fdopen(read) as ready:
            line = ready.readline()
        if not line:
            raise RuntimeError("router: " + pathlib.Path(self.base.path("router.log")).read_text())
        os.chmod(self.address[len("unix:"):], 0o666)

    def stop(self):
        self.process.send_signal(signal.SIGCONT)
        self.process.terminate()
        self.process.wait(timeout=30)

    def flags(self, token=None):
        return ["--router", self.address, "--token-file", token or self.token]


def status_of(path, timeout=10):
    """status.json of a mount, read in a process that can be given up."""
    out = subprocess.run(["cat", f"{path}/.linkspan/status.json"], capture_output=True, timeout=timeout)
    return json.loads(out.stdout)


def gone(pids, seconds=20):
    eventually(lambda: not any(alive(p) for p in pids), seconds, f"processes {pids} end")


def notify_socket(path):
    server = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    server.bind(path)
    server.settimeout(30)
    return server


def now():
    return time.monotonic()
