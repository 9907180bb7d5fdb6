#!/usr/bin/env python3
"""linkspan run: as root, and as a user with no capabilities and no_new_privs; its terminal, signals,
exit status; and that nothing is left, however it ends."""
import os
import pathlib
import pty
import re
import select
import shutil
import signal
import subprocess
import tempfile

from cli_env import BARE_NOBODY, LINKSPAN, Base, Router, check, equal, eventually, gone, labtest, now

BASE = Base("run")
ROUTER = Router(BASE)
USERS = {"root": ([], ROUTER.token, 0), "nobody": (BARE_NOBODY, ROUTER.nobody_token, 65534)}
WORK = {name: BASE.make(f"work-{name}", uid=uid) for name, (_, _, uid) in USERS.items()}


def run(name, *command, flags=(), **options):
    user, token, _ = USERS[name]
    options.setdefault("cwd", WORK[name])
    return BASE.linkspan("run", *ROUTER.flags(token), *flags, "--", *command, user=user, **options)


def sh(name, script, status=0, **options):
    done = run(name, "sh", "-c", script, **options)
    equal(done.returncode, status, f"{name}: {done.stdout}{done.stderr}")
    return done.stdout


def each(test):
    def both():
        for name in USERS:
            test(name)
            BASE.nothing_left()
    both.__name__ = test.__name__
    return both


def start(name, *command, **options):
    """A run in the background, and the pid that its command prints."""
    user, token, _ = USERS[name]
    process = BASE.start("run", *ROUTER.flags(token), "--", "sh", "-c", *command, user=user, cwd=WORK[name],
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, **options)
    line = process.stdout.readline()
    if not line.strip().isdigit():
        raise AssertionError(f"no pid: {line!r} {process.stderr.read()!r}")
    return process, int(line)


def pending(pid):
    """The signals sent to the process that it has not taken yet."""
    line = re.search(r"^ShdPnd:\s*(\w+)", pathlib.Path(f"/proc/{pid}/status").read_text(), re.M)
    return {s for s in signal.Signals if int(line[1], 16) >> (s - 1) & 1}


def children(pid):
    return [int(c) for c in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def servers(process):
    """The mount servers among the children of a run."""
    return [c for c in children(process.pid) if pathlib.Path(f"/proc/{c}/comm").read_text().strip() == "linkspan"]


@each
def test_tree_and_working_directory(name):
    _, _, uid = USERS[name]
    out = sh(name, "pwd; ls -A /skills /sessions; echo line >> /memory/%s; cat /memory/%s; echo w > made; "
                   "cat /.linkspan/whoami | head -1; id -u; ls -d /usr /etc/passwd /tmp; touch /skills/x 2>&1" % (name, name), status=1)
    equal(out.splitlines()[:1], ["/workspace"])
    check("line" in out and "agent in sandbox box" in out and f"\n{uid}\n" in out, out)
    made = pathlib.Path(WORK[name], "made")
    equal((made.read_text(), made.stat().st_uid), ("w\n", uid))
    equal(sh(name, f"cat /memory/{name}"), "line\n", "kept by the router")


@each
def test_status_is_the_commands(name):
    equal(run(name, "true").returncode, 0)
    equal(run(name, "sh", "-c", "exit 7").returncode, 7)
    equal(run(name, "sh", "-c", "kill -KILL $$").returncode, 137)
    equal(run(name, "sh", "-c", "kill -TERM $$").returncode, 143)
    done = run(name, "no-such-command")
    equal(done.returncode, 127)
    check("no-such-command" in done.stderr, done.stderr)
    equal(run(name, "/etc/passwd").returncode, 126)


@each
def test_streams_and_arguments(name):
    with tempfile.TemporaryFile() as given:
        given.write(b"from outside\n")
        given.seek(0)
        done = run(name, "sh", "-c", 'cat; echo err >&2; printf "%s|" "$@"', "sh", "a b", "--", "-x", "", stdin=given)
    equal((done.returncode, done.stdout, done.stderr), (0, "from outside\na b|--|-x||", "err\n"))


@each
def test_the_token_is_kept_from_the_command(name):
    user, token, _ = USERS[name]
    secret = pathlib.Path(token).read_text().strip()
    done = BASE.linkspan("run", "--router", ROUTER.address, "--", "sh", "-c",
                         "env; cat /proc/self/environ | tr '\\0' '\\n'; cat /memory/none 2>/dev/null; for p in /proc/[0-9]*; "
                         "do cat $p/environ $p/cmdline 2>/dev/null | tr '\\0' '\\n'; done", user=user, cwd=WORK[name],
                         env={"LINKSPAN_TOKEN": secret})
    equal(done.returncode, 0, done.stderr)
    check(secret not in done.stdout, "the token is visible to the command")
    check("LINKSPAN_TOKEN" not in done.stdout.split("PATH=")[0], "the variable is passed on")


@each
def test_the_two_dashes_may_be_left_out(name):
    user, token, _ = USERS[name]
    done = BASE.linkspan("run", *ROUTER.flags(token), "--workspace=.", "sh", "-c", 'pwd; printf "%s|" "$@"', "sh", "--", "--help",
                         user=user, cwd=WORK[name])
    equal((done.returncode, done.stdout, done.stderr), (0, "/workspace\n--|--help|", ""))


@each
def test_forwarded_signals(name):
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
        label = number.name[3:]
        process, _ = start(name, f"trap 'echo got {label}; exit 9' {label}; echo $$; while :; do sleep 0.05; done")
        process.send_signal(number)
        out, err = process.communicate(timeout=30)
        equal((process.returncode, out), (9, f"got {label}\n"), err)
    process, command = start(name, "echo $$; exec sleep 60")
    process.terminate()
    equal(process.wait(timeout=30), 143)
    gone([command])


@each
def test_what_the_caller_ignores_the_command_ignores(name):
    done = run(name, "sh", "-c", "kill -HUP $$; kill -TERM $$; echo lives; kill -USR1 $$",
               prefix=["sh", "-c", """trap '' HUP TERM; exec "$@" """, "sh"])
    equal((done.returncode, done.stdout), (128 + signal.SIGUSR1, "lives\n"), done.stderr)


def held_up(script):
    """$PATH with a bwrap that is what the script makes of `arguments` and `at`, where the command begins; and the
    fifo that its wait() waits for."""
    tools, fifo = tempfile.mkdtemp(prefix="tools-", dir=BASE.dir), tempfile.mktemp(prefix="fifo-", dir=BASE.dir)
    os.chmod(tools, 0o755)
    os.mkfifo(fifo)
    os.chmod(fifo, 0o666)
    BASE.write(f"{os.path.basename(tools)}/bwrap", f"""#!/usr/bin/env python3
import os, sys
arguments = ["bwrap", *sys.argv[1:]]
at = arguments.index("--") + 1
wait = "open('{fifo}').read()"
{script}
os.execv("{shutil.which("bwrap")}", arguments)
""", mode=0o755)
    return {"PATH": f"{tools}:{os.environ['PATH']}"}, fifo


@each
def test_a_signal_while_the_sandbox_is_set_up_is_not_lost(name):
    """bwrap has told the command's pid, but this is not the command yet."""
    env, fifo = held_up("""hold = f"import os, sys; {wait}; os.execv(sys.argv[1], sys.argv[1:])"
arguments[at:at] = [sys.executable, "-c", hold]""")
    user, token, _ = USERS[name]
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR2):
        process = BASE.start("run", *ROUTER.flags(token), "--", "sh", "-c", "echo begun; exec sleep 60", user=user, cwd=WORK[name],
                             env=env, stdout=subprocess.PIPE)
        with open(fifo, "w", encoding="utf-8"):  # waits for the reader
            process.send_signal(number)
            eventually(lambda: number not in pending(process.pid), 20, f"{number.name} is taken")
        equal(process.communicate(timeout=30)[0], "", f"it began after {number.name}")
        equal(process.returncode, 128 + number)


class Terminal:
    """A command in a session of its own on a new terminal; killed on leaving if it still runs."""

    def __init__(self, name, command, env=None):
        user = USERS[name][0]
        self.text, self.status = b"", None
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.chdir(WORK[name])
            os.execvpe(command[0], command, BASE.environment({"PS1": "$ ", "TERM": "dumb", **(env or {})}, user))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        os.close(self.fd)  # hangs up
        if self.status is None:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)

    def hang_up(self):
        os.close(self.fd)
        self.fd = os.open("/dev/null", os.O_RDONLY)

    def type(self, text):
        os.write(self.fd, text)

    def read(self, seconds):
        ready, _, _ = select.select([self.fd], [], [], max(seconds, 0))
        if not ready:
            return False
        try:
            piece = os.read(self.fd, 4096)
        except OSError:  # the last process has closed it
            piece = b""
        self.text += piece
        return bool(piece)

    def until(self, wanted, seconds=20):
        """Reads until `wanted` shows up, and past it."""
        end = now() + seconds
        while wanted not in self.text:
            if not self.read(end - now()):
                raise AssertionError(f"no {wanted!r} in {self.text!r}")
        before, _, self.text = self.text.partition(wanted)
        return before

    def exit_status(self, seconds=20):
        """Reads until everybody has left the terminal: who is not read from may wait in a write."""
        end = now() + seconds
        while self.read(end - now()):
            pass
        eventually(self.ended, max(end - now(), 1), f"the command ends; it said {self.text!r}")
        return self.status

    def ended(self):
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        if pid:
            self.status = os.waitstatus_to_exitcode(status)
        return self.status is not None


def on_terminal(name, command, env=None):
    user, token, _ = USERS[name]
    return Terminal(name, [*user, LINKSPAN, "run", *ROUTER.flags(token), "--", *command], env)


@each
def test_interrupt_from_the_terminal_goes_to_the_command_once(name):
    with on_terminal(name, ["python3", "-c",
                            "import time,signal\nn=0\n"
                            "def h(*a):\n global n; n+=1\n"
                            "signal.signal(signal.SIGINT,h)\nprint('go',flush=True)\n"
                            "end=time.time()+1.0\n"
                            "while time.time()<end: time.sleep(0.05)\nprint('count',n,flush=True)"]) as terminal:
        terminal.until(b"go")
        terminal.type(b"\x03")
        terminal.until(b"count 1")
        equal(terminal.exit_status(), 0)


@each
def test_job_control_in_a_shell(name):
    with on_terminal(name, ["bash", "--norc", "-i"]) as terminal:
        terminal.type(b"tty | grep -c dev; echo rea''dy\n")
        text = terminal.until(b"ready")
        check(b"no job control" not in text, text)
        # Each program says itself that it runs: then the terminal is its own.
        terminal.type(b"sh -c 'echo be''gun; read line; echo got $line'\n")
        terminal.until(b"begun")
        terminal.type(b"\x1a")
        terminal.until(b"Stopped")
        terminal.type(b"jobs; echo back in the sh''ell\n")
        terminal.until(b"Stopped")
        terminal.until(b"back in the shell")
        terminal.type(b"fg\n")
        terminal.until(b"read line")  # fg names what it continues
        terminal.type(b"a line\n")
        terminal.until(b"got a line")
        terminal.type(b"(echo b''egun; exec sleep 100) & wait\n")
        terminal.until(b"begun")
        terminal.type(b"\x03")  # ends the wait, not the job
        terminal.type(b"kill -9 %1; wait %1; echo status $?\n")
        terminal.until(b"status 137")
        terminal.type(b"exit 5\n")
        equal(terminal.exit_status(), 5)


@each
def test_an_interrupt_before_the_command_is_there_is_not_lost(name):
    env, fifo = held_up("exec(wait)")
    with on_terminal(name, ["sh", "-c", "echo begun; exec sleep 60"], env) as terminal:
        with open(fifo, "w", encoding="utf-8"):
            bwrap = set(children(terminal.pid)) - set(servers(terminal))
            terminal.type(b"\x03")
            eventually(lambda: signal.SIGINT in pending(*bwrap), 20, "the terminal interrupts")
            eventually(lambda: signal.SIGINT not in pending(terminal.pid), 20, "it is taken")
        equal(terminal.exit_status(), 130)
        check(b"begun" not in terminal.text, terminal.text)


@each
def test_suspended_as_a_job(name):
    """An outer shell stops and continues it with its command."""
    user, token, _ = USERS[name]
    line = " ".join([*user, LINKSPAN, "run", *ROUTER.flags(token), "--", "sh", "-c", "'echo be''gun; sleep 1; echo fin''ished'"])
    with Terminal(name, ["bash", "--norc", "-i"]) as terminal:
        terminal.type(line.encode() + b"\n")
        terminal.until(b"begun")
        terminal.type(b"\x1a")
        terminal.until(b"Stopped")
        terminal.type(b"fg\n")
        terminal.until(b"finished")
        terminal.type(b"exit\n")
        terminal.exit_status()


@each
def test_what_the_command_leaves_running_is_ended(name):
    done = run(name, "sh", "-c", "setsid sh -c 'trap \"\" HUP TERM; sleep 300' >/dev/null 2>&1 & echo $!; sleep 0.2")
    equal(done.returncode, 0, done.stderr)
    gone([int(done.stdout)], 5)


@each
def test_what_forks_while_it_is_ended_is_ended_too(name):
    mark = f"4{os.getpid()}"
    forking = f"trap \"\" HUP TERM; i=0; while [ $i -lt 300 ]; do sleep {mark} & i=$((i+1)); sleep 0.02; done"
    done = run(name, "sh", "-c", f"setsid sh -c '{forking}' >/dev/null 2>&1 & sleep 1")
    equal(done.returncode, 0, done.stderr)
    equal(BASE.processes(f"sleep {mark}"), {})


@each
def test_a_hang_up_of_the_terminal_reaches_the_command(name):
    place = f"{WORK[name]}/hung-up"
    with on_terminal(name, ["sh", "-c", f"trap 'echo yes >{place}; exit 3' HUP; echo go; while :; do sleep 0.1; done"]) as terminal:
        terminal.until(b"go")
        terminal.hang_up()
        eventually(lambda: os.path.exists(place), 10, "the command's trap has run")
        equal(terminal.exit_status(), 3)
    os.unlink(place)


@each
def test_killed_run_leaves_nothing(name):
    process, command = start(name, "setsid sleep 300 & echo $$; echo written > /memory/killed-%s; sleep 300" % name)
    server = servers(process)
    eventually(lambda: "killed-" + name in sh("root", "ls /memory"), 10, "the command has written")
    others = [p for p in BASE.processes("sleep 300")]
    process.kill()
    process.wait()
    gone([command, *server, *others])
    process.communicate()
    equal(sh(name, f"cat /memory/killed-{name}"), "written\n")


@each
def test_killed_server_is_said(name):
    os.mkfifo(f"{WORK[name]}/fifo")
    os.chmod(f"{WORK[name]}/fifo", 0o666)
    process, command = start(name, "exec 3<>/workspace/fifo; echo $$; read line <&3; exit 0")
    server = servers(process)
    equal(len(server), 1, "one mount server")
    os.kill(server[0], signal.SIGKILL)
    gone(server)
    with open(f"{WORK[name]}/fifo", "w", encoding="utf-8") as fifo:
        fifo.write("end\n")
    out, err = process.communicate(timeout=30)
    equal(process.returncode, 1, out + err)
    check("mount process has ended" in err, err)
    gone([command])


@each
def test_two_runs_share(name):
    process, _ = start(name, "echo $$; while ! grep -q hello /memory/shared-%s 2>/dev/null; do sleep 0.05; done; echo seen" % name)
    sh(name, f"echo hello > /memory/shared-{name}")
    equal(process.communicate(timeout=30)[0], "seen\n")


@each
def test_expose_elsewhere_and_other_workspace(name):
    _, _, uid = USERS[name]
    place, other = BASE.make(f"place-{name}", uid=uid), BASE.make(f"other-{name}", uid=uid)
    out = sh(name, "pwd; ls -A %s; echo x > file" % place, flags=["--expose-at", place, "--workspace", other])
    equal(out.split(), [f"{place}/workspace", ".linkspan", "memory", "sessions", "skills", "workspace"])
    equal((os.listdir(other), os.listdir(place)), (["file"], []))
    out = sh(name, f"{LINKSPAN} status {place}", flags=["--expose-at", place])
    check(f"mount      {place}  (" in out and "linkspan-run" not in out, out)


@each
def test_status_and_log_inside(name):
    out = sh(name, f"echo x > /memory/inside-{name}; {LINKSPAN} status --json && {LINKSPAN} log /memory/inside-{name}")
    check('"healthy": true' in out and f"memory/inside-{name}" in out, out)
    out = sh(name, f"{LINKSPAN} status; cat /.linkspan/status.json")
    check("mount      /  (" in out and '"dir": "/"' in out and "linkspan-run" not in out, out)
    # The whole of history by relative names, as the user who mounted, without a token.
    out = sh(name, f"""cd /memory; l={LINKSPAN}; f=past-{name}
      echo one > $f; v=$($l log --json -n 1 $f | sed 's/.*"version":\\([0-9]*\\).*/\\1/'); echo two > $f
      $l cat $f@$v; $l diff $f@$v; echo status $?; $l restore $f@$v && cat $f; rm $f; $l restore --deleted $f; cat $f
      ls /.linkspan/conflicts; $l resume 2>&1; cat $f""")
    check(out.startswith("one\n--- /memory/past") and "-one\n+two\nstatus 1\none\none\n" in out, out)
    check("new session" in out and out.endswith("\none\n"), out)


def test_the_rest_of_the_machine_is_left_alone():
    """Its workspace holds another Linkspan mount, which every process here sees. In a pid namespace of
    its own, so that the day this fails it takes nobody else along."""
    work = BASE.make("outer")
    other = BASE.make("outer/mount")
    flags = " ".join(ROUTER.flags())
    script = f"""{LINKSPAN} mount {flags} {other} && cd {work} || exit 1
      sleep 300 & bystander=$!
      {LINKSPAN} run {flags} -- sh -c 'test -d /workspace/mount/memory && echo inside'
      echo status $?
      kill -0 $bystander && echo lives
      kill $bystander; cd /; {LINKSPAN} umount {other}"""
    done = subprocess.run(["unshare", "--pid", "--fork", "--kill-child", "--mount", "--mount-proc", "sh", "-c", script],
                          env=BASE.environment(), capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)
    equal(done.stdout, "inside\nstatus 0\nlives\n", done.stderr)
    BASE.nothing_left()


def test_unsaved_bytes_are_written_before_it_ends():
    script = "exec 3>/memory/held; printf 'held open' >&3; exit 0"
    equal(run("root", "sh", "-c", script).returncode, 0)
    equal(sh("root", "cat /memory/held"), "held open")


if __name__ == "__main__":
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # under nohup the commands here could not trap it
    try:
        labtest.main(globals(), each_seconds=120, recover=BASE.recover)
    finally:
        ROUTER.stop()
        BASE.clean()
