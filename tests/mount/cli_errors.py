#!/usr/bin/env python3
"""Errors of the program: each names the thing and the mend, exits by convention (1 failed, 2 wrong
usage), and leaves nothing half mounted."""
import os
import re

from cli_env import BARE_NOBODY, NOBODY, Base, Router, check, equal, labtest, now
from labtest import sh

BASE = Base("errors")
ROUTER = Router(BASE)


def refused(status, words, *args, **options):
    """The program fails with `status`, says all `words`, and leaves nothing."""
    done = BASE.linkspan(*args, **options)
    equal(done.returncode, status, f"{args}: {done.stdout}{done.stderr}")
    for word in words:
        check(re.search(word, done.stderr), f"{args}: no {word!r} in: {done.stderr}")
    check(done.stderr.startswith("linkspan: "), done.stderr)
    BASE.nothing_left()
    return done


def test_wrong_usage_is_2():
    d = BASE.make("usage")
    refused(2, ["--bogus", "linkspan mount --help"], "mount", "--bogus", d)
    refused(2, ["DIR", "linkspan mount --help"], "mount")
    refused(2, ["squash", "identity"], "mount", "--owner", "me", d)
    refused(2, ["--token-fd"], "mount", "--token-fd", "-3", d)
    refused(2, ["--local", "--router"], "run", "--local", "--router", "unix:/x", "--", "true")
    refused(2, ["CMD", "linkspan run --local -- bash"], "run", "--local")
    refused(2, ["--ready-fd", "77 is no descriptor"], "mount", "--ready-fd", "77", d)
    refused(2, ["name a command", r"mount\|umount\|run"])
    refused(2, [r"name a command: linkspan local start\|stop\|status\|prune"], "local")


def test_wrong_words_are_named_with_the_nearest():
    refused(2, ["no command linkspan frobnicate; see: linkspan --help"], "frobnicate")
    refused(2, [r"no command linkspan stat \(did you mean status\?\); see: linkspan --help"], "stat", "/mnt")
    refused(2, [r"no command linkspan local stp \(did you mean stop\?\); see: linkspan local --help"], "local", "stp")
    refused(2, [r"linkspan mount has no option --readonly \(did you mean --read-only\?\)"], "mount", "--readonly", "/mnt")
    refused(2, [r"linkspan has no option --frob; see: linkspan --help"], "--frob", "mount", "/mnt")
    refused(2, ["linkspan mount has no use for: b -c d; see"], "mount", "/mnt", "b", "-c", "d")
    refused(2, [r"linkspan run has no option --locall \(did you mean --local\?\)"], "run", "--locall", "true")
    refused(2, ["--publisher requires --local"], "mount", "--publisher", "/mnt")
    for number in ("17x", "0", "/mnt/.linkspan/conflicts/*-MEMORY.md"):
        refused(2, [re.escape(number) + " is no conflict", "conflicts"], "resolve", number, "--ours")


def test_help_and_version_are_0_and_on_stdout():
    commands = ("mount", "umount", "run", "local", "local start", "local stop", "local status", "local prune", "status", "log",
                "cat", "diff", "restore", "resolve", "resume", "token", "token narrow")
    for args in (["--help"], ["--version"], *[[*c.split(), "--help"] for c in commands]):
        done = BASE.linkspan(*args)
        equal((done.returncode, done.stderr), (0, ""), str(args))
        check("linkspan" in done.stdout, done.stdout)
    for command in commands:
        text = BASE.linkspan(*command.split(), "--help").stdout
        check("Example" in text and f"  linkspan {command}" in text, f"{command}: no example")
    listed = re.findall(r"^  (\w+)  +", BASE.linkspan("--help").stdout.split("Subcommands:")[1], flags=re.M)
    equal(sorted(listed), sorted(c for c in commands if " " not in c), "a command without its line here")


def test_mountpoint_missing_file_full_or_taken():
    flags = ROUTER.flags()
    refused(1, ["missing does not exist", "mkdir -p"], "mount", *flags, BASE.path("missing"))
    refused(1, ["is not a directory"], "mount", *flags, BASE.write("plain", "x"))
    full = BASE.make("full")
    BASE.write("full/file", "x")
    refused(1, ["full is not empty", "--nonempty"], "mount", *flags, full)
    d = BASE.make("taken")
    equal(BASE.linkspan("mount", *flags, d).returncode, 0)
    done = BASE.linkspan("mount", *flags, d)
    equal(done.returncode, 1)
    check("already a Linkspan mount" in done.stderr, done.stderr)
    equal(BASE.linkspan("umount", d).returncode, 0)
    BASE.nothing_left()


def test_tokens_refused_expired_unreadable():
    d = BASE.make("tokens")
    to = ["--router", ROUTER.address]
    refused(1, ["no token", "--token-file", "operator"], "mount", *to, d)
    refused(1, ["no router", "--local"], "mount", d)
    refused(1, ["/none", "No such file", "put the token there"], "mount", *to, "--token-file", BASE.path("none"), d)
    open_file = BASE.write("open.token", open(ROUTER.token).read(), mode=0o644)
    refused(1, ["open.token", "chmod 600"], "mount", *to, "--token-file", open_file, d)
    refused(1, ["does not look like one"], "mount", *to, "--token-file", BASE.write("bad", "hello\n"), d)
    refused(1, ["is a directory", "--token-file FILE"], "mount", *to, "--token-file", BASE.make("secrets"), d)
    refused(1, ["has no token in it", "operator"], "mount", *to, "--token-file", BASE.write("empty", "\n"), d)
    began = now()
    refused(1, [f"the router at {ROUTER.address} refused the token", "operator"], "mount", *to, "--token-file", ROUTER.unknown, d)
    refused(1, [f"the router at {ROUTER.address} refused the token", "expired"], "mount", *to, "--token-file", ROUTER.expired, d)
    check(now() - began < 8, "a refused token is no reason to try again")
    refused(1, ["token"], "run", *to, "--token-file", ROUTER.unknown, "--", "touch", BASE.path("ran"))
    check(not os.path.exists(BASE.path("ran")), "the command ran without its tree")


def test_router_that_cannot_be_reached():
    d = BASE.make("unreachable")
    token = ["--token-file", ROUTER.token]
    refused(1, ["no router", "--router", "LINKSPAN_ROUTER"], "mount", *token, d)
    refused(2, ["nonsense", "host:port", "linkspan mount --help"], "mount", "--router", "nonsense", *token, d)
    refused(2, ["http://localhost:7433: ", "tls://host:port"], "mount", "--router", "http://localhost:7433", *token, d)
    refused(2, ["unix:relative", "absolute"], "run", "--router", "unix:relative", "--", "true")
    refused(1, ["nonsense", "host:port"], "mount", *token, d, env={"LINKSPAN_ROUTER": "nonsense"})
    for address in (f"unix:{BASE.dir}/none.sock", "127.0.0.1:1"):
        began = now()
        refused(1, [re.escape(address), r"tried for \d+"], "mount", "--router", address, *token, d)
        check(now() - began < 30, "took too long")
    refused(1, [re.escape("127.0.0.1:1"), r"tried for \d+"], "run", "--router", "127.0.0.1:1", *token, "--",
            "touch", BASE.path("ran"))
    check(not os.path.exists(BASE.path("ran")), "the command ran without its tree")


def test_no_fuse_device():
    d = BASE.make("device")
    hidden = ["bwrap", "--dev-bind", "/", "/", "--dev", "/dev", "--"]
    refused(1, ["/dev/fuse", "modprobe fuse|--device"], "mount", *ROUTER.flags(), d, prefix=hidden)
    refused(1, ["/dev/fuse", "modprobe fuse|--device"], "run", *ROUTER.flags(), "--", "true", prefix=hidden)


def test_fuse_device_of_another():
    device = BASE.path("fuse")
    os.mknod(device, 0o020600, os.makedev(10, 229))
    closed = ["unshare", "-m", "sh", "-c", f'mount --bind {device} /dev/fuse && exec "$@"', "sh"]
    flags = ROUTER.flags(ROUTER.nobody_token)
    refused(1, ["/dev/fuse", "chmod 666"], "mount", *flags, BASE.make("closed", uid=65534), user=BARE_NOBODY, prefix=closed)
    refused(1, ["/dev/fuse", "chmod 666"], "run", *flags, "--", "true", user=BARE_NOBODY, prefix=closed)


def test_no_permission_to_mount():
    flags = ROUTER.flags(ROUTER.nobody_token)
    refused(1, ["belongs to another user", "linkspan run"], "mount", *flags, BASE.make("roots"), user=BARE_NOBODY)
    refused(1, ["permitted|fusermount", "linkspan run|root"], "mount", *flags, BASE.make("own", uid=65534), user=BARE_NOBODY)
    equal(os.stat(BASE.path("own")).st_mode & 0o777, 0o755, "the directory's mode came back")


def test_fusermount_could_not_unmount_again():
    etc = BASE.path("etc")
    sh(f"cp -a /etc {etc} && rm -f {etc}/mtab")
    bare = ["unshare", "-m", "sh", "-c", f'mount --bind {etc} /etc && exec "$@"', "sh"]
    refused(1, ["no /etc/mtab", "ln -s /proc/self/mounts /etc/mtab"], "mount", *ROUTER.flags(ROUTER.nobody_token),
            BASE.make("mtab", uid=65534), user=NOBODY, prefix=bare)


def test_workspace_and_prefix():
    d = BASE.make("ws")
    refused(1, ["workspace .*/nowhere", "mkdir -p"], "mount", *ROUTER.flags(), "--workspace", BASE.path("nowhere"), d)
    refused(1, [f"workspace {d} is in {d}", "elsewhere"], "mount", *ROUTER.flags(), "--workspace", d, d)
    refused(1, ["--expose", "mkdir -p"], "mount", *ROUTER.flags(), "--expose", BASE.path("nowhere"), d)
    prefix = BASE.make("prefix")
    BASE.make("prefix/memory")
    BASE.write("prefix/memory/precious", "x")
    refused(1, ["prefix/memory", "not empty"], "mount", *ROUTER.flags(), "--expose", prefix, d)
    equal(os.listdir(prefix), ["memory"], "what expose had made is gone again")
    refused(1, ["--expose-at", "mkdir -p"], "run", *ROUTER.flags(), "--expose-at", BASE.path("nowhere"), "--", "true")


def test_no_room_for_threads():
    lonely = 61234  # whose processes are ours alone
    with open(ROUTER.token) as token:
        flags = ROUTER.flags(BASE.write("lonely.token", token.read(), uid=lonely))
    user = ["setpriv", f"--reuid={lonely}", f"--regid={lonely}", "--clear-groups", "prlimit", "--nproc=8"]
    refused(1, ["cannot start a thread", "ulimit -u", "pids.max"], "run", *flags, "--", "true",
            user=user, env={"XDG_STATE_HOME": BASE.make("lonely", uid=lonely)})


def test_a_place_for_unsaved_writes_that_cannot_be_written_to():
    d = BASE.make("spool")
    for command in (["mount", *ROUTER.flags(), d], ["run", *ROUTER.flags(), "--", "true"]):
        refused(1, ["TMPDIR /nowhere", "choose another"], *command, env={"TMPDIR": "/nowhere"})
    shut = BASE.make("shut", mode=0o555)
    refused(1, ["TMPDIR .*shut", "Permission denied", "choose another"], "mount", *ROUTER.flags(ROUTER.nobody_token),
            BASE.make("spool-user", uid=65534), user=BARE_NOBODY, env={"TMPDIR": shut})
    for command in (["mount", *ROUTER.flags(), d], ["run", *ROUTER.flags(), "--", "true"]):
        ours = command[:1] + ["--spool-dir", "/nowhere"] + command[1:]
        refused(1, ["--spool-dir /nowhere", "No such file", "choose another"], *ours)
    refused(1, ["--spool-dir /etc/passwd", "not a directory"], "mount", "--spool-dir", "/etc/passwd", *ROUTER.flags(), d)
    refused(1, ["--spool-dir /proc", "cannot write a file there", "choose another"], "mount", "--spool-dir", "/proc",
            *ROUTER.flags(), d)


def test_a_state_directory_that_cannot_be_written_to():
    shut = BASE.make("shut", mode=0o555)
    for command in (["mount", *ROUTER.flags(ROUTER.nobody_token), BASE.make("state-shut", uid=65534)], ["local", "start"]):
        refused(1, ["shut", "Permission denied", "--state-dir DIR", "XDG_STATE_HOME"], *command, user=BARE_NOBODY,
                env={"XDG_STATE_HOME": f"{shut}/state"})


def test_postgres_missing_or_too_old():
    d = BASE.make("postgres")
    hidden = ["bwrap", "--dev-bind", "/", "/", "--tmpfs", "/usr/lib/postgresql", "--"]
    env = {"PATH": "/usr/bin:/bin"}
    for command in (["mount", "--local", d], ["run", "--local", "--", "true"], ["local", "start"]):
        refused(1, ["PostgreSQL is missing", "apt-get install postgresql"], *command, prefix=hidden, env=env)
    old = BASE.make("old")
    for program in ("initdb", "postgres"):
        BASE.write(f"old/{program}", "#!/bin/sh\necho 'postgres (PostgreSQL) 13.9'\n", mode=0o755)
    refused(1, ["PostgreSQL 13", "too old", "15", "apt-get install"], "mount", "--local", d, prefix=hidden,
            env={"PATH": f"{old}:/usr/bin:/bin"})


def test_bubblewrap_missing():
    tools = BASE.make("tools")
    refused(1, ["bubblewrap", "apt-get install"], "run", *ROUTER.flags(), "--", "true", env={"PATH": tools})


def test_status_umount_log_of_no_mount():
    d = BASE.make("plain-dir")
    done = BASE.linkspan("status", d)
    equal(done.returncode, 1)
    check("not a Linkspan mount" in done.stdout, done.stdout)
    refused(1, ["no mounts", "linkspan mount"], "status")
    refused(1, ["not a Linkspan mount"], "umount", d)
    refused(1, ["not on a Linkspan mount"], "log", d)


def test_a_part_of_a_mount_is_not_taken_for_the_mount():
    d = BASE.make("parts")
    equal(BASE.linkspan("mount", *ROUTER.flags(), d).returncode, 0)
    done = BASE.linkspan("umount", f"{d}/memory")
    equal(done.returncode, 1)
    check(f"{d}/memory is a part of the mount at {d}; unmount that: linkspan umount {d}" in done.stderr, done.stderr)
    done = BASE.linkspan("status", f"{d}/memory")
    equal(done.returncode, 1)
    check(f"{d}/memory is a part of the mount at {d}; see: linkspan status {d}" in done.stdout, done.stdout)
    equal(BASE.linkspan("status", d).returncode, 0)
    equal(BASE.linkspan("umount", d).returncode, 0)
    BASE.nothing_left()


if __name__ == "__main__":
    try:
        labtest.main(globals(), each_seconds=180, recover=BASE.recover)
    finally:
        ROUTER.stop()
        BASE.clean()
