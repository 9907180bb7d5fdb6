#!/usr/bin/env python3
"""linkspan mount, umount, status, log, mount.linkspan: in the background and the foreground, as root
and as a user, with a router that goes away, and with a mount process that is stopped or killed."""
import errno
import json
import os
import pathlib
import signal
import socket
import subprocess

from cli_env import (LINKSPAN, NOBODY, Base, Router, alive, check, equal, errno_of, eventually,
                     gone, labtest, notify_socket, now, status_of)

BASE = Base("mount")
ROUTER = Router(BASE)


def mount(name, *flags, **options):
    d = BASE.make(name)
    done = BASE.linkspan("mount", *ROUTER.flags(), *flags, d, **options)
    equal(done.returncode, 0, done.stderr)
    return d


def umount(d, *flags):
    done = BASE.linkspan("umount", *flags, d)
    equal(done.returncode, 0, done.stderr)
    return done


def test_background_mount_answers_when_the_command_returns():
    work = BASE.make("work")
    d = mount("background", "--workspace", work)
    equal(sorted(os.listdir(d)), [".linkspan", "memory", "sessions", "skills", "workspace"])
    pathlib.Path(d, "memory/note").write_text("kept")
    equal(errno_of(os.mkdir, f"{d}/skills/new"), errno.EROFS)
    pathlib.Path(d, "workspace/local").write_text("here")
    equal(pathlib.Path(work, "local").read_text(), "here")
    equal(errno_of(os.mkdir, f"{d}/other"), errno.EROFS, "the top takes nothing")
    pid = status_of(d)["pid"]
    check("unmounted" in umount(d).stderr)
    check(not alive(pid), "umount returns when the process has ended")
    equal(os.listdir(d), [])
    d = mount("background")
    equal(pathlib.Path(d, "memory/note").read_text(), "kept")
    umount(d)
    BASE.nothing_left()


def test_foreground_ready_fd_and_sigterm():
    d = BASE.make("foreground")
    read, write = os.pipe()
    process = BASE.start("mount", "--foreground", "--ready-fd", str(write), *ROUTER.flags(), d, pass_fds=[write],
                         stderr=subprocess.PIPE)
    os.close(write)
    with os.fdopen(read) as ready:
        said = json.loads(ready.readline())
    equal((said["dir"], said["pid"], sorted(said["routes"])), (d, process.pid, ["memory", "sessions", "skills"]))
    pathlib.Path(d, "memory/ready").write_text("x")
    process.terminate()
    equal(process.wait(timeout=30), 0, process.stderr.read())
    BASE.nothing_left()


def test_sd_notify():
    server = notify_socket(BASE.path("notify"))
    d = mount("notify-dir", env={"NOTIFY_SOCKET": BASE.path("notify")})
    text = server.recv(4096).decode()
    pid = status_of(d)["pid"]
    check("READY=1" in text and f"MAINPID={pid}" in text, text)
    umount(d)
    check("STOPPING=1" in server.recv(4096).decode())


def test_control_files():
    d = mount("control", "--workspace", BASE.make("work"))
    pathlib.Path(d, "memory/who").write_text("one line\n")
    at = pathlib.Path(d, ".linkspan")
    equal(sorted(os.listdir(at)), ["changes", "changes.json", "conflicts", "query", "routes", "stats", "status", "status.json", "whoami"])
    text = (at / "status").read_text()
    for word in ("connected since", ROUTER.address, "agent in sandbox box", "lease      valid", "memory", "workspace"):
        check(word in text, f"no {word!r} in {text}")
    status = status_of(d)
    equal((status["healthy"], status["state"], status["principal"], status["tenant"]), (True, "connected", "agent", "test"))
    check("agent" in (at / "whoami").read_text())
    check("skills" in (at / "routes").read_text())
    stats = (at / "stats").read_text()
    for line in stats.splitlines():
        check(line.startswith("# ") or (line.startswith("linkspan_") and float(line.rsplit(" ", 1)[1]) >= 0), line)
    check('linkspan_connected 1' in stats and 'linkspan_commits_total{route="memory"}' in stats)
    changes = (at / "changes").read_text()
    check("memory/who" in changes and "agent@box" in changes, changes)
    last = [json.loads(line) for line in (at / "changes.json").read_text().splitlines()][-1]
    equal((last["volume"], last["path"], last["size"], last["principal"]), ("memory", "who", 9, "agent"))
    for call in (lambda: (at / "new").write_text("x"), lambda: (at / "status").write_text("x"), lambda: os.unlink(at / "status")):
        check(errno_of(call) in (errno.EROFS, errno.EACCES, errno.EPERM), "control files are read-only")
    umount(d)


def test_a_name_cannot_forge_a_line():
    d = mount("forge")
    pathlib.Path(d, "memory", "a\n2026 #1 root@box write memory b\x1b[31m").write_text("x")
    changes = pathlib.Path(d, ".linkspan/changes").read_text()
    check("\\x0A2026" in changes and "\x1b" not in changes, changes)
    check("\x1b" not in BASE.linkspan("log", f"{d}/memory").stdout)
    umount(d)


def test_log():
    d = mount("log")
    os.mkdir(f"{d}/memory/dir")
    for name in ("dir/a", "dir/b", "dirt"):
        pathlib.Path(d, "memory", name).write_text(name)
    os.rename(f"{d}/memory/dirt", f"{d}/memory/dir/c")
    out = BASE.linkspan("log", "--json", f"{d}/memory/dir").stdout
    paths = [json.loads(line)["path"] for line in out.splitlines()]
    check(set(paths) >= {"dir", "dir/a", "dir/b", "dir/c"} and "dirt" not in paths, paths)
    equal({json.loads(line)["path"] for line in BASE.linkspan("log", "--json", f"{d}/memory/dir/a").stdout.splitlines()}, {"dir/a"})
    equal(len(BASE.linkspan("log", "-n", "1", f"{d}/memory/dir").stdout.splitlines()), 1)
    check("agent@box" in BASE.linkspan("log", f"{d}/memory/dir/c").stdout)
    for n in range(201):  # more than .linkspan/changes has
        os.mkdir(f"{d}/memory/many{n}")
    out = BASE.linkspan("log", "--json", "-n", "1000", f"{d}/memory/dir").stdout
    equal([json.loads(line)["path"] for line in out.splitlines()], paths)
    umount(d)


def test_the_token_stays_out_of_sight():
    secret = pathlib.Path(ROUTER.token).read_text().strip()
    to = ["--router", ROUTER.address]
    read, write = os.pipe()
    os.write(write, secret.encode())
    os.close(write)
    d = BASE.make("hidden")
    for how in ({"env": {"LINKSPAN_TOKEN": secret}}, {"env": {"LINKSPAN_TOKEN_FILE": ROUTER.token}},
                {"flags": ["--token-fd", str(read)], "pass_fds": [read]},
                {"env": {"CREDENTIALS_DIRECTORY": os.path.dirname(BASE.write("linkspan-token", secret))}}):
        flags = how.pop("flags", [])
        done = BASE.linkspan("mount", *to, *flags, d, **how)
        equal(done.returncode, 0, done.stderr)
        pid = status_of(d)["pid"]
        for file in ("environ", "cmdline"):
            check(secret.encode() not in pathlib.Path(f"/proc/{pid}/{file}").read_bytes(), f"the token is in {file}")
        for file in (f"{BASE.state}/linkspan/mounts",):
            check(subprocess.run(["grep", "-rq", secret, file]).returncode != 0, "the token is in the state file")
        umount(d)
    os.close(read)


def test_busy_is_said_with_names():
    d = mount("busy")
    with open(f"{d}/memory/open", "w", encoding="utf-8") as held:
        sleeper = subprocess.Popen(["sleep", "60"], cwd=f"{d}/memory")
        done = BASE.linkspan("umount", d)
        equal(done.returncode, 1)
        check(f"sleep (pid {sleeper.pid})" in done.stderr and "--lazy" in done.stderr, done.stderr)
        pathlib.Path(d, "memory/still").write_text("works")
        held.write("buffered")
        held.flush()
        sleeper.kill()
        sleeper.wait()
        umount(d, "--lazy")
        check(errno_of(os.fsync, held.fileno()) != 0, "the file is gone from under its user")
        try:
            held.close()
        except OSError:
            pass
    d = mount("busy")
    equal(pathlib.Path(d, "memory/open").read_text(), "buffered", "what write accepted")
    umount(d)


def test_killed_mount_uncovers_nothing_and_its_place_is_taken_again():
    prefix = BASE.make("prefix")
    d = mount("killed", "--expose", prefix, "--workspace", BASE.make("work"))
    pathlib.Path(d, "memory/before").write_text("x")
    os.kill(status_of(d)["pid"], signal.SIGKILL)
    for place in (f"{d}/memory", f"{prefix}/memory", d):
        eventually(lambda p=place: errno_of(os.listdir, p) == errno.ENOTCONN, 10, f"{place} is dead")
        equal(errno_of(lambda p=place: pathlib.Path(p, "lost").write_text("x")), errno.ENOTCONN)
    done = BASE.linkspan("status", d)
    equal(done.returncode, 1)
    check("dead" in done.stdout and "linkspan umount" in done.stdout, done.stdout)
    # Somebody helpful unmounts: the cover stays, and takes nothing.
    for place in (f"{prefix}/memory", d):
        subprocess.run(["umount", "-l", place], check=True, timeout=30)
        check(errno_of(lambda p=place: pathlib.Path(p, "lost").write_text("x")) in (errno.EROFS, errno.EACCES), place)
        equal(os.listdir(place), [])
    again = BASE.linkspan("mount", *ROUTER.flags(), "--expose", prefix, d)
    equal(again.returncode, 0, again.stderr)
    equal(pathlib.Path(prefix, "memory/before").read_text(), "x")
    umount(d)
    BASE.nothing_left()
    equal((os.listdir(prefix), os.listdir(d)), ([], []))


class Writer:
    """Tries, again and again, to make new files at some places, as an agent that runs on would."""

    SCRIPT = """
import itertools, os, sys
for n in itertools.count():
    for place in sys.argv[1:]:
        try:
            os.close(os.open(f"{place}/tried-{n}", os.O_CREAT | os.O_WRONLY))
        except OSError:
            pass
"""

    def __init__(self, *places):
        self.process = subprocess.Popen(["python3", "-c", self.SCRIPT, *places])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait(timeout=30)


def test_nothing_lands_beneath_while_a_killed_mount_is_mounted_again():
    """The directories beneath take nothing at any instant: not while the router is away, not while the
    new mount takes the old one's place."""
    place = BASE.make("beneath/memory")  # there before, so that it is there after
    prefix = os.path.dirname(place)
    flags = ["--expose", prefix, "--workspace", BASE.make("work")]
    d = mount("below", *flags)
    os.kill(status_of(d)["pid"], signal.SIGKILL)
    with Writer(d, place):
        ROUTER.stop()
        try:
            done = BASE.linkspan("mount", *ROUTER.flags(), *flags, d)
            equal(done.returncode, 1)
            check("neither read nor written" in done.stderr and f"linkspan umount {d}" in done.stderr, done.stderr)
            equal(errno_of(pathlib.Path(d, "x").write_text, "x"), errno.ENOTCONN, "as the dead mount left it")
        finally:
            ROUTER.start()
        for _ in range(3):
            done = BASE.linkspan("mount", *ROUTER.flags(), *flags, d)
            equal(done.returncode, 0, done.stderr)
            equal((BASE.mounts().count(d), BASE.mounts().count(place)), (2, 2), "one mount and its cover")
            os.kill(status_of(d)["pid"], signal.SIGKILL)
        equal(BASE.linkspan("mount", *ROUTER.flags(), *flags, d).returncode, 0)
        eventually(lambda: any(n.startswith("tried-") for n in os.listdir(place)), 20, "the writer gets through")
    umount(d, "--lazy")
    BASE.nothing_left()
    equal((os.listdir(d), os.listdir(prefix), os.listdir(place)), ([], ["memory"], []), "what fell through")


def test_a_mount_that_fails_leaves_the_covers_and_what_they_need_to_go():
    """It gets as far as the exposed paths, where somebody has put a file meanwhile."""
    prefix = BASE.make("prefix-full")
    d = mount("covered", "--expose", prefix)
    os.kill(status_of(d)["pid"], signal.SIGKILL)
    other = BASE.make("prefix-other")
    BASE.make("prefix-other/memory")
    BASE.write("prefix-other/memory/precious", "x")
    done = BASE.linkspan("mount", *ROUTER.flags(), "--expose", other, d)
    equal(done.returncode, 1)
    check("not empty" in done.stderr and f"linkspan umount {d}" in done.stderr, done.stderr)
    for place in (d, f"{prefix}/memory"):
        equal(errno_of(pathlib.Path(place, "x").write_text, "x"), errno.EROFS, place)
    done = BASE.linkspan("status", d)
    check(done.returncode == 1 and "dead" in done.stdout, done.stdout)
    # Without --expose: what the dead mount had exposed goes.
    equal(BASE.linkspan("mount", *ROUTER.flags(), d).returncode, 0)
    equal(os.listdir(prefix), [])
    umount(d)
    BASE.nothing_left()
    equal(os.listdir(d), [])


def test_exposed_at_the_root_and_killed():
    """What a sandbox image does: /memory and the others. In a root directory of our own."""
    flags = " ".join(ROUTER.flags())
    script = f"""
      mkdir /mnt/l && {LINKSPAN} mount {flags} --expose / /mnt/l && echo x > /memory/rooted || exit 1
      kill -9 $(sed -n 's/.*"pid": \\([0-9]*\\),.*/\\1/p' /.linkspan/status.json)
      while ls /memory >/dev/null 2>&1; do sleep 0.05; done
      umount /memory && ls -A /memory; touch /memory/lost 2>/dev/null && echo LOST
      {LINKSPAN} status; echo status $?
      {LINKSPAN} mount {flags} --expose / /mnt/l && cat /memory/rooted
      {LINKSPAN} umount /mnt/l && ls -A / | grep -x -e memory -e sessions -e .linkspan"""
    binds = [word for top in sorted(os.listdir("/")) if top not in ("memory", "sessions", "skills", "workspace", ".linkspan", "mnt")
             for word in (["--symlink", os.readlink(f"/{top}"), f"/{top}"] if os.path.islink(f"/{top}") else ["--dev-bind", f"/{top}", f"/{top}"])]
    done = subprocess.run(["bwrap", "--die-with-parent", *binds, "--dir", "/mnt", "--cap-add", "ALL", "--", "sh", "-c", script],
                          env=BASE.environment(), capture_output=True, text=True, timeout=90, stdin=subprocess.DEVNULL)
    lines = done.stdout.splitlines()
    check("status 1" in lines and "LOST" not in lines and any("dead" in line for line in lines), done.stdout + done.stderr)
    equal(lines[-1], "x", done.stdout + done.stderr)


def test_one_route_unmounted_by_root():
    d = mount("oneroute")
    pid = status_of(d)["pid"]
    subprocess.run(["umount", f"{d}/memory"], check=True, timeout=30)
    equal(errno_of(pathlib.Path(d, "memory/lost").write_text, "x"), errno.EROFS)
    equal(os.listdir(f"{d}/memory"), [])
    pathlib.Path(d, "sessions/still").write_text("served")
    done = BASE.linkspan("status", d)
    equal(done.returncode, 1)
    check(f"UNMOUNTED  {d}/memory" in done.stdout and f"linkspan umount {d}" in done.stdout, done.stdout)
    equal(status_of(d)["unmounted"], [f"{d}/memory"])
    check(alive(pid), "it serves the others")
    umount(d)
    BASE.nothing_left()
    d = mount("oneroute")
    subprocess.run(["umount", f"{d}/memory"], check=True, timeout=30)
    pid = status_of(d)["pid"]
    subprocess.run(["umount", "-R", d], check=True, timeout=60)
    gone([pid])
    BASE.nothing_left()


def test_an_exposed_mount_unmounted_by_root():
    prefix = BASE.make("prefix")
    d = mount("oneexposed", "--expose", prefix)
    pid = status_of(d)["pid"]
    subprocess.run(["umount", f"{prefix}/memory"], check=True, timeout=30)
    equal(errno_of(pathlib.Path(prefix, "memory/lost").write_text, "x"), errno.EROFS)
    pathlib.Path(d, "memory/still").write_text("served")
    done = BASE.linkspan("status", d)
    check(done.returncode == 1 and f"UNMOUNTED  {prefix}/memory" in done.stdout, done.stdout)
    subprocess.run(["umount", "-R", d], check=True, timeout=60)
    gone([pid])
    BASE.nothing_left()
    equal((os.listdir(prefix), os.listdir(d)), ([], []))


def test_two_mounts_of_one_directory_at_once():
    d = BASE.make("contended")
    for _ in range(3):
        tries = [BASE.start("mount", *ROUTER.flags(), *other, d, stderr=subprocess.PIPE)
                 for other in ([], ["--state-dir", BASE.path("other-state")]) * 3]
        said = [(t.communicate(timeout=60)[1], t.returncode) for t in tries]
        equal(sorted(status for _, status in said), [0, 1, 1, 1, 1, 1], str(said))
        for text, status in said:
            check(status == 0 or "just mounting" in text or "already a Linkspan mount" in text, text)
        equal(BASE.mounts().count(d), 2, "one mount and its cover")
        umount(d)
        BASE.nothing_left()
        equal(os.listdir(f"{BASE.state}/linkspan/mounts"), [], "state files that are left")


def test_signals_end_a_foreground_mount():
    d = BASE.make("signalled")
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        read, write = os.pipe()
        process = BASE.start("mount", "-f", "--ready-fd", str(write), *ROUTER.flags(), d, pass_fds=[write],
                             stderr=subprocess.PIPE)
        os.close(write)
        with os.fdopen(read) as ready:
            check(ready.readline(), process.poll())
        holder = subprocess.Popen(["sh", "-c", f"exec 3>{d}/memory/unsaved; printf {number} >&3; echo; read line"],
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd="/")
        holder.stdout.readline()
        process.send_signal(number)
        equal(process.wait(timeout=30), 0, process.stderr.read())
        holder.communicate("\n", timeout=30)
        BASE.nothing_left()
        equal(os.listdir(d), [])
    silent = socket.socket(socket.AF_UNIX)  # takes connections and says nothing
    silent.bind(BASE.path("silent.sock"))
    silent.listen()
    with silent:
        process = BASE.start("mount", "-f", "--router", f"unix:{BASE.path('silent.sock')}", "--token-file", ROUTER.token, d,
                             stderr=subprocess.PIPE)
        silent.accept()
        began = now()
        process.send_signal(signal.SIGTERM)
        equal(process.wait(timeout=30), 1)
        check(now() - began < 5 and "ended by a signal" in process.stderr.read(), "waited for the router")
    BASE.nothing_left()
    d = mount("signalled")
    equal(pathlib.Path(d, "memory/unsaved").read_text(), str(int(signal.SIGHUP)), "what write accepted")
    umount(d)


def test_odd_names_and_ways_to_say_them():
    for name in ("with space", "new\nline", "tab\tand\\back", "ümläut"):
        d = mount(name)
        equal(BASE.linkspan("status", d).returncode, 0, name)
        pathlib.Path(d, "memory/odd").write_text(name)
        os.kill(status_of(d)["pid"], signal.SIGKILL)
        equal(BASE.linkspan("status", d).returncode, 1, name)
        equal(BASE.linkspan("mount", *ROUTER.flags(), d).returncode, 0, name)
        equal(pathlib.Path(d, "memory/odd").read_text(), name)
        umount(d)
        BASE.nothing_left()
    d = BASE.make("relative")
    os.path.lexists(BASE.path("a link")) or os.symlink(d, BASE.path("a link"))
    ways = ("relative", "relative/", "./relative/.", "../" + os.path.basename(BASE.dir) + "/relative", "a link", "a link/")
    for way, other in zip(ways, ways[1:] + ways[:1]):
        done = BASE.linkspan("mount", *ROUTER.flags(), way, cwd=BASE.dir)
        equal(done.returncode, 0, way + done.stderr)
        equal(status_of(d)["dir"], d)
        equal(BASE.linkspan("status", other, cwd=BASE.dir).returncode, 0, other)
        equal(BASE.linkspan("umount", other, cwd=BASE.dir).returncode, 0, other)
        BASE.nothing_left()


def test_umount_cleans_up_a_killed_mount():
    prefix = BASE.make("prefix")
    d = mount("killed2", "--expose", prefix)
    os.kill(status_of(d)["pid"], signal.SIGKILL)
    eventually(lambda: errno_of(os.listdir, d) == errno.ENOTCONN, 10, "dead")
    check("cleaned up" in umount(d).stderr)
    BASE.nothing_left()
    equal((os.listdir(prefix), os.listdir(d)), ([], []))
    equal(BASE.linkspan("umount", d).returncode, 1)


def test_mount_at_once_after_a_kill():
    """The kernel still answers stat of the dead mount from what it has cached."""
    flags = ["--expose", BASE.make("prefix"), "--workspace", BASE.make("work")]
    d = mount("again", *flags)
    for n in range(3):
        pathlib.Path(d, f"memory/n{n}").write_text("acknowledged")
        os.stat(d)
        os.kill(status_of(d)["pid"], signal.SIGKILL)
        done = BASE.linkspan("log", f"{d}/memory/n{n}")
        equal(done.returncode, 1)
        check(f"mount it again (linkspan mount --workspace {flags[-1]} {d})" in done.stderr, done.stderr)
        done = BASE.linkspan("mount", *ROUTER.flags(), *flags, d)
        equal(done.returncode, 0, done.stderr)
        equal(pathlib.Path(d, f"memory/n{n}").read_text(), "acknowledged")
        equal(BASE.mounts().count(d), 2, "one mount and its cover")
    umount(d)
    BASE.nothing_left()


def test_status_of_a_stopped_mount_does_not_hang():
    d = mount("stopped")
    pid = status_of(d)["pid"]
    os.kill(pid, signal.SIGSTOP)
    began = now()
    done = BASE.linkspan("status", "--timeout", "1", "--json", d)
    check(now() - began < 5, "took too long")
    equal((done.returncode, json.loads(done.stdout)["state"]), (1, "not answering"))
    os.kill(pid, signal.SIGCONT)
    equal(BASE.linkspan("status", d).returncode, 0)
    umount(d)


def test_a_stopped_mount_is_not_taken_for_a_dead_one():
    d = mount("asleep")
    pathlib.Path(d, "memory/before").write_text("x")
    pid = status_of(d)["pid"]
    os.kill(pid, signal.SIGSTOP)
    try:
        done = BASE.linkspan("mount", *ROUTER.flags(), d)
        equal(done.returncode, 1)
        check("cannot ask" in done.stderr and "--lazy" in done.stderr, done.stderr)
        # Another state directory knows nothing of it.
        elsewhere = {"XDG_STATE_HOME": BASE.make("state-else")}
        done = BASE.linkspan("umount", d, env=elsewhere)
        equal(done.returncode, 1)
        check("cannot ask" in done.stderr and "--lazy" in done.stderr, done.stderr)
        began = now()
        done = BASE.linkspan("umount", d)
        equal(done.returncode, 1)
        check(f"kill -CONT {pid}" in done.stderr and now() - began < 20, done.stderr)
        check(d in BASE.mounts(), "it is still there")
    finally:
        os.kill(pid, signal.SIGCONT)
    equal(pathlib.Path(d, "memory/before").read_text(), "x")
    umount(d)
    BASE.nothing_left()


def test_lazy_umount_of_a_stopped_mount_takes_it_away_and_saves_what_it_can():
    prefix = BASE.make("prefix")
    d = mount("asleep", "--expose", prefix, "--workspace", BASE.make("work"))
    pid = status_of(d)["pid"]
    # Not in this process: each child of it would close the file, and wait for the stopped mount.
    holder = subprocess.Popen(["sh", "-c", f"exec 3>{d}/memory/unsaved; printf acknowledged >&3; echo; read line"],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd="/")
    holder.stdout.readline()
    os.kill(pid, signal.SIGSTOP)
    began = now()
    umount(d, "--lazy")
    check(now() - began < 30, "took too long")
    holder.communicate("\n", timeout=30)
    gone([pid])
    BASE.nothing_left()
    equal((os.listdir(prefix), os.listdir(d)), ([], []))
    d = mount("asleep")
    equal(pathlib.Path(d, "memory/unsaved").read_text(), "acknowledged")
    umount(d)


def test_another_users_mount_is_not_taken_for_a_dead_one():
    d = BASE.make("theirs", uid=65534)
    flags = ROUTER.flags(ROUTER.nobody_token)
    equal(BASE.linkspan("mount", *flags, d, user=NOBODY).returncode, 0)
    as_user = lambda script: subprocess.run([*NOBODY, "sh", "-c", script], capture_output=True, text=True, timeout=30)  # noqa: E731
    pid = json.loads(as_user(f"cat {d}/.linkspan/status.json").stdout)["pid"]
    if errno_of(os.listdir, d) == errno.EACCES:  # fuse.conf has no user_allow_other
        for command in (["mount", *ROUTER.flags()], ["umount"]):
            done = BASE.linkspan(*command, d)
            equal(done.returncode, 1)
            check("cannot ask" in done.stderr and "65534" in done.stderr, done.stderr)
        check("not answering" in BASE.linkspan("status", d).stdout)
    check(alive(pid) and as_user(f"ls {d}/memory").returncode == 0, "it was taken away")
    equal(BASE.linkspan("umount", d, user=NOBODY).returncode, 0)
    gone([pid])
    BASE.nothing_left()


def test_umount_does_not_believe_a_directory():
    """Root is asked to unmount what a user made to look like a mount of root's process."""
    d = mount("real")
    pid = status_of(d)["pid"]
    fake = BASE.make("fake", uid=65534)
    os.mkdir(f"{fake}/.linkspan")
    BASE.write("fake/.linkspan/status.json", json.dumps({"dir": fake, "pid": pid}), mode=0o644)
    done = BASE.linkspan("umount", fake)
    equal(done.returncode, 1)
    check("not a Linkspan mount" in done.stderr, done.stderr)
    check(alive(pid) and d in BASE.mounts(), "ended the process of another mount")
    umount(d)


def test_a_bind_that_others_replaced_stays():
    prefix = BASE.make("prefix")
    d = mount("replaced", "--expose", prefix, "--workspace", BASE.make("work"))
    subprocess.run(["mount", "-t", "tmpfs", "another", f"{prefix}/workspace"], check=True, timeout=60)
    done = BASE.linkspan("umount", "--lazy", d)
    check(f"another {prefix}/workspace tmpfs" in pathlib.Path("/proc/mounts").read_text(), f"unmounted what is not ours: {done.stderr}")
    while f"{prefix}/workspace" in BASE.mounts():
        subprocess.run(["umount", f"{prefix}/workspace"], check=True, timeout=60)
    for name in os.listdir(prefix):
        os.rmdir(f"{prefix}/{name}")
    BASE.nothing_left()


def test_router_away_and_back():
    d = mount("away", "--workspace", BASE.make("work"))
    pathlib.Path(d, "memory/seen").write_text("x")
    ROUTER.stop()
    eventually(lambda: status_of(d)["state"] == "disconnected", 20, "the mount notices")
    done = BASE.linkspan("status", d)
    equal(done.returncode, 1)
    check("disconnected since" in done.stdout and "stale since" in done.stdout, done.stdout)
    began = now()
    check("as last seen" in pathlib.Path(d, ".linkspan/changes").read_text())
    for name in ("status", "whoami", "routes", "stats"):
        check(pathlib.Path(d, ".linkspan", name).read_text(), name)
    pathlib.Path(d, "workspace/untouched").write_text("x")
    check(now() - began < 5, "control files wait for nobody")
    ROUTER.start()
    eventually(lambda: status_of(d)["healthy"], 30, "the mount is healthy again")
    equal(BASE.linkspan("status").returncode, 0)
    umount(d)


def test_expose_and_status_from_anywhere():
    prefix = BASE.make("prefix")
    d = mount("exposed", "--expose", prefix, "--workspace", BASE.make("work"))
    equal(sorted(os.listdir(prefix)), [".linkspan", "memory", "sessions", "skills", "workspace"])
    pathlib.Path(prefix, "memory/both").write_text("same")
    equal(pathlib.Path(d, "memory/both").read_text(), "same")
    equal(errno_of(os.mkdir, f"{prefix}/skills/x"), errno.EROFS)
    check(BASE.linkspan("log", f"{prefix}/memory/both").stdout.count("memory/both") >= 1)
    done = BASE.linkspan("status", "--json")
    equal([m["dir"] for m in json.loads(done.stdout)], [d])
    umount(d)
    equal(os.listdir(prefix), [])


def other_router(name, path, instead):
    """A router whose route `path` is at `instead`."""
    base = Base(name)
    router = Router(base)
    router.stop()
    config = pathlib.Path(router.config)
    config.write_text(config.read_text().replace(f'path = "{path}"', f'path = "{instead}"'))
    router.start()
    return base, router


def test_a_route_below_a_directory_that_is_no_route():
    base, router = other_router("nested", "sessions", "team/shared")
    try:
        d, prefix = base.make("d"), base.make("prefix")
        done = base.linkspan("mount", *router.flags(), "--expose", prefix, d)
        equal(done.returncode, 0, done.stderr)
        equal((sorted(os.listdir(d)), os.listdir(f"{d}/team")), ([".linkspan", "memory", "skills", "team"], ["shared"]))
        pathlib.Path(prefix, "team/shared/x").write_text("both")
        equal(pathlib.Path(d, "team/shared/x").read_text(), "both")
        equal(base.linkspan("umount", d).returncode, 0)
        equal((os.listdir(prefix), os.listdir(d)), ([], []))
        done = base.linkspan("run", *router.flags(), "--", "cat", "/team/shared/x", cwd=base.make("work"))
        equal((done.returncode, done.stdout), (0, "both"), done.stderr)
        base.nothing_left()
    finally:
        router.stop()
        base.clean()


def test_a_route_inside_of_another_is_refused_with_both_names():
    base, router = other_router("inside", "sessions", "memory/deep")
    try:
        done = base.linkspan("mount", *router.flags(), base.make("d"))
        equal(done.returncode, 1)
        check("memory/deep inside of the route memory," in done.stderr, done.stderr)
        base.nothing_left()
    finally:
        router.stop()
        base.clean()


def test_unmounted_by_somebody_else():
    d = mount("elsewhere")
    pid = status_of(d)["pid"]
    pathlib.Path(d, "memory/kept").write_text("x")
    subprocess.run(["umount", "-R", d], check=True, timeout=60)
    gone([pid])
    BASE.nothing_left()
    equal(BASE.linkspan("status", d).returncode, 1)


def test_unmounted_and_its_place_taken_by_somebody_else():
    d = mount("taken")
    pid = status_of(d)["pid"]
    subprocess.run(["umount", "-R", d], check=True, timeout=60)
    subprocess.run(["umount", d], timeout=60, capture_output=True)  # the cover, unless the server was first
    subprocess.run(["mount", "-t", "tmpfs", "another", d], check=True, timeout=60)
    gone([pid])
    check(f"another {d} tmpfs" in pathlib.Path("/proc/mounts").read_text(), "unmounted what is not ours")
    subprocess.run(["umount", d], check=True, timeout=60)
    BASE.nothing_left()


def test_through_a_symlink():
    d, work = BASE.make("real/dir"), BASE.make("work")
    link = BASE.path("link")
    os.symlink(BASE.path("real"), link)
    for at, other in ((f"{link}/dir", d), (d, f"{link}/dir")):
        equal(BASE.linkspan("mount", *ROUTER.flags(), "--workspace", work, at).returncode, 0)
        pathlib.Path(at, "memory/linked").write_text("x")
        equal(BASE.linkspan("status", other).returncode, 0)
        done = BASE.linkspan("mount", *ROUTER.flags(), other)
        check("already a Linkspan mount" in done.stderr, done.stderr)
        umount(other)
        BASE.nothing_left()


def test_read_only():
    d = mount("ro", "--read-only", "--workspace", BASE.make("work"))
    for place in ("memory", "workspace", "skills"):
        equal(errno_of(os.mkdir, f"{d}/{place}/x"), errno.EROFS, place)
    text = BASE.linkspan("status", d).stdout
    check("memory  volume memory  ro (--read-only)" in text and " rw" not in text, text)
    state = status_of(d)
    equal((state["read_only"], [r["path"] for r in state["routes"] if r["writable"]]), (True, []))
    umount(d)


def test_mount_helper_and_fstab_form():
    helper = BASE.path("mount.linkspan")
    os.path.lexists(helper) or os.symlink(LINKSPAN, helper)
    d = BASE.make("helper")
    options = f"rw,_netdev,nofail,x-systemd.automount,token_file={ROUTER.token},workspace={BASE.make('work')}"
    run = lambda *args: subprocess.run([helper, *args], env=BASE.environment(), capture_output=True, text=True, timeout=60)  # noqa: E731
    done = run(ROUTER.address, d, "-o", options)
    equal(done.returncode, 0, done.stderr)
    pathlib.Path(d, "memory/helper").write_text("x")
    away = BASE.path("umount.fuse.linkspan")
    os.path.lexists(away) or os.symlink(LINKSPAN, away)
    equal(subprocess.run([away, d], env=BASE.environment(), timeout=60).returncode, 0)
    BASE.nothing_left()
    done = run(ROUTER.address, d, "-o", options + ",frobnicate=1")
    equal(done.returncode, 2)
    check("frobnicate" in done.stderr, done.stderr)
    equal(run(ROUTER.address).returncode, 2)
    for wrong, mend in (("owner=wrong", "squash or identity"), ("remount", "mount it again")):
        done = run(ROUTER.address, d, "-o", f"{options},{wrong}")
        equal(done.returncode, 2)
        check(wrong in done.stderr and mend in done.stderr, done.stderr)
    done = run("--help")
    equal((done.returncode, "token_file=FILE" in done.stdout), (0, True), done.stderr)
    done = run(ROUTER.address, d, "-o", options + ",noexec")
    equal(done.returncode, 2)
    check("noexec" in done.stderr and "add exec" in done.stderr, done.stderr)
    equal(run("-f", ROUTER.address, d, "-o", options + ",noexec,exec").returncode, 0)
    equal(run(ROUTER.address, d, "-o", f"token_file={ROUTER.token},ro").returncode, 0)
    equal(errno_of(os.mkdir, f"{d}/memory/x"), errno.EROFS)
    umount(d)


def test_mount_8_finds_the_helper():
    """mount(8) looks in /sbin; in a mount namespace of our own that is ours to arrange."""
    d = BASE.make("mount8")
    sbin = BASE.make("sbin")
    for name in ("mount.linkspan", "umount.fuse.linkspan"):
        os.path.lexists(f"{sbin}/{name}") or os.symlink(LINKSPAN, f"{sbin}/{name}")
    script = f"""set -e
      mkdir -p /tmp/keep-$$ && mount --bind /usr/sbin /tmp/keep-$$
      mount -t tmpfs none /usr/sbin && cp -a {sbin}/. /usr/sbin/
      mount -t linkspan -o _netdev,token_file={ROUTER.token} {ROUTER.address} {d}
      echo through > {d}/memory/mount8; cat {d}/memory/mount8
      umount {d}
      ! grep -q ' {d} ' /proc/self/mountinfo
      umount /tmp/keep-$$; rmdir /tmp/keep-$$"""
    done = subprocess.run(["unshare", "-m", "bash", "-c", script], env=BASE.environment(), capture_output=True, text=True, timeout=60)
    equal((done.returncode, done.stdout), (0, "through\n"), done.stderr)


def test_as_a_user_with_fusermount():
    d = BASE.make("user", mode=0o755, uid=65534)
    work = BASE.make("user-work", uid=65534)
    flags = ROUTER.flags(ROUTER.nobody_token)
    done = BASE.linkspan("mount", *flags, "--workspace", work, d, user=NOBODY)
    equal(done.returncode, 0, done.stderr)
    as_user = lambda script: subprocess.run([*NOBODY, "sh", "-c", script], capture_output=True, text=True, timeout=30)  # noqa: E731
    done = as_user(f"echo mine > {d}/memory/user && cat {d}/memory/user && echo w > {d}/workspace/w && cat {d}/.linkspan/whoami")
    equal(done.returncode, 0, done.stderr)
    check(done.stdout.startswith("mine\nagent"), done.stdout)
    equal(pathlib.Path(work, "w").read_text(), "w\n")
    done = BASE.linkspan("umount", d, user=NOBODY)
    equal(done.returncode, 0, done.stderr)
    BASE.nothing_left()
    equal(os.stat(d).st_mode & 0o777, 0o755, "the mode of the directory came back")
    # Killed: the directory beneath takes nothing until it is cleaned up.
    equal(BASE.linkspan("mount", *flags, d, user=NOBODY).returncode, 0)
    pid = json.loads(as_user(f"cat {d}/.linkspan/status.json").stdout)["pid"]
    os.kill(pid, signal.SIGKILL)
    gone([pid])
    check(as_user(f"fusermount3 -uz {d}; echo lost > {d}/lost").returncode != 0, "written beneath the mount")
    done = BASE.linkspan("umount", d, user=NOBODY)
    equal(done.returncode, 0, done.stderr)
    equal((os.stat(d).st_mode & 0o777, os.listdir(d)), (0o755, []))
    # Killed again, and the router is away: it stays unwritable, and its mode is not forgotten.
    equal(BASE.linkspan("mount", *flags, d, user=NOBODY).returncode, 0)
    os.kill(json.loads(as_user(f"cat {d}/.linkspan/status.json").stdout)["pid"], signal.SIGKILL)
    check(as_user(f"fusermount3 -uz {d}").returncode == 0)
    ROUTER.stop()
    try:
        equal(BASE.linkspan("mount", *flags, d, user=NOBODY).returncode, 1)
        equal(os.stat(d).st_mode & 0o777, 0o555, "it could be written to")
    finally:
        ROUTER.start()
    # And again: the next mount takes its place.
    for _ in range(2):
        done = BASE.linkspan("mount", *flags, d, user=NOBODY)
        equal(done.returncode, 0, done.stderr)
        pid = json.loads(as_user(f"cat {d}/.linkspan/status.json").stdout)["pid"]
        os.kill(pid, signal.SIGKILL)
    done = BASE.linkspan("umount", d, user=NOBODY)
    equal(done.returncode, 0, done.stderr)
    BASE.nothing_left()
    equal(os.stat(d).st_mode & 0o777, 0o755)


if __name__ == "__main__":
    try:
        labtest.main(globals(), each_seconds=180, recover=BASE.recover)
    finally:
        ROUTER.stop()
        BASE.clean()
