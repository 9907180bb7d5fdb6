#!/usr/bin/env python3
"""--local: the private PostgreSQL and router. Made once, shared by several users, ended by the last,
kept between runs, and mended after every kind of kill; as root (which drops to another user) and as
a user without rights."""
import fcntl
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess

from cli_env import BARE_NOBODY, LINKSPAN, NOBODY, PROGRAMS, Base, check, equal, eventually, gone, labtest, status_of

BASE = Base("local")
USERS = {"root": [], "nobody": BARE_NOBODY}
WORK = {"root": BASE.make("work-root"), "nobody": BASE.make("work-nobody", uid=65534)}


def local(name, *args, **options):
    options.setdefault("cwd", WORK[name])
    options.setdefault("timeout", 150)
    return BASE.linkspan(*args, user=USERS[name], **options)


def sh(name, script, status=0):
    done = local(name, "run", "--local", "--", "sh", "-c", script)
    equal(done.returncode, status, f"{name}: {done.stdout}{done.stderr}")
    return done.stdout


def state(name):
    done = local(name, "local", "status", "--json")
    answer = json.loads(done.stdout)
    equal(done.returncode, 0 if answer["running"] else 1)
    return answer


def servers(name):
    """pids of the supervisor, PostgreSQL and the router of one user's embedded default."""
    root = os.path.dirname(state(name)["state_dir"])
    return {pid: command for pid, command in BASE.processes(root).items() if "local status" not in command}


def each(test):
    def both():
        for name in USERS:
            test(name)
            check(not state(name)["running"], f"{name}: servers are left")
            equal(servers(name), {}, f"{name}: processes are left")
            BASE.nothing_left()
    both.__name__ = test.__name__
    return both


@each
def test_first_run_makes_it_and_the_next_finds_the_data(name):
    done = local(name, "run", "--local", "--", "sh", "-c", "echo kept > /memory/first; ls -A / | grep -c -e '^skills$' -e '^memory$' -e '^sessions$'")
    equal((done.returncode, done.stdout), (0, "3\n"), done.stderr)
    check("creating a private PostgreSQL" in done.stderr, done.stderr)
    check(not state(name)["running"], "the last user ends the servers")
    done = local(name, "run", "--local", "--", "cat", "/memory/first")
    equal((done.returncode, done.stdout, done.stderr), (0, "kept\n", ""))


@each
def test_secrets_and_servers_are_private(name):
    process = BASE.start("run", "--local", "--", "sh", "-c", "echo $$; read line", user=USERS[name], cwd=WORK[name],
                         stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    process.stdout.readline()
    answer = state(name)
    for key in ("token_file", "publisher_token_file"):
        equal(os.stat(answer[key]).st_mode & 0o777, 0o600, key)
    secret = pathlib.Path(answer["token_file"]).read_text().split()[0]
    running = servers(name)
    check(len(running) >= 3, running)
    for pid, command in running.items():
        check(secret not in command and secret.encode() not in pathlib.Path(f"/proc/{pid}/environ").read_bytes(), command)
        if "local supervise" not in command and LINKSPAN not in command.split()[0]:
            check(os.stat(f"/proc/{pid}").st_uid != 0, f"runs as root: {command}")
    sockets = subprocess.run(["ss", "-Hltnp"], capture_output=True, text=True, timeout=30).stdout
    for pid in running:
        check(f"pid={pid}," not in sockets, "listens on the network: " + sockets)
    process.communicate("\n", timeout=60)


@each
def test_a_token_of_the_environment_does_not_reach_the_servers(name):
    secret = "lsp_" + "x" * 43
    equal(local(name, "local", "start", env={"LINKSPAN_TOKEN": secret}).returncode, 0)
    check(len(servers(name)) >= 3, servers(name))
    for pid, command in servers(name).items():
        check(secret.encode() not in pathlib.Path(f"/proc/{pid}/environ").read_bytes(), command)
    equal(local(name, "local", "stop").returncode, 0)
    process = BASE.start("run", "--local", "--", "sh", "-c", "echo $$; read line", user=USERS[name], cwd=WORK[name],
                         env={"LINKSPAN_TOKEN": secret}, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    process.stdout.readline()
    for pid, command in servers(name).items():
        check(secret.encode() not in pathlib.Path(f"/proc/{pid}/environ").read_bytes(), command)
    process.communicate("\n", timeout=60)


@each
def test_concurrent_users_share_and_the_last_one_ends_it(name):
    script = "echo $$ > /memory/c-$$; until test $(ls /memory/c-* | wc -l) = 3; do sleep 0.05; done; rm -f /memory/unused; echo all"
    processes = [BASE.start("run", "--local", "--", "sh", "-c", script, user=USERS[name], cwd=WORK[name],
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL) for _ in range(3)]
    for process in processes:
        out, err = process.communicate(timeout=150)
        equal((process.returncode, out), (0, "all\n"), err)
    sh(name, "rm /memory/c-*")


@each
def test_every_kill_is_survived(name):
    sh(name, "echo before > /memory/survivor")
    for victim in ("local supervise", "postgres -D", "linkspan-routerd --config", None):
        process = BASE.start("run", "--local", "--", "sh", "-c", "echo $$; exec sleep 100", user=USERS[name], cwd=WORK[name],
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL)
        process.stdout.readline()
        for pid, command in list(servers(name).items()):
            if victim is None or victim in command:
                os.kill(pid, signal.SIGKILL)
        process.kill()
        process.communicate(timeout=60)
        eventually(lambda: not servers(name), 40, f"{name}: all end after a kill of {victim}")
        equal(sh(name, "cat /memory/survivor"), "before\n", f"after a kill of {victim}")


@each
def test_a_lock_file_left_by_a_crash_does_not_end_another_postgresql(name):
    """After a reboot the pid in it may be the machine's own server."""
    sh(name, "echo kept > /memory/reboot")
    other = BASE.path(f"tmp/{name}-other/postgres")
    os.makedirs(os.path.dirname(other))
    shutil.copy(shutil.which("sleep"), other)
    os.chmod(other, 0o755)
    stranger = subprocess.Popen([other, "1000"], cwd="/", preexec_fn=lambda: name == "root" or os.setuid(65534))
    try:
        eventually(lambda: pathlib.Path(f"/proc/{stranger.pid}/comm").read_text() == "postgres\n", 10, "it runs")
        lock = pathlib.Path(state(name)["state_dir"], "pg/postmaster.pid")
        lock.write_text(f"{stranger.pid}\n{lock.parent}\n")
        owner = os.stat(lock.parent)
        os.chown(lock, owner.st_uid, owner.st_gid)
        equal(sh(name, "cat /memory/reboot"), "kept\n")
        equal(stranger.poll(), None, "it was ended")
    finally:
        stranger.kill()
        stranger.wait()
        shutil.rmtree(os.path.dirname(other))


@each
def test_a_killed_server_is_started_again_under_its_users(name):
    process = BASE.start("run", "--local", "--", "sh", "-c", "echo go; read line; echo after > /memory/again && cat /memory/again",
                         user=USERS[name], cwd=WORK[name], stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.PIPE)
    process.stdout.readline()
    for victim in ("linkspan-routerd --config", "postgres -D"):
        before = [p for p, c in servers(name).items() if victim in c]
        for pid in before:
            os.kill(pid, signal.SIGKILL)
        eventually(lambda v=victim, b=before: any(v in c and p not in b for p, c in servers(name).items()), 40, f"{victim} is back")
    out, err = process.communicate("\n", timeout=90)
    equal((process.returncode, out), (0, "after\n"), err)


@each
def test_start_stop_status_prune(name):
    done = local(name, "local", "start")
    equal(done.returncode, 0, done.stderr)
    answer = state(name)
    check(answer["running"] and answer["kept"] and answer["users"] == [], answer)
    sh(name, "echo x > /memory/prune-me")
    check(state(name)["running"], "it stays after its last user")
    done = local(name, "local", "prune", "--yes")
    equal(done.returncode, 1)
    check("local stop" in done.stderr, done.stderr)
    equal(local(name, "local", "stop").returncode, 0)
    check(not state(name)["running"])
    equal(local(name, "local", "stop").returncode, 0, "stopping what is stopped")
    check(pathlib.Path(answer["state_dir"]).exists(), "stop keeps the data")
    equal(local(name, "local", "prune").returncode, 1, "not without --yes where nobody can be asked")
    equal(local(name, "local", "prune", "--yes").returncode, 0)
    check(not pathlib.Path(answer["state_dir"]).exists())
    equal(sh(name, "ls /memory"), "")


@each
def test_prune_and_starts_do_not_meet_halfway(name):
    root = pathlib.Path(state(name)["state_dir"])
    equal(sh(name, "true"), "")
    with open(root / "start.lock", "a", encoding="utf-8") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        done = local(name, "local", "prune", "--yes")
        equal(done.returncode, 1)
        check("starting" in done.stderr, done.stderr)
        check((root / "pg/PG_VERSION").exists(), "removed under a start")
        # Who waits for a lock that is pruned away begins anew.
        process = BASE.start("run", "--local", "--", "true", user=USERS[name], cwd=WORK[name], stderr=subprocess.PIPE,
                             stdin=subprocess.DEVNULL)
        check("waiting" in process.stderr.readline())
        os.rename(root, f"{root}.pruned")
    equal(process.wait(timeout=150), 0, process.stderr.read())
    check((root / "pg/PG_VERSION").exists(), "made anew")
    equal(local(name, "local", "prune", "--yes").returncode, 0)
    check(not root.exists() and not pathlib.Path(f"{root}.pruned").exists())


def test_stop_refuses_while_used():
    process = BASE.start("run", "--local", "--", "sh", "-c", "echo $$; read line", cwd=WORK["root"], stdin=subprocess.PIPE,
                         stdout=subprocess.PIPE)
    process.stdout.readline()
    done = local("root", "local", "stop")
    equal(done.returncode, 1)
    check("--force" in done.stderr, done.stderr)
    process.communicate("\n", timeout=60)


def test_mounts_share_and_end_it():
    first, second = BASE.make("m1"), BASE.make("m2")
    for d in (first, second):
        done = local("root", "mount", "--local", d)
        equal(done.returncode, 0, done.stderr)
    pathlib.Path(first, "memory/shared").write_text("between mounts")
    equal(pathlib.Path(second, "memory/shared").read_text(), "between mounts")
    equal(len(state("root")["users"]), 2)
    equal(local("root", "umount", first).returncode, 0)
    check(state("root")["running"])
    equal(local("root", "umount", second).returncode, 0)
    check(not state("root")["running"], "umount returns when what it started has ended")
    equal(servers("root"), {})


def test_users_are_known_in_a_pid_namespace():
    """As in a container: /proc/locks hides there what was locked by a process that has ended."""
    d = BASE.make("contained")
    done = BASE.linkspan(prefix=["unshare", "-pf", "--mount-proc", "sh", "-c",
                                 f"{LINKSPAN} mount --local {d} && {LINKSPAN} local status --json; {LINKSPAN} local stop; "
                                 f"{LINKSPAN} umount {d}; {LINKSPAN} local status --json"], timeout=150)
    check(re.search(r'"users": \[\s*\d+\s*\]', done.stdout), done.stdout + done.stderr)
    check("in use by 1 mounts" in done.stderr, done.stderr)
    check('"running": false' in done.stdout, done.stdout + done.stderr)
    equal(servers("root"), {})


def test_a_killed_mount_gives_up_its_use():
    d = BASE.make("m3")
    equal(local("root", "mount", "--local", d).returncode, 0)
    pid = status_of(d)["pid"]
    os.kill(pid, signal.SIGKILL)
    gone([pid])
    said = local("root", "status", d).stdout
    check(f"linkspan mount --local {d})" in said, said)
    eventually(lambda: not servers("root"), 40, "the servers notice that nobody is left")
    equal(local("root", "umount", d).returncode, 0)


def test_skills_are_published_with_the_other_token():
    d = BASE.make("publish")
    equal(local("root", "local", "start").returncode, 0)
    equal(local("root", "mount", "--local", "--token-file", state("root")["publisher_token_file"], d).returncode, 0)
    os.makedirs(f"{d}/skills/greet", exist_ok=True)
    pathlib.Path(d, "skills/greet/SKILL.md").write_text("# Greet\n")
    equal(sh("root", "cat /skills/greet/SKILL.md; touch /skills/x 2>/dev/null || echo refused"), "# Greet\nrefused\n")
    equal(local("root", "umount", d).returncode, 0)
    # The same in one command.
    done = local("root", "run", "--local", "--publisher", "sh", "-c", "mkdir /skills/part && echo leave > /skills/part/SKILL.md")
    equal(done.returncode, 0, done.stderr)
    equal(sh("root", "cat /skills/part/SKILL.md"), "leave\n")
    equal(local("root", "local", "stop").returncode, 0)


def test_what_the_readme_says_to_type():
    """All of it, pasted in its order after what ./quickstart does; twice, as people do."""
    text = (labtest.ROOT / "README.md").read_text().split("## For a team")[0]
    blocks = re.findall(r"^```sh\n(.*?)^```", text, flags=re.S | re.M)
    check("./quickstart" in blocks[0] and len(blocks) >= 5, blocks)
    script = "\n".join(blocks[1:])
    check("export PATH=$PWD/build/" in script, "how linkspan gets on the PATH")
    script = script.replace("$PWD/build/", f"{PROGRAMS}/")
    for name in USERS:
        home = BASE.make(f"home-{name}", uid=0 if name == "root" else 65534)
        user = [] if name == "root" else NOBODY
        env = {**BASE.environment(user=user), "HOME": home, "XDG_STATE_HOME": f"{home}/state"}

        def bash(text):
            return subprocess.run([*user, "bash"], input=text, capture_output=True, text=True, timeout=200, cwd=home, env=env)
        begun = bash(f"mkdir ~/linkspan-mount; {LINKSPAN} mount --local ~/linkspan-mount && echo Remember. >> ~/linkspan-mount/memory/MEMORY.md")
        equal(begun.returncode, 0, begun.stderr)
        for _ in range(2):
            done = bash(script)
            said = done.stdout + done.stderr
            for word in ("No such file", "has no", "there is no", "--help", "failed", "denied", "is no "):
                check(word not in done.stderr, f"{name}: {said}")
            for word in ("\n/workspace\n", "healthy", "publisher token", "\nSay hello.\n", "agent in sandbox", "user.linkspan.author",
                         "+The deploy needs the VPN.", "restored ", "-plan.md", "linkspan resolve ", "is settled", "\na better one\n"):
                check(word in said, f"{name}: no {word!r} in {said}")
        ended = bash(f"{LINKSPAN} umount ~/linkspan-mount")
        equal(ended.returncode, 0, ended.stderr)


def test_a_path_that_the_servers_user_cannot_pass_is_named():
    closed = BASE.make("closed", mode=0o700)
    done = local("root", "run", "--local", "--state-dir", f"{closed}/state", "--", "true")
    equal(done.returncode, 1)
    check("chmod o+x" in done.stderr and closed in done.stderr, done.stderr)


def test_no_socket_directory_is_left():
    for name in USERS:
        place = os.path.dirname(os.path.dirname(state(name)["router"].removeprefix("unix:")))
        check(not os.path.exists(place), f"looking has made {place}")
        equal(local(name, "local", "start").returncode, 0)
        check(os.path.isdir(f"{place}/pg"), place)
        os.kill(state(name)["pid"], signal.SIGKILL)
        eventually(lambda n=name: not state(n)["running"], 20, "the supervisor is gone")
        equal(local(name, "local", "start").returncode, 0)
        equal(local(name, "local", "stop").returncode, 0)
        check(not os.path.exists(place), f"{place} is left: {os.listdir(place) if os.path.isdir(place) else ''}")


def test_a_full_disk_is_said_without_initdbs_output():
    small = BASE.make("small")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m,mode=1777", "small", small], check=True, timeout=30)
    try:
        done = local("nobody", "run", "--local", "--state-dir", f"{small}/state", "--", "true")
        equal(done.returncode, 1)
        check("is full" in done.stderr and "--state-dir" in done.stderr and "running bootstrap" not in done.stderr, done.stderr)
    finally:
        subprocess.run(["umount", "-l", small], check=True, timeout=30)


def test_a_damaged_cluster_is_said_with_its_log():
    done = local("root", "run", "--local", "--state-dir", BASE.path("damaged"), "--", "true")
    equal(done.returncode, 0, done.stderr)
    os.unlink(BASE.path("damaged/local/pg/PG_VERSION"))
    done = local("root", "run", "--local", "--state-dir", BASE.path("damaged"), "--", "true")
    equal(done.returncode, 1)
    check("postgres.log" in done.stderr and "PG_VERSION" in done.stderr, done.stderr)


if __name__ == "__main__":
    try:
        labtest.main(globals(), each_seconds=400, recover=BASE.recover)
    finally:
        BASE.clean()
