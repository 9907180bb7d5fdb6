#!/usr/bin/env python3
"""What a token may do, at real mounts: rights of routes, rules for paths, and what a live mount says once its token is
revoked or has expired. Every call with every right: tests/unit/core/rules_test.cc.
"""
import datetime
import errno
import json
import os
import pathlib
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
import labtest  # noqa: E402
from labtest import check, equal, errno_of, eventually, sh  # noqa: E402

RULES = '''
[[tenant.token.route.pattern]]
glob = "journal"
access = "append-only"
[[tenant.token.route.pattern]]
glob = "*.key"
access = "deny"
[[tenant.token.route.pattern]]
glob = "fixed/**"
access = "read-only"
[[tenant.token.route.pattern]]
glob = "notes/**"
policy = "reject"
no_exec = true
max_bytes = 4096
allowed = ["*.md", "sub"]
'''


class Tenant:
    """A tenant on the lab's Postgres with a router of its own and a mount for each token (or for those that are
    `mounted`): NAME -> (rights, rules, more keys of the token)."""

    def __init__(self, lab, name, tokens, mounted=None, listen=()):
        self.lab, self.name, self.processes = lab, name, []
        self.base = f"{lab.base}/{name}"
        os.mkdir(self.base)
        os.chmod(self.base, 0o755)
        host = lab.info["postgres"].split("host=")[1].split()[0]
        toml = f'''store = "postgresql:///linkspan?host={host}&user=linkspan"
listen = {json.dumps([f"unix:{self.base}/sock", *listen])}
[[tenant]]
name = "{name}"
[[tenant.volume]]
name = "memory"
'''
        self.hashes = {}
        for token, (rights, rules, *more) in tokens.items():
            made = eval(sh(f"{labtest.BUILD}/routerd/linkspan-routerd token new"))  # noqa: S307
            pathlib.Path(f"{self.base}/{token}.token").write_text(made["token"])
            os.chmod(f"{self.base}/{token}.token", 0o600)
            self.hashes[token] = made["sha256"]
            toml += f'''[[tenant.token]]
sha256 = "{made["sha256"]}"
principal = "{token}"
{more[0] if more else ""}
[[tenant.token.route]]
path = "memory"
volume = "memory"
rights = "{rights}"
{rules}
'''
        self.toml = toml
        self.tops, self.trees = {}, {}
        self.start_router()
        for token in tokens if mounted is None else mounted:
            self.mount(token)

    def start_router(self):
        pathlib.Path(f"{self.base}/toml").write_text(self.toml)
        self.router = self.start("router", [f"{labtest.BUILD}/routerd/linkspan-routerd", "--config",
                                            f"{self.base}/toml"])

    def stop_router(self):
        self.router.terminate()
        equal(self.router.wait(timeout=30), 0, "the router ends in order")

    def mount_command(self, token, name=None, router=None):
        name = name or token
        top = f"{self.base}/mount-{name}"
        os.makedirs(top, exist_ok=True)
        return [f"{labtest.BUILD}/fusefs/cli/linkspan", "mount", "--foreground", "--router",
                router or f"unix:{self.base}/sock", "--token-file", f"{self.base}/{token}.token", "--state-dir",
                f"{self.base}/state-{name}", top]

    def mount(self, token, name=None):
        name = name or token
        process = self.start(f"mount-{name}", self.mount_command(token, name))
        self.tops[name] = f"{self.base}/mount-{name}"
        self.trees[name] = f"{self.tops[name]}/memory"
        return process

    def unmount(self, process):
        process.terminate()
        equal(process.wait(timeout=30), 0, "the mount ends in order")

    def refused(self, token, name=None, router=None):
        """What a mount that is not let in says."""
        command = self.mount_command(token, name, router)
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        check(done.returncode != 0, "it was mounted")
        return done.stderr

    def start(self, name, command):
        r, w = os.pipe()
        with open(f"{self.base}/{name}.log", "wb") as log:
            self.processes.append(subprocess.Popen(command + ["--ready-fd", str(w)], pass_fds=[w], stdout=log,
                                                   stderr=log))
        os.close(w)
        with os.fdopen(r) as pipe:
            check(pipe.readline(), pathlib.Path(f"{self.base}/{name}.log").read_text()[-800:])
        return self.processes[-1]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in reversed(self.processes):
            if process.poll() is not None:
                continue
            process.terminate()
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
        for top in self.tops.values():
            subprocess.run(["fusermount3", "-uz", top], capture_output=True, timeout=20)

    def revoke(self, token):
        self.lab.sql(f"UPDATE linkspan.token SET revoked = true WHERE hash = decode('{self.hashes[token]}', 'hex')")


def write(path, text, flags=os.O_CREAT | os.O_WRONLY | os.O_TRUNC):
    """The first errno of open, write and close; 0: it is saved."""
    try:
        fd = os.open(path, flags, 0o644)
    except OSError as error:
        return error.errno
    errors = errno_of(os.write, fd, text.encode()), errno_of(os.close, fd)
    return next(filter(None, errors), 0)


def append(path, text):
    return write(path, text, os.O_CREAT | os.O_WRONLY | os.O_APPEND)


def read(path):
    return pathlib.Path(path).read_text()


def failed(command):
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60)
    check(done.returncode != 0, f"`{command}` succeeded")
    return done.stderr.strip().rsplit(": ", 1)[-1]


def test_an_append_only_journal(lab):
    with Tenant(lab, "append", {"agent": ("append", ""), "operator": ("rw", "")}) as tenant:
        here, there = tenant.trees["agent"], tenant.trees["operator"]
        log = f"{here}/log.md"
        equal(write(log, "one\n"), 0, "whoever makes a file writes it")
        sh(f"echo two >> {log}; printf 'three\\n' | tee -a {log}")
        sh(f"""python3 -c 'open("{log}", "a").write("four\\n")'""")
        equal(read(f"{there}/log.md"), "one\ntwo\nthree\nfour\n")
        equal(write(log, "x"), errno.EPERM)
        equal(write(log, "x", os.O_WRONLY), errno.EPERM, "without O_APPEND")
        equal(failed(f"echo x > {log}"), "Operation not permitted")
        equal(failed(f"sed -i s/one/ONE/ {log}"), "Operation not permitted")
        equal(failed(f"rm {log}"), "Operation not permitted")
        equal(failed(f"mv {log} {here}/moved"), "Operation not permitted")
        equal(failed(f"cp /etc/hostname {log}"), "Operation not permitted")
        equal(errno_of(os.truncate, log, 2), errno.EPERM)
        equal(errno_of(os.unlink, f"{here}/none"), errno.ENOENT)
        fd = os.open(log, os.O_RDWR | os.O_APPEND)
        equal(errno_of(os.ftruncate, fd, 0) or errno_of(os.fsync, fd), errno.EPERM, "through a descriptor")
        errno_of(os.close, fd)
        sh(f"mkdir {here}/2026; echo new > {here}/2026/a.md; ln {log} {here}/2026/link; chmod 600 {log}; touch {log}")
        equal(failed(f"rmdir {here}/2026"), "Operation not permitted")
        equal(read(f"{there}/log.md"), "one\ntwo\nthree\nfour\n")
        # Two at once lose nothing.
        lines = [threading.Thread(target=lambda i=i: [append(f"{(here, there)[i % 2]}/log.md", f"{i} {n}\n")
                                                      for n in range(10)]) for i in range(4)]
        for line in lines:
            line.start()
        for line in lines:
            line.join()
        equal(len(read(log).splitlines()), 44)
        check("append" in read(f"{tenant.tops['agent']}/.linkspan/routes"), "routes tells the rights")


def test_no_delete(lab):
    with Tenant(lab, "nodelete", {"agent": ("no-delete", "")}) as tenant:
        here = tenant.trees["agent"]
        sh(f"echo one > {here}/a; echo two > {here}/a; echo three >> {here}/a; truncate -s 4 {here}/a; echo b > {here}/b")
        equal(read(f"{here}/a"), "two\n")
        for command in (f"rm {here}/a", f"mv {here}/a {here}/c", f"mv {here}/b {here}/a"):
            equal(failed(command), "Operation not permitted", command)
        sh(f"mkdir {here}/d; echo x > {here}/d/x")
        equal(failed(f"rm -r {here}/d"), "Operation not permitted")
        equal(sorted(os.listdir(here)), ["a", "b", "d"])


def test_rules_of_paths(lab):
    with Tenant(lab, "paths", {"agent": ("rw", RULES), "operator": ("rw", "")}) as tenant:
        here, there = tenant.trees["agent"], tenant.trees["operator"]
        sh(f"mkdir {there}/journal {there}/fixed {there}/notes; echo secret > {there}/a.key; echo f > {there}/fixed/f; "
           f"echo one > {there}/journal/log")
        os.setxattr(f"{there}/a.key", "user.a", b"1")
        # denied
        equal("a.key" in os.listdir(here), True, "it is listed")
        equal(os.stat(f"{here}/a.key").st_size, 7)
        for what in ("cat {}", "cp {} /dev/null", "echo x >> {}", "mv {} {}2", "rm -f {}", "ln {} {}2"):
            equal(failed(what.replace("{}", f"{here}/a.key")), "Permission denied", what)
        equal(errno_of(os.listxattr, f"{here}/a.key"), errno.EACCES)
        equal(errno_of(os.getxattr, f"{here}/a.key", "user.linkspan.author"), errno.EACCES)
        equal(errno_of(os.symlink, "x", f"{here}/s.key"), errno.EACCES)
        # nor once it was deleted: as if it had never been
        sh(f"echo 1 > {there}/gone.key; echo 2 > {there}/gone.key; rm {there}/gone.key; echo 1 > {there}/gone; rm {there}/gone")
        linkspan = f"{labtest.BUILD}/fusefs/cli/linkspan"
        number = json.loads(sh(f"{linkspan} log --json --deleted {there}/gone.key"))["seq"]
        equal(sh(f"{linkspan} cat {there}/gone.key@2; {linkspan} cat --change {number} {there}/gone.key@3"), "1\n2\n")
        for command in ("log {}", "log --deleted {}", "log --change N {}", "cat {}@2", "cat --deleted {}", "cat --change N {}@2",
                        "diff {}@2 {}@3", "diff --change N {}@2", "restore {}@2", "restore --deleted {}", "restore --change N {}@2"):
            said, never = (subprocess.run(["bash", "-c", f"{linkspan} " + command.replace("{}", f"{here}/{name}").replace(
                "N", str(number))], capture_output=True, text=True, timeout=60) for name in ("gone.key", "never.key"))
            check(said.returncode != 0 and not said.stdout, said)
            equal(said.stderr.replace("gone.key", "never.key"), never.stderr, command)
        equal(sh(f"{linkspan} cat {here}/gone@2"), "1\n", "another's, which it may read")
        # read-only
        equal(read(f"{here}/fixed/f"), "f\n")
        equal(failed(f"echo x >> {here}/fixed/f"), "Permission denied")
        equal(failed(f"echo x > {here}/fixed/new"), "Permission denied")
        equal(failed(f"rm {here}/fixed/f"), "Permission denied")
        equal(errno_of(os.rename, f"{here}/fixed", f"{here}/moved"), errno.EXDEV, "what is in it would be free")
        # append-only, by the directory's name
        sh(f"echo two >> {here}/journal/log; echo new > {here}/journal/new")
        equal(failed(f"echo x > {here}/journal/log"), "Operation not permitted")
        equal(failed(f"rm {here}/journal/log"), "Operation not permitted")
        os.link(f"{here}/journal/log", f"{here}/free")
        equal(failed(f"echo x > {here}/free"), "Operation not permitted", "another name is no way around")
        equal(read(f"{there}/journal/log"), "one\ntwo\n")
        # names, sizes, execute bits
        sh(f"echo n > {here}/notes/a.md; mkdir {here}/notes/sub; echo n > {here}/notes/sub/b.md")
        equal(failed(f"echo x > {here}/notes/x.sh"), "Operation not permitted")
        equal(failed(f"mkdir {here}/notes/other"), "Operation not permitted")
        equal(failed(f"echo x > {here}/x.sh && mv {here}/x.sh {here}/notes/"), "Operation not permitted")
        equal(failed(f"chmod +x {here}/notes/a.md"), "Operation not permitted")
        sh(f"chmod +x {here}/x.sh")
        equal(write(f"{here}/notes/a.md", "x" * 4096), 0)
        equal(write(f"{here}/notes/a.md", "x" * 4097), errno.EFBIG)
        equal(append(f"{here}/notes/a.md", "x"), errno.EFBIG)
        equal(errno_of(os.truncate, f"{here}/notes/a.md", 4097), errno.EFBIG)
        equal(os.stat(f"{there}/notes/a.md").st_size, 4096)
        # Of what the rule does not hold for, nothing has changed; and the refusals say which rule it was.
        sh(f"cp -a {here}/x.sh {here}/y.sh; mv {here}/y.sh {here}/z.sh; rm {here}/z.sh; rm {here}/x.sh")
        routes = " ".join(read(f"{tenant.tops['agent']}/.linkspan/routes").split())
        for words in ("memory append-only journal", "memory deny *.key",
                      "memory reject, no execute bits, at most 4096 bytes a file, only names like *.md sub notes/**"):
            check(words in routes, f"{words!r} is not in {routes}")


def seconds_until_refused(path):
    begun = time.monotonic()
    eventually(lambda: errno_of(read_again, path) == errno.EACCES, 10, "a call that is refused")
    return time.monotonic() - begun


def read_again(path):
    fd = os.open(path, os.O_RDONLY)
    try:
        os.read(fd, 100)
    finally:
        os.close(fd)


def test_a_revoked_token_ends_its_mount(lab):
    with Tenant(lab, "revoked", {"agent": ("rw", ""), "other": ("rw", "")}) as tenant:
        here, there = tenant.trees["agent"], tenant.trees["other"]
        pathlib.Path(f"{there}/x").write_text("old")
        equal(read(f"{here}/x"), "old")
        held = os.open(f"{here}/x", os.O_RDONLY)
        tenant.revoke("agent")
        took = seconds_until_refused(f"{here}/x")
        print(f"revoked: refused after {took:.2f} s", flush=True)
        check(took < 1, f"it took {took:.2f} s")
        begun = time.monotonic()
        pathlib.Path(f"{there}/x").write_text("new")
        print(f"another's save took {time.monotonic() - begun:.2f} s", flush=True)
        check(time.monotonic() - begun < 2, "nobody waits for the lease of a mount that has dropped everything")
        for call in (lambda: os.stat(f"{here}/x"), lambda: os.listdir(here), lambda: os.mkdir(f"{here}/d"),
                     lambda: os.pread(held, 3, 0)):
            equal(errno_of(call), errno.EACCES)
        os.close(held)
        eventually(lambda: "the token was revoked" in read(f"{tenant.tops['agent']}/.linkspan/status"), 2,
                   "the status says why")
        equal(read(f"{there}/x"), "new")


def test_an_expired_token_ends_its_mount(lab):
    at = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=8)
    with Tenant(lab, "expired", {"agent": ("rw", "", f"expires = {at.isoformat()}")}) as tenant:
        here = tenant.trees["agent"]
        pathlib.Path(f"{here}/x").write_text("x")
        eventually(lambda: errno_of(read_again, f"{here}/x") == errno.EACCES, 15, "a call that is refused")
        late = (datetime.datetime.now(datetime.timezone.utc) - at).total_seconds()
        print(f"expired: refused after {late:.2f} s", flush=True)
        check(0 <= late < 1, f"it was refused {late:.2f} s after it expired")
        eventually(lambda: "the token has expired" in read(f"{tenant.tops['agent']}/.linkspan/status"), 2,
                   "the status says why")


if __name__ == "__main__":
    labtest.main(globals(), mounts=1)
