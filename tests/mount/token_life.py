#!/usr/bin/env python3
"""A token's whole life at real mounts: narrowed for sub-agents, bound to a sandbox, held to addresses, renewed while it is
used, revoked with all that came from it. In detail: tests/unit/core/token_life_test.cc.
"""
import datetime
import errno
import json
import os
import pathlib
import stat
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
sys.path.insert(0, os.path.dirname(__file__))
import labtest  # noqa: E402
from labtest import check, equal, errno_of, eventually, sh  # noqa: E402
from rights import Tenant, failed, read, read_again, seconds_until_refused, write  # noqa: E402

LINKSPAN = f"{labtest.BUILD}/fusefs/cli/linkspan"


def narrow(*options, env=None, status=0, timeout=60):
    done = subprocess.run([LINKSPAN, "token", "narrow", *options], capture_output=True, text=True, timeout=timeout,
                          env=env)
    equal(done.returncode, status, done.stderr)
    return done.stdout if status == 0 else done.stderr


def author(path):
    return [os.getxattr(path, f"user.linkspan.{what}").decode() for what in ("author", "sandbox")]


def in_seconds(seconds):
    return datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=seconds)


def test_narrowed_for_sub_agents(lab):
    with Tenant(lab, "narrow", {"agent": ("rw", "", 'sandbox = "box"'), "other": ("rw", "")}) as tenant:
        top, tree, base = tenant.tops["agent"], tenant.trees["agent"], tenant.base
        sh(f"mkdir -p {tree}/projects/x {tree}/projects/y; echo mine > {tree}/projects/x/a; "
           f"echo theirs > {tree}/projects/y/a; echo top > {tree}/top")

        # Through the mount, as root or whoever mounted.
        made = json.loads(narrow("--sandbox", "reviewer", "--expires", "1h", "--json", "--out", f"{base}/child.token",
                                 "--route", "memory/projects/x", top))
        equal("token" in made, False, "it is in the file only")
        equal((made["file"], made["principal"], made["sandbox"]), (f"{base}/child.token", "agent", "box/reviewer"))
        equal([(route["path"], route["rights"], [r["path"] for r in route["reaches"]]) for route in made["routes"]],
              [("memory", "rw", ["projects/x"])])
        equal(stat.S_IMODE(os.stat(f"{base}/child.token").st_mode), 0o600)
        tenant.mount("child")
        child = tenant.trees["child"]
        sh(f"echo more >> {child}/projects/x/a; echo new > {child}/projects/x/b; mkdir {child}/projects/x/d")
        equal(author(f"{tree}/projects/x/b"), ["agent", "box/reviewer"])
        equal(read(f"{tree}/projects/x/a"), "mine\nmore\n")
        for command in ("cat {}/top", "cat {}/projects/y/a", "ls {}/projects/y", "echo x > {}/new", "rm {}/top",
                        "mkdir {}/projects/z", "mv {}/projects/x/a {}/a", "ln {}/projects/x/a {}/projects/y/b"):
            equal(failed(command.replace("{}", child)), "Permission denied", command)
        check("only  projects/x" in read(f"{tenant.tops['child']}/.linkspan/routes"), "routes says what it reaches")
        check("expires" in read(f"{tenant.tops['child']}/.linkspan/status"), "status says when it ends")

        # By a token, from environment and file, as mount does; on standard output nothing but the new one.
        env = {**os.environ, "LINKSPAN_ROUTER": f"unix:{base}/sock", "LINKSPAN_TOKEN_FILE": f"{base}/child.token",
               "LINKSPAN_STATE_DIR": f"{base}/state-cli"}
        token = narrow("--rights", "ro", env=env)
        check(token.startswith("lsp_") and len(token) == 48, token)
        pathlib.Path(f"{base}/grand.token").write_text(token)
        os.chmod(f"{base}/grand.token", 0o600)
        tenant.mount("grand")
        grand = tenant.trees["grand"]
        equal(read(f"{grand}/projects/x/b"), "new\n")
        equal(write(f"{grand}/projects/x/b", "x"), errno.EROFS)
        equal(errno_of(read_again, f"{grand}/top"), errno.EACCES)
        env["LINKSPAN_TOKEN_FILE"] = f"{base}/grand.token"
        refusals = (("--route", "memory=rw"), "the token's rights in 'memory' are \"ro\", not \"rw\""), \
                   (("--route", "memory/projects/y"), "'memory/projects/y' is outside of what the token reaches"), \
                   (("--route", "skills"), "the token has no route that leads to 'skills'")
        for options, why in refusals:
            check(why in narrow(*options, env=env, status=1), why)
        check("no rights" in narrow("--route", "memory=all", env=env, status=2), "a wrong word")
        check("expired already" in narrow("--expires", "2020-01-01", env=env, status=1), "a time that is over")

        # A process that neither mounted nor is root asks in vain.
        done = subprocess.run(["setpriv", "--reuid=65534", "--clear-groups", LINKSPAN, "token", "narrow", top],
                              capture_output=True, text=True, timeout=60)
        check(done.returncode == 1 and "lsp_" not in done.stdout, f"nobody got a token: {done.stdout}{done.stderr}")

        # The parent's end is everybody's.
        equal(read(f"{tenant.trees['other']}/top"), "top\n")
        equal(read(f"{grand}/projects/x/b"), "new\n")
        tenant.revoke("agent")
        took = seconds_until_refused(f"{grand}/projects/x/b")
        print(f"revoked: its child's child refused after {took:.2f} s", flush=True)
        check(took < 1, f"it took {took:.2f} s")
        for tree in (child, tenant.trees["agent"]):
            eventually(lambda tree=tree: errno_of(read_again, f"{tree}/projects/x/b") == errno.EACCES, 1, tree)
        eventually(lambda: "narrowed from" in read(f"{tenant.tops['grand']}/.linkspan/status"), 2, "status says why")
        check("was revoked" in tenant.refused("child", "again"), "nor mounted again")
        check("was revoked" in narrow(env=env, status=1), "nor narrowed")
        equal(read(f"{tenant.trees['other']}/top"), "top\n")


def test_bound_on_first_use(lab):
    with Tenant(lab, "bound", {"agent": ("rw", "", "bind = true")}, mounted=[]) as tenant:
        process = tenant.mount("agent", "here")
        pathlib.Path(f"{tenant.trees['here']}/x").write_text("x")
        instance = f"{tenant.base}/state-here/instance"
        equal((stat.S_IMODE(os.stat(instance).st_mode), os.path.getsize(instance)), (0o600, 32))
        check("bound to the sandbox that used it first, which is another one" in tenant.refused("agent", "there"),
              "another sandbox")
        tenant.unmount(process)
        process = tenant.mount("agent", "here")
        equal(read(f"{tenant.trees['here']}/x"), "x", "it comes back with its state directory")
        tenant.stop_router()
        tenant.start_router()
        eventually(lambda: errno_of(read_again, f"{tenant.trees['here']}/x") == 0, 20, "over a router's restart")
        check("bound to the sandbox" in tenant.refused("agent", "elsewhere"), "also then")
        made = narrow("--out", f"{tenant.base}/child.token", tenant.tops["here"])
        equal(made, "")
        tenant.mount("child", "there2")
        check("bound to the sandbox" in tenant.refused("child", "here2"), "a narrowed one is bound by its own first use")
        text = lab.sql("SELECT string_agg(encode(bound_to, 'hex'), ' ') FROM linkspan.token")
        check(pathlib.Path(instance).read_bytes().hex() not in text, "only the hash is stored")


def test_held_to_addresses(lab):
    tokens = {"near": ("rw", "", 'sources = ["127.0.0.0/8"]'), "far": ("rw", "", 'sources = ["192.0.2.0/24"]')}
    with Tenant(lab, "sources", tokens, mounted=["near"], listen=["127.0.0.1:17455"]) as tenant:
        pathlib.Path(f"{tenant.trees['near']}/x").write_text("x")
        check("may not be used from unix:" in tenant.refused("far"), "a unix socket is local")
        check("may not be used from ipv4:127.0.0.1:" in tenant.refused("far", router="127.0.0.1:17455"), "TCP")
        env = {**os.environ, "LINKSPAN_ROUTER": "127.0.0.1:17455", "LINKSPAN_STATE_DIR": f"{tenant.base}/state-cli"}
        check("may not be used" in narrow("--token-file", f"{tenant.base}/far.token", env=env, status=1), "narrowing")
        check(narrow("--token-file", f"{tenant.base}/near.token", env=env).startswith("lsp_"), "from near")


def test_renewed_while_it_is_used(lab):
    more = f"expires = {in_seconds(3600).isoformat()}\nrenew_s = 3"
    with Tenant(lab, "renewed", {"agent": ("rw", "", more), "other": ("rw", "")}, mounted=["other"]) as tenant:
        process = tenant.mount("agent")
        begun = time.monotonic()
        path = f"{tenant.trees['agent']}/x"
        while time.monotonic() - begun < 7:
            pathlib.Path(path).write_text(f"{time.monotonic()}")
            time.sleep(0.1)
        check("or 3 s after its last mount" in read(f"{tenant.tops['agent']}/.linkspan/status"), "status says so")
        tenant.stop_router()
        tenant.start_router()
        eventually(lambda: errno_of(read_again, path) == 0, 20, "over a router's restart")
        tenant.unmount(process)
        left = "SELECT renewed_until - extract(epoch from clock_timestamp()) * 1e9 {} FROM linkspan.token WHERE renew > 0"
        equal(lab.sql(left.format("<= 3e9")), "t", "nobody renews it any more, and not for longer")
        eventually(lambda: lab.sql(left.format("> 0")) == "f", 10, "it ends soon after")
        check("since no mount used it any more" in tenant.refused("agent"), "it is over for good")


if __name__ == "__main__":
    labtest.main(globals(), mounts=1)
