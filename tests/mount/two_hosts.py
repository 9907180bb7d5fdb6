#!/usr/bin/env python3
"""Two mounts on two hosts (network namespaces) with one router over TCP on a third, and Postgres."""
import json
import os
import pathlib
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
import labtest  # noqa: E402
from labtest import check, equal, sh  # noqa: E402

NAMES = [f"lsp{os.getpid()}{side}" for side in "ab"]


def hosts_up():
    """Two namespaces, each joined to this one (where the router is) by a veth pair."""
    for i, name in enumerate(NAMES):
        sh(f"""ip netns add {name}; ip link add v{i}{os.getpid()} type veth peer name eth0 netns {name}
            ip addr add 10.213.{i}.1/24 dev v{i}{os.getpid()}; ip link set v{i}{os.getpid()} up
            ip -n {name} addr add 10.213.{i}.2/24 dev eth0; ip -n {name} link set eth0 up; ip -n {name} link set lo up""")


def hosts_down():
    for i, name in enumerate(NAMES):
        subprocess.run(f"ip link del v{i}{os.getpid()}; ip netns del {name}", shell=True, capture_output=True)


def mount_in(name, address, token, tree, base):
    r, w = os.pipe()
    log = open(f"{base}/{name}.log", "wb")
    # setpriv-less: only the network is another; the mount table is this one's.
    process = subprocess.Popen(
        ["nsenter", f"--net=/run/netns/{name}", labtest.BUILD + "/fusefs/cli/linkspan", "mount", "--foreground",
         "--router", address, "--allow-plaintext-tcp", "--token-file", token, "--state-dir", f"{base}/state-{name}",
         "--ready-fd", str(w), tree], pass_fds=[w], stdout=log, stderr=log)
    os.close(w)
    with os.fdopen(r) as pipe:
        line = pipe.readline()
    check(line, pathlib.Path(f"{base}/{name}.log").read_text()[-800:])
    json.loads(line)
    return process


def test_two_hosts_share_one_router_over_tcp(lab):
    base = lab.base
    r, w = os.pipe()
    # A router of its own on every address, on the lab's Postgres (another tenant).
    config = pathlib.Path(f"{base}/tcp.toml")
    token = json.loads(sh(f"{labtest.BUILD}/routerd/linkspan-routerd token new"))
    pathlib.Path(f"{base}/tcp.token").write_text(token["token"])
    os.chmod(f"{base}/tcp.token", 0o600)
    sockets = lab.info["postgres"].split()[0].split("=")[1]
    config.write_text(f'''store = "postgresql:///linkspan?host={sockets}&user=linkspan"
listen = ["0.0.0.0:0"]
allow_plaintext_tcp = true
[[tenant]]
name = "hosts"
[[tenant.volume]]
name = "memory"
[[tenant.token]]
sha256 = "{token["sha256"]}"
principal = "agent"
[[tenant.token.route]]
path = "memory"
volume = "memory"
rights = "rw"
''')
    router = subprocess.Popen([labtest.BUILD + "/routerd/linkspan-routerd", "--config", str(config), "--ready-fd", str(w)],
                              pass_fds=[w], stderr=open(f"{base}/tcp-router.log", "wb"))
    os.close(w)
    with os.fdopen(r) as pipe:
        line = pipe.readline()
    check(line, pathlib.Path(f"{base}/tcp-router.log").read_text()[-800:])
    port = json.loads(line)["listen"][0].rsplit(":", 1)[1]
    mounts = []
    try:
        hosts_up()
        trees = [f"{base}/host{i}" for i in range(2)]
        for i, name in enumerate(NAMES):
            os.mkdir(trees[i])
            mounts.append(mount_in(name, f"10.213.{i}.1:{port}", f"{base}/tcp.token", trees[i], base))
        for i in range(50):
            here, there = trees[i % 2], trees[1 - i % 2]
            with open(f"{here}/memory/MEMORY.md", "a") as file:
                file.write(f"line {i}\n")
            equal(open(f"{there}/memory/MEMORY.md").read().splitlines()[-1], f"line {i}")
        equal(len(open(f"{trees[0]}/memory/MEMORY.md").read().splitlines()), 50)
        sh(f"cp -r {labtest.ROOT}/proto {trees[0]}/memory/ && diff -r {labtest.ROOT}/proto {trees[1]}/memory/proto")
    finally:
        for process in mounts:
            process.terminate()
        for process in mounts:
            process.wait(20)
        hosts_down()
        router.terminate()
        router.wait(20)


if __name__ == "__main__":
    labtest.main(globals(), each_seconds=180, mounts=0)
