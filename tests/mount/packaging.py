#!/usr/bin/env python3
"""The package: what is in it runs as it lies there, its samples are valid, its manual pages name every
flag, and its units are understood by systemd."""
import os
import pathlib
import re
import shutil
import subprocess

from cli_env import BUILD, LINKSPAN, ROUTERD, Base, check, equal, labtest
from labtest import ROOT, sh

BASE = Base("packaging")


def test_samples_are_valid():
    done = subprocess.run([ROUTERD, "--config", str(ROOT / "packaging/routerd.toml"), "--check-config"],
                          capture_output=True, text=True, timeout=30)
    equal(done.returncode, 0, done.stderr)
    # The commented token section too, once it is filled in.
    text = (ROOT / "packaging/routerd.toml").read_text()
    text = re.sub(r"^# (\[\[tenant\.token|\w+ = )", r"\1", text, flags=re.M).replace("64 hexadecimal digits", "0" * 64)
    done = subprocess.run([ROUTERD, "--config", BASE.write("routerd.toml", text), "--check-config"], capture_output=True,
                          text=True, timeout=30)
    equal(done.returncode, 0, done.stderr)
    check("memory" in done.stdout and "agent" in done.stdout, done.stdout)
    check("(rw, merge)\n      *.csv: reject\n      journal/**/*.log: last-writer-wins, append-only, no execute bits, "
          "at most 1048576 bytes a file, only names like *.log index.md\n" in done.stdout, done.stdout)
    # And that of TLS: nothing is wrong with it but that its files are not there.
    text = re.sub(r"^#(\[tls\]|(certificate|key|client_ca) = )", r"\1", text, flags=re.M)
    text = text.replace('listen = ["unix:/run/linkspan/router.sock"]', 'listen = ["tls://0.0.0.0:7433"]', 1)
    done = subprocess.run([ROUTERD, "--config", BASE.write("routerd.toml", text), "--check-config"], capture_output=True,
                          text=True, timeout=30)
    equal((done.returncode, done.stderr.count("No such file"), done.stderr.count("\n")), (2, 3, 3), done.stderr)


def flags_of(*command):
    text = subprocess.run([*command, "--help"], capture_output=True, text=True, timeout=30).stdout
    return set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", text.split("Example")[0]))


def test_manual_pages_name_every_flag():
    page = (ROOT / "packaging/man/linkspan.1").read_text().replace("\\-", "-")
    for command in ([], ["mount"], ["umount"], ["run"], ["local"], ["local", "start"], ["local", "stop"],
                    ["local", "status"], ["local", "prune"], ["status"], ["log"], ["cat"], ["diff"], ["restore"], ["resolve"], ["resume"],
                    ["token"], ["token", "narrow"]):
        missing = [f for f in flags_of(LINKSPAN, *command) if f not in page]
        equal(missing, [], f"linkspan(1) lacks flags of {command}")
    page = (ROOT / "packaging/man/linkspan-routerd.8").read_text().replace("\\-", "-")
    equal([f for f in flags_of(ROUTERD) if f not in page], [], "linkspan-routerd(8) lacks flags")


def test_units_are_understood():
    if shutil.which("systemd-analyze") is None:
        print("     (no systemd-analyze: only their presence is checked)")
        return
    place = BASE.make("units")
    for unit, name in (("linkspan-routerd.service", "linkspan-routerd.service"), ("linkspan@.service", "linkspan@mnt-x.service")):
        text = (ROOT / "packaging" / unit).read_text().replace("/usr/bin/linkspan-routerd", ROUTERD).replace("/usr/bin/linkspan ", f"{LINKSPAN} ")
        path = pathlib.Path(place, name)
        path.write_text(text)
        done = subprocess.run(["systemd-analyze", "verify", "--man=no", str(path)], capture_output=True, text=True, timeout=60)
        ours = [line for line in done.stderr.splitlines() if name in line]
        equal(ours, [], unit)


def test_package_is_complete_and_runs():
    for tool in ("dpkg-deb", "dpkg-shlibdeps"):
        if shutil.which(tool) is None:
            raise AssertionError(f"{tool} is missing: apt-get install dpkg-dev")
    out = sh(f"{ROOT}/packaging/deb --build {BUILD} --output {BASE.dir}", timeout=600)
    package = out.strip().splitlines()[-1]
    files = sh(f"dpkg-deb --contents {package}")
    for name in ("usr/bin/linkspan", "usr/bin/linkspan-routerd", "sbin/mount.linkspan", "sbin/umount.fuse.linkspan",
                 "lib/systemd/system/linkspan-routerd.service", "lib/systemd/system/linkspan@.service",
                 "etc/linkspan/routerd.toml", "usr/share/man/man1/linkspan.1.gz", "usr/share/man/man8/linkspan-routerd.8.gz"):
        check(f"./{name}" in files, f"{name} is not in the package")
    check(not re.search(r"^\S+ (?!root/root)", files, re.M), "files that are not root's:\n" + files)
    fields = sh(f"dpkg-deb --field {package}")
    for word in ("libfuse3-[34]", "libpq5", ", fuse3", "bubblewrap", r"postgresql \(>= 15\)"):  # -4: Debian 13
        check(re.search(word, fields), f"no {word} in {fields}")
    root = BASE.path("root")
    sh(f"dpkg-deb -x {package} {root}")
    version = sh(f"{LINKSPAN} --version")
    equal(sh(f"{root}/usr/bin/linkspan --version"), version)
    equal(sh(f"{root}/usr/bin/linkspan-routerd --version"), version.replace("linkspan ", "linkspan-routerd "))
    equal(os.readlink(f"{root}/sbin/mount.linkspan"), "../usr/bin/linkspan")
    # Beside each other they find each other.
    done = subprocess.run([f"{root}/usr/bin/linkspan", "run", "--local", "--", "sh", "-c", "echo hello > /memory/x; cat /memory/x"],
                          env=BASE.environment(), capture_output=True, text=True, timeout=150, cwd=BASE.make("work"))
    equal((done.returncode, done.stdout), (0, "hello\n"), done.stderr)


if __name__ == "__main__":
    try:
        labtest.main(globals(), each_seconds=700)
    finally:
        BASE.clean()
