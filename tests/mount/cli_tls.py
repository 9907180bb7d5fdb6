#!/usr/bin/env python3
"""The way between mount and router: TLS 1.3 with certificates of both sides, plain TCP only where it was
said, and who may connect to a unix socket. Certificates are made on the fly by the openssl program."""
import json
import os
import pathlib
import re
import shutil
import socket
import ssl
import subprocess
import threading

from cli_env import LINKSPAN, NOBODY, ROUTERD, Base, check, equal, eventually, labtest, status_of

BASE = Base("tls")
EC = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]


def openssl(*args):
    done = subprocess.run(["openssl", *args], capture_output=True, text=True, timeout=60)
    check(done.returncode == 0, f"openssl {args}: {done.stderr}")


def authority(name):
    openssl("req", "-x509", *EC, "-days", "2", "-subj", f"/CN={name}", "-keyout", BASE.path(f"{name}.key"), "-out",
            BASE.path(f"{name}.pem"))
    BASE.write(f"{name}.index", "")
    BASE.write(f"{name}.cnf", f"""[ca]
default_ca = d
[d]
database = {BASE.dir}/{name}.index
new_certs_dir = {BASE.dir}
rand_serial = yes
unique_subject = no
default_md = sha256
policy = p
copy_extensions = copy
[p]
commonName = supplied
""")


def certificate(name, by="ca", names="IP:127.0.0.1,DNS:localhost", dates=("-days", "2")):
    """NAME.pem and NAME.key, signed by an authority; by default for this machine, and for two days."""
    openssl("req", "-new", *EC, "-subj", f"/CN={name}", "-addext", f"subjectAltName={names}", "-keyout",
            BASE.path(f"{name}.key"), "-out", BASE.path(f"{name}.csr"))
    openssl("ca", "-batch", "-notext", "-config", BASE.path(f"{by}.cnf"), "-keyfile", BASE.path(f"{by}.key"), "-cert",
            BASE.path(f"{by}.pem"), "-in", BASE.path(f"{name}.csr"), "-out", BASE.path(f"{name}.pem"), *dates)


class TlsRouter:
    """linkspan-routerd on the memory store at a tls:// port, a plain one, and a unix socket."""

    def __init__(self, name, shown="good", client_ca=None, top=""):
        made = json.loads(subprocess.check_output([ROUTERD, "token", "new"], timeout=30))
        self.name = name
        self.token = BASE.write(f"{name}.token", made["token"])
        self.socket = BASE.path(f"{name}.sock")
        self.show(shown)
        more = f'client_ca = "{BASE.path(client_ca)}"\n' if client_ca else ""
        self.config = BASE.write(f"{name}.toml", f"""store = "mem:"
listen = ["tls://127.0.0.1:0", "127.0.0.1:0", "unix:{self.socket}"]
socket_mode = "0666"
{top}
[tls]
certificate = "{BASE.path(name)}.now.pem"
key = "{BASE.path(name)}.now.key"
{more}
[[tenant]]
name = "test"
[[tenant.volume]]
name = "memory"
[[tenant.token]]
sha256 = "{made['sha256']}"
principal = "agent"
[[tenant.token.route]]
path = "memory"
volume = "memory"
rights = "rw"
""")

    def show(self, name, key=None):
        """Puts the files in place, one after the other as people do."""
        for source, end in ((name, "pem"), (key or name, "key")):
            target = BASE.path(f"{self.name}.now.{end}")
            shutil.copy(BASE.path(f"{source}.{end}"), target + ".new")
            os.chmod(target + ".new", 0o600)
            os.rename(target + ".new", target)

    def log(self):
        return pathlib.Path(BASE.path(f"{self.name}.log")).read_text()

    def __enter__(self):
        read, write = os.pipe()
        with open(BASE.path(f"{self.name}.log"), "w", encoding="utf-8") as log:
            self.process = subprocess.Popen([ROUTERD, "--config", self.config, "--ready-fd", str(write)], pass_fds=[write],
                                            stdout=log, stderr=log)
        os.close(write)
        with os.fdopen(read) as ready:
            line = ready.readline()
        check(line, self.log())
        self.tls, self.plain, self.unix = json.loads(line)["listen"]
        check(re.fullmatch(r"tls://127\.0\.0\.1:\d+", self.tls), self.tls)
        self.port = int(self.tls.rsplit(":", 1)[1])
        return self

    def __exit__(self, *_):
        self.process.terminate()
        equal(self.process.wait(30), 0, self.log())

    def mount(self, address, *more, directory, **options):
        return BASE.linkspan("mount", "--router", address, "--token-file", self.token, *more, directory, **options)

    def refused(self, words, address, *more, status=1, **options):
        """One clear line at once, with all `words`, and nothing is mounted."""
        done = self.mount(address, *more, directory=BASE.make("refused", ), **options)
        equal(done.returncode, status, done.stdout + done.stderr)
        equal(done.stderr.count("\n"), 1, done.stderr)
        for word in words:
            check(word in done.stderr, f"no {word!r} in: {done.stderr}")
        check("tried for" not in done.stderr, f"it waited for what time does not mend: {done.stderr}")
        BASE.nothing_left()

    def works(self, address, *more, **options):
        d = BASE.make("works")
        done = self.mount(address, *more, directory=d, **options)
        equal(done.returncode, 0, done.stderr + self.log())
        pathlib.Path(f"{d}/memory/note").write_text("hello")
        equal(pathlib.Path(f"{d}/memory/note").read_text(), "hello")
        equal(BASE.linkspan("umount", d).returncode, 0)

    def shown(self):
        """The name on the certificate that a new connection sees."""
        context = ssl.create_default_context(cafile=BASE.path("ca.pem"))
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT  # ours are short
        context.set_alpn_protocols(["h2"])
        with socket.create_connection(("127.0.0.1", self.port), 20) as tcp, context.wrap_socket(
                tcp, server_hostname="127.0.0.1") as tls:
            equal(tls.version(), "TLSv1.3")
            return dict(pair for part in tls.getpeercert()["subject"] for pair in part)["commonName"]


CA = ["--router-ca", BASE.path("ca.pem")]


def prepare():
    authority("ca")
    authority("other")
    certificate("good")
    certificate("next")
    certificate("elsewhere", names="DNS:router.example.org,IP:10.1.2.3")
    certificate("expired", dates=("-startdate", "20200101000000Z", "-enddate", "20200201000000Z"))
    certificate("mount", names="DNS:mount")
    certificate("stranger", by="other", names="DNS:stranger")


def test_a_mount_over_tls():
    with TlsRouter("right") as router:
        router.works(router.tls, *CA)
        router.works(router.tls.replace("127.0.0.1", "localhost"), *CA)
        router.works(router.tls, env={"LINKSPAN_ROUTER_CA": BASE.path("ca.pem")})
        # The system's, as the mount finds them.
        router.works(router.tls, env={"SSL_CERT_FILE": BASE.path("ca.pem")})
        # Several: the first does not answer, the second shows a certificate.
        router.works(f"tls://127.0.0.1:1,{router.tls}", *CA)
        done = BASE.linkspan("run", "--router", router.tls, "--token-file", router.token, *CA, "--workspace", BASE.make("w"),
                             "--", "sh", "-c", 'echo run > /memory/run && cat /memory/run && echo "[$GRPC_SSL_CIPHER_SUITES]"')
        equal((done.returncode, done.stdout), (0, "run\n[]\n"), done.stderr)
        # Beside it the same tree, unencrypted, on this machine.
        router.works(router.plain)
        router.works(router.unix)


def test_the_form_of_fstab():
    helper = BASE.path("mount.linkspan")
    shutil.copy(LINKSPAN, helper)
    with TlsRouter("fstab", client_ca="ca.pem") as router:
        d = BASE.make("fstab")
        options = f"token_file={router.token},router_ca={BASE.path('ca.pem')},router_cert={BASE.path('mount.pem')}," \
                  f"router_key={BASE.path('mount.key')}"
        done = subprocess.run([helper, router.tls, d, "-o", options], capture_output=True, text=True, timeout=60,
                              env=BASE.environment())
        equal(done.returncode, 0, done.stderr)
        pathlib.Path(f"{d}/memory/note").write_text("hello")
        equal(BASE.linkspan("umount", d).returncode, 0)
        for more, status in (("", 1), (",allow_plaintext_tcp", 0)):
            done = subprocess.run([helper, f"{router.unix},10.0.0.1:1", d, "-o", f"token_file={router.token}{more}"],
                                  capture_output=True, text=True, timeout=60, env=BASE.environment())
            equal(done.returncode, status, done.stderr)
        equal(BASE.linkspan("umount", d).returncode, 0)


def test_the_routers_certificate_is_checked():
    with TlsRouter("checked") as router:
        router.refused(["not signed by an authority that is trusted here", "--router-ca FILE", router.tls], router.tls)
        router.refused(["not signed by an authority", "--router-ca FILE"], router.tls, "--router-ca", BASE.path("other.pem"))
        several = router.mount(f"{router.tls},tls://localhost:{router.port}", "--router-ca", BASE.path("other.pem"),
                               directory=BASE.make("several"))
        equal(several.returncode, 1)
        equal(several.stderr.count("not signed by an authority"), 2, several.stderr)
    with TlsRouter("elsewhere-router", shown="elsewhere") as router:
        router.refused(["is for router.example.org, 10.1.2.3, not for 127.0.0.1", "one of its names"], router.tls, *CA)


def test_an_expired_certificate():
    router = TlsRouter("late", shown="expired")
    # The router itself does not start with it.
    done = subprocess.run([ROUTERD, "--config", router.config, "--check-config"], capture_output=True, text=True, timeout=30)
    equal(done.returncode, 2)
    check("late.now.pem: the certificate expired on 2020-02-01T00:00:00Z; put a new one there" in done.stderr, done.stderr)
    # One that became so while it ran, as s_server plays it.
    with server("-cert", BASE.path("expired.pem"), "-key", BASE.path("expired.key")) as port:
        router.refused(["has expired (its own: 2020-02-01T00:00:00Z)", "operator"], f"tls://127.0.0.1:{port}", *CA)


class server:
    """openssl s_server on a port of its own."""

    def __init__(self, *args):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.process = subprocess.Popen(["openssl", "s_server", "-accept", f"127.0.0.1:{self.port}", "-alpn", "h2", *args],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def __enter__(self):
        for line in self.process.stdout:
            if line.startswith("ACCEPT"):
                break
        threading.Thread(target=self.process.stdout.read, daemon=True).start()
        return self.port

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait(30)


def test_less_than_tls_1_3_is_refused():
    with TlsRouter("modern") as router:
        old = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{router.port}", "-tls1_2", "-alpn", "h2"],
                             capture_output=True, text=True, errors="replace", timeout=30, stdin=subprocess.DEVNULL)
        check(old.returncode != 0 and "Cipher is (NONE)" in old.stdout, old.stdout + old.stderr)
        equal(router.shown(), "good")  # and what speaks 1.3 gets through
        good = ["-cert", BASE.path("good.pem"), "-key", BASE.path("good.key")]
        with server("-tls1_2", *good) as port:
            router.refused(["does not speak TLS 1.3"], f"tls://127.0.0.1:{port}", *CA)


def test_tls_and_plaintext_are_not_mixed_up():
    with TlsRouter("mixed") as router:
        plain = router.tls.removeprefix("tls://")
        router.refused(["it speaks TLS there", f"write {router.tls}"], plain)
        router.refused(["it speaks no TLS there", f"write {router.plain}"], f"tls://{router.plain}", *CA)


def test_plaintext_stays_on_this_machine():
    with TlsRouter("plaintext") as router:
        words = ["10.0.0.1:1 is on another machine", "tls://10.0.0.1:1", "--allow-plaintext-tcp"]
        router.refused(words, "10.0.0.1:1")
        router.refused(words, f"{router.unix},10.0.0.1:1")
        for env, flags in (({}, ["--allow-plaintext-tcp"]), ({"LINKSPAN_ALLOW_PLAINTEXT_TCP": "1"}, [])):
            router.works(f"{router.unix},10.0.0.1:1", *flags, env=env)


def test_mutual_tls():
    own = ["--router-cert", BASE.path("mount.pem"), "--router-key", BASE.path("mount.key")]
    with TlsRouter("mutual", client_ca="ca.pem") as router:
        router.refused(["wants a certificate of the mount", "--router-cert FILE"], router.tls, *CA)
        router.refused(["refused the mount's certificate", "client_ca"], router.tls, *CA, "--router-cert",
                       BASE.path("stranger.pem"), "--router-key", BASE.path("stranger.key"))
        router.works(router.tls, *CA, *own)
        router.works(router.tls, env={"LINKSPAN_ROUTER_CA": BASE.path("ca.pem"), "LINKSPAN_ROUTER_CERT": own[1],
                                      "LINKSPAN_ROUTER_KEY": own[3]})
        # Each file that is wrong is named before anything is tried.
        router.refused(["a certificate needs its key", "--router-key"], router.tls, *CA, *own[:2])
        router.refused(["a key needs its certificate", "--router-cert"], router.tls, *CA, *own[2:])
        router.refused(["--router-key", "does not belong to the certificate"], router.tls, *CA, *own[:2], "--router-key",
                       BASE.path("good.key"))
        router.refused(["--router-cert", "expired on 2020-02-01"], router.tls, *CA, "--router-cert",
                       BASE.path("expired.pem"), "--router-key", BASE.path("expired.key"))
        router.refused(["--router-ca /nonexistent: No such file"], router.tls, "--router-ca", "/nonexistent")


def test_a_new_certificate_serves_without_a_restart():
    with TlsRouter("swapped") as router:
        d = BASE.make("swapped")
        equal(router.mount(router.tls, *CA, directory=d).returncode, 0)
        before = status_of(d)
        equal(router.shown(), "good")
        # Half a swap: the certificate of one pair, the key of another.
        router.show("next", key="good")
        eventually(lambda: "the key does not belong to the certificate" in router.log(), 20, "the mismatch is logged")
        check("the one before serves on" in router.log(), router.log())
        equal(router.shown(), "good")
        router.show("next")
        eventually(lambda: router.shown() == "next", 20, "a new connection sees the new one")
        # Half a file.
        half = pathlib.Path(BASE.path("good.pem")).read_text()[:200]
        pathlib.Path(BASE.path("swapped.now.pem")).write_text(half)
        eventually(lambda: "holds no certificate" in router.log(), 20, "the half file is logged")
        equal(router.shown(), "next")
        # One that no mount would take.
        router.show("expired")
        eventually(lambda: "expired on 2020-02-01" in router.log(), 20, "the expired one is logged")
        equal(router.shown(), "next")
        # The connection that stood all the while goes on, under the same session.
        pathlib.Path(f"{d}/memory/note").write_text("on")
        after = status_of(d)
        equal((after["session"], after["since"], after["state"]), (before["session"], before["since"], "connected"))
        equal(BASE.linkspan("umount", d).returncode, 0)


def test_a_mount_outlives_a_swap_of_authorities():
    """What the mount reads anew at each connection: after the router came back with another authority's certificate."""
    shutil.copy(BASE.path("ca.pem"), BASE.path("trusted.pem"))
    certificate("moved", by="other")
    router = TlsRouter("moving")
    router.config = BASE.write("moving.toml", pathlib.Path(router.config).read_text().replace("tls://127.0.0.1:0", f"tls://127.0.0.1:{free_port()}"))
    d = BASE.make("moving")
    with router:
        equal(router.mount(router.tls, "--router-ca", BASE.path("trusted.pem"), directory=d).returncode, 0)
    router.show("moved")
    with router:
        eventually(lambda: "not signed by an authority" in json.dumps(status_of(d)), 30, "the status says why")
        shutil.copy(BASE.path("other.pem"), BASE.path("trusted.pem"))
        eventually(lambda: status_of(d)["state"] == "connected", 30, "it is connected again")
        equal(BASE.linkspan("umount", d).returncode, 0)


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def test_who_may_connect_to_a_unix_socket():
    with TlsRouter("peers", top='socket_users = ["daemon"]') as router:
        router.refused(["user 0 (group 0) may not connect", router.socket, "socket_users"], router.unix, status=1)
        router.works(router.plain)  # it is about unix sockets
    with TlsRouter("peers-root", top='socket_users = ["root"]') as router:
        router.works(router.unix)
    # Who it is the kernel says, also from the namespace that `run` makes.
    with TlsRouter("peers-run", top='socket_users = ["nobody"]') as router:
        token = BASE.write("nobody.token", pathlib.Path(router.token).read_text(), uid=65534)
        done = BASE.linkspan("run", "--router", router.unix, "--token-file", token, "--workspace", BASE.make("nw", uid=65534),
                             "--", "sh", "-c", "echo run > /memory/run && cat /memory/run", user=NOBODY)
        equal((done.returncode, done.stdout), (0, "run\n"), done.stderr)
        router.refused(["user 0 "], router.unix)
    with TlsRouter("peers-group", top='socket_groups = ["4711"]') as router:
        router.refused(["may not connect"], router.unix)
        # By a group that is not its first.
        prefix = ["setpriv", "--groups=4711"]
        done = router.mount(router.unix, directory=BASE.make("group"), prefix=prefix)
        equal(done.returncode, 0, done.stderr)
        equal(BASE.linkspan("umount", BASE.path("group")).returncode, 0)


if __name__ == "__main__":
    try:
        prepare()
        labtest.main(globals(), each_seconds=180, recover=BASE.recover)
    finally:
        BASE.clean()
