#!/usr/bin/env python3
"""linkspan log, cat, diff, restore, resolve, resume and .linkspan/conflicts between two mounts on a
real router and Postgres: what happened, who did it, and the way back."""
import errno
import json
import os
import pathlib
import re
import shlex
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
import labtest  # noqa: E402
from labtest import check, equal, errno_of, eventually  # noqa: E402

LINKSPAN = labtest.BUILD + "/fusefs/cli/linkspan"


def run(*args, code=0, stdin=b"", cwd="/"):
    done = subprocess.run([LINKSPAN, *args], capture_output=True, input=stdin, timeout=60, cwd=cwd)
    equal(done.returncode, code, f"{args}: {done.stderr.decode(errors='replace')}{done.stdout[-500:]}")
    done.text = done.stdout.decode(errors="surrogateescape")
    done.said = done.stderr.decode(errors="surrogateescape")
    return done


def log(*args):
    return [json.loads(line) for line in run("log", "--json", *args).text.splitlines()]


def versions_of(*args):
    """Without what moved the file, or deleted it: that made no version."""
    return [line for line in log(*args) if "seq" not in line]


def save(path, text):
    """As editors do it."""
    temp = path.with_name(path.name + ".tmp")
    temp.write_text(text)
    with open(temp, "rb") as file:
        os.fsync(file.fileno())
    os.rename(temp, path)


def trees(lab):
    return [pathlib.Path(tree) for tree in lab.mounts]


def ask(tree, request, raw=None):
    """What a program does that has no linkspan: one write, then reads."""
    fd = os.open(f"{tree}/.linkspan/query", os.O_RDWR)
    try:
        os.write(fd, raw if raw is not None else json.dumps(request).encode())
        text = b""
        while part := os.read(fd, 65536):
            text += part
    finally:
        os.close(fd)
    line, _, data = text.partition(b"\n")
    return json.loads(line), data


def test_saves_on_one_mount_are_read_in_the_log_of_the_other(lab):
    a, b = trees(lab)
    path = "memory/saves.md"
    (a / path).write_text("one\n")
    for n, tree in enumerate((b, a, b), 2):
        check((tree / path).read_text())
        save(tree / path, f"version of {n}\n")
    versions = log(str(a / path))
    numbers = [v["version"] for v in versions]
    equal(numbers, sorted(numbers))
    equal([v["principal"] for v in versions[-3:]], ["agent-2", "agent-1", "agent-2"])
    equal([v["sandbox"] for v in versions[-3:]], ["sandbox-2", "sandbox-1", "sandbox-2"])
    equal({v["path"] for v in versions}, {"saves.md"})
    check(all(re.fullmatch("[0-9a-f]{16}", v["session"]) and v["time"].endswith("Z") and v["what"] for v in versions))
    sizes = {v["version"]: v["size"] for v in versions}
    for v in numbers:
        equal(len(run("cat", f"{a / path}@{v}").stdout), sizes[v])
    equal(run("cat", f"{b / path}@{numbers[-1]}").text, "version of 4\n")
    equal(run("cat", "--version", str(numbers[-2]), str(b / path)).text, "version of 3\n")
    text = run("log", "-n", "1", str(b / path)).text
    check("agent-2@sandbox-2" in text and f"v{numbers[-1]}" in text and text.count("\n") == 1, text)
    equal([v["version"] for v in log("--author", "agent-1", str(a / path))][-1], numbers[-2])
    equal(log("--author", "agent-1@sandbox-1", str(a / path)), log("--author", "agent-1", str(a / path)))
    equal(log("--author", "agent-1@sandbox-1", str(a / "memory")), log("--author", "agent-1", str(a / "memory")))
    for of in (path, "memory"):
        done = run("log", "--author", "agent-1@sandbox-2", "--since", "1h", str(a / of))
        check(not done.text and f"no change of {a / of} by agent-1@sandbox-2 since 20" in done.said, done.said)
    equal(log("--since", "2030-01-01", str(a / path)), [])
    equal(len(log("--since", "1h", "-n", "1000", str(a / path))), len(log("-n", "1000", str(a / path))))


def test_history_follows_a_rename(lab):
    a, b = trees(lab)
    (a / "memory/before.md").write_text("first\n")
    os.rename(a / "memory/before.md", a / "memory/after.md")
    (b / "memory/after.md").write_text("second\n")
    versions = log(str(a / "memory/after.md"))
    equal([run("cat", f"{a}/memory/after.md@{v['version']}").text for v in versions][-2:], ["first\n", "second\n"])
    changes = log(str(a / "memory/before.md"))  # the name is gone: what is known of it
    equal([(c["what"], c.get("old_path")) for c in changes][-1], ("rename", "before.md"))


def test_a_file_moved_over_another_takes_its_versions_along(lab):
    a, b = trees(lab)
    for name, words in (("draft.md", ("d1\n", "d2\n", "d3\n")), ("final.md", ("f1\n", "f2\n"))):
        for n, text in enumerate(words):
            save((a, b)[n % 2] / "memory" / name, text)
    check((a / "memory/draft.md").read_text())
    os.rename(a / "memory/draft.md", a / "memory/final.md")
    versions = versions_of(str(b / "memory/final.md"))
    texts = [run("cat", f"{b}/memory/final.md@{v['version']}").text for v in versions]
    equal([t for t in texts if t], ["f1\n", "f2\n", "d1\n", "d2\n", "d3\n"])
    equal([v["principal"] for v, t in zip(versions, texts) if t][-3:], ["agent-1", "agent-2", "agent-1"])
    run("restore", f"{b}/memory/final.md@{versions[texts.index('d2' + chr(10))]['version']}")
    equal((a / "memory/final.md").read_text(), "d2\n")


# What vim does with its defaults, in its order; with `keep` it is Emacs' first save.
EDITOR = '''
import os, sys
path, old, new, keep = sys.argv[1:]
assert open(path).read() == old, open(path).read()
print("read", flush=True)
sys.stdin.readline()
os.rename(path, path + "~")
fd = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)
os.write(fd, new.encode())
os.fsync(fd)
os.close(fd)
os.chmod(path, 0o644)
if keep != "keep":
    os.unlink(path + "~")
'''


# JetBrains' "safe write", in its order.
SAFE_WRITE = '''
import os, sys
path, old, new, keep = sys.argv[1:]
assert open(path).read() == old, open(path).read()
with open(path + "___jb_tmp___", "w") as file:
    file.write(new)
print("read", flush=True)
sys.stdin.readline()
os.rename(path, path + "___jb_old___")
os.rename(path + "___jb_tmp___", path)
os.unlink(path + "___jb_old___")
'''


def editor(path, old, new, keep=False, program=EDITOR):
    child = subprocess.Popen([sys.executable, "-c", program, path, old, new, "keep" if keep else ""],
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    equal(child.stdout.readline(), b"read\n")
    return child


def go_on(child, code=0):
    child.stdin.write(b"\n")
    child.stdin.close()
    equal(child.wait(timeout=60), code)
    child.stdout.close()


def test_a_file_that_takes_the_place_of_one_moved_away_goes_on_with_its_history(lab):
    a, b = trees(lab)
    name = "memory/sed.md"
    save(a / name, "one\ntwo 0\nthree\n")
    for n in range(6):
        tree = (a, b)[n % 2]
        subprocess.run(["sed", "-i.bak", f"s/two.*/two {n + 1}/", tree / name], check=True, timeout=60)
        equal((a / name).read_text(), f"one\ntwo {n + 1}\nthree\n")
    equal((b / (name + ".bak")).read_text(), "one\ntwo 5\nthree\n")
    texts = [run("cat", f"{a / name}@{v['version']}").text for v in versions_of(str(b / name))]
    words = [t.splitlines()[1] for t in texts if t]
    equal(list(dict.fromkeys(words)), [f"two {n}" for n in range(7)])
    # What another mount changed since it was read is merged, or kept as a conflict.
    text = (b / name).read_text()
    child = editor(str(b / name), text, text.replace("three", "THREE"), program=SAFE_WRITE)
    save(a / name, text + "four\n")
    go_on(child)
    text = text.replace("three", "THREE") + "four\n"
    equal(((a / name).read_text(), (b / name).read_text()), (text, text))
    child = editor(str(b / name), text, text.replace("one", "1st"), program=SAFE_WRITE)
    save(a / name, text.replace("one", "ONE"))
    go_on(child, code=1)  # ESTALE of its second rename
    found = [n for n in os.listdir(a / ".linkspan/conflicts") if n.endswith("-sed.md")]
    equal(len(found), 1)
    check("1st" in (a / ".linkspan/conflicts" / found[0] / "theirs").read_text())
    os.rename(str(b / name) + "___jb_old___", b / name)
    run("resolve", found[0].split("-")[0], "--theirs", "--mount", str(a))
    check((b / name).read_text().startswith("1st"))


def test_editors_that_move_the_file_away_go_on_with_its_history(lab):
    a, b = trees(lab)
    name = "memory/edited.md"
    text = "one\ntwo\nthree\n"
    save(a / name, text)
    for n, keep in enumerate((False, True, True, False)):
        new = text.replace("two", f"two {n}")
        go_on(editor(str((a, b)[n % 2] / name), text, new, keep))
        text = new
    texts = [run("cat", f"{a / name}@{v['version']}").text for v in log(str(b / name))]
    words = [t.splitlines()[1] for t in texts if t]  # what another moved away stands there as its author's and as the mover's
    equal([w for w, before in zip(words, [""] + words) if w != before], ["two", "two 0", "two 1 0", "two 2 1 0", "two 3 2 1 0"])
    # What another mount changed since the editor read the file is merged, or kept as a conflict.
    child = editor(str(b / name), text, text.replace("three", "THREE"))
    equal((a / name).read_text(), text)
    save(a / name, text + "four\n")
    go_on(child)
    text = text.replace("three", "THREE") + "four\n"
    equal(((a / name).read_text(), (b / name).read_text()), (text, text))
    child = editor(str(b / name), text, text.replace("one", "1st"))
    save(a / name, text.replace("one", "ONE"))
    go_on(child, code=1)  # ESTALE of its fsync
    found = [n for n in os.listdir(a / ".linkspan/conflicts") if n.endswith("-edited.md")]
    equal(len(found), 1)
    check("1st" in (a / ".linkspan/conflicts" / found[0] / "theirs").read_text())
    os.rename(b / (name + "~"), b / name)  # as the editor does then
    check((a / name).read_text().startswith("ONE"))
    # That was a change since the conflict, which had found the empty file.
    run("resolve", found[0].split("-")[0], "--theirs", "--mount", str(a), code=1)
    now = versions_of(str(a / name))[-1]["version"]
    run("resolve", found[0].split("-")[0], "--theirs", "--over", str(now), "--mount", str(a))
    check((b / name).read_text().startswith("1st"))


def test_what_is_written_to_a_file_that_its_writer_replaced_meanwhile_is_kept(lab):
    """As a version of that file, which has no name any more. (Replaced by another process: conflicts.py.)"""
    a, b = trees(lab)
    name = "memory/replaced"
    (a / name).write_text("before")
    with open(a / name, "r+") as file:
        ino = os.fstat(file.fileno()).st_ino
        save(a / name, "by another")
        file.write("mine")
        file.truncate()
    equal((a / name).read_text(), "by another")
    head = ask(b, {"op": "versions", "route": "memory", "ino": ino, "limit": 1})[0]["versions"][0]
    equal(head["principal"], "agent-1")
    data = ask(b, {"op": "read", "route": "memory", "ino": ino, "version": head["version"], "length": 100})[1]
    equal(data, b"mine")


def test_a_tree(lab):
    a, b = trees(lab)
    os.mkdir(a / "memory/tree")
    for name, tree in (("x", a), ("y", b), ("z", a)):
        (tree / "memory/tree" / name).write_text(name)
    (a / "memory/treelike").write_text("no")
    changes = log(str(b / "memory/tree"))
    check({c["path"] for c in changes} == {"tree", "tree/x", "tree/y", "tree/z"}, changes)
    seqs = [c["seq"] for c in changes]
    equal(seqs, sorted(seqs))
    equal({c["path"] for c in log("--author", "agent-2", str(b / "memory/tree"))}, {"tree/y"})
    equal([c["seq"] for c in log("-n", "2", str(b / "memory/tree"))], seqs[-2:])
    check(len(log(str(b))) == 20, "the whole mount")
    equal(run("log", "--since", "soon", str(b), code=2).text, "")
    check("is not on a Linkspan mount" in run("log", "/etc/passwd", code=1).said)
    odd = os.fsencode(a / "memory/tree") + b"/caf\xe9\n"
    with open(odd, "wb") as file:
        file.write(b"x")
    last = log(str(b / "memory/tree"))[-1]
    equal(bytes.fromhex(last["path_hex"]), b"tree/caf\xe9\n")
    check("\\xE9\\x0A" in run("log", str(b / "memory/tree")).text)


def test_more_than_a_page(lab):
    a, b = trees(lab)
    os.mkdir(a / "memory/many")
    for n in range(700):
        os.mkdir(a / f"memory/many/{n}")
    equal(len({c["path"] for c in log("-n", "5000", str(b / "memory/many"))}), 701)
    with open(a / "memory/long", "ab", buffering=0) as file:
        for n in range(30):
            file.write(b"x" * 10)
            os.fsync(file.fileno())
    check(len(log("-n", "5000", str(b / "memory/long"))) >= 30)


def test_diff(lab):
    a, b = trees(lab)
    path = a / "memory/diff.md"
    path.write_text("a\nb\nc\n")
    first = log(str(path))[-1]["version"]
    (b / "memory/diff.md").write_text("a\nB\nc\n")
    second = log(str(path))[-1]["version"]
    for args in ((f"{path}@{first}",), (f"{path}@{first}", f"{path}@{second}"),
                 ("--version", str(first), "--to-version", str(second), str(path)), (f"{path}@{first}", str(path))):
        text = run("diff", *args, code=1).text
        equal(text.splitlines()[2:], ["@@ -1,3 +1,3 @@", " a", "-b", "+B", " c"])
        check(text.startswith(f"--- {path}@{first}\n"), text)
    equal(run("diff", f"{path}@{second}").text, "")
    check("no version 99" in run("diff", f"{path}@99", code=2).said)
    check("which version" in run("diff", str(path), code=2).said)
    run("diff", code=2)
    script = subprocess.run(["script", "-qec", f"{LINKSPAN} diff {path}@{first}", "/dev/null"], capture_output=True,
                            text=True, timeout=30, env={**os.environ, "TERM": "xterm"}).stdout
    check("\x1b[32m+B" in script, "coloured on a terminal")
    for binary in (b"\0binary", b"\x93\x01\x1f\xff"):
        path.write_bytes(binary)
        equal(run("diff", f"{path}@{first}", code=1).text, f"Binary files {path}@{first} and {path} differ\n")


def test_a_name_with_an_at(lab):
    a, b = trees(lab)
    path = a / "memory/me@home@2"
    path.write_text("x")
    path.write_text("y")
    last = log(str(path))[-1]["version"]
    equal(run("cat", f"{path}@{last}").text, "y")
    equal(run("cat", "--version", str(last), str(path)).text, "y")
    for command in ("cat", "restore"):
        said = run(command, str(path), code=1).said
        check("me@home is not there, but me@home@2 is" in said and "--version N" in said, said)
    check("me@home is not there, but me@home@2 is" in run("diff", str(path), code=2).said)
    # As it is now, and in another version of its own.
    equal(run("diff", "--version", str(last), str(path), str(path)).text, "")
    first = log(str(path))[0]["version"]
    check("-y" in run("diff", "--version", str(last), str(path), "--to-version", str(first), str(path), code=1).text)


def test_a_version_that_is_none(lab):
    a, _ = trees(lab)
    path = a / "memory/none.md"
    path.write_text("x")
    for version in ("0", "x", "7x", "-1", "99999999999999999999"):
        said = run("cat", f"{path}@{version}", code=2).said
        check(f'"{version}" is no version' in said and f"`linkspan log {path}`" in said, said)
    for command in ("cat", "restore", "diff"):
        said = run(command, str(path), code=2).said
        check(f"which version? Write {path}@N" in said, said)


def test_a_name_that_never_was(lab):
    a, b = trees(lab)
    never = a / "memory/never-was"
    for args in ((), ("--deleted",), ("--json",), ("--since", "1h"), ("--author", "agent-1")):
        done = run("log", *args, str(never), code=1)
        check(f"{never} is not there, and the log knows nothing of it" in done.said and not done.text, done.said)
    path = a / "memory/was"
    path.write_text("x")
    said = run("log", f"{path}@2", code=1).said
    check(f"the versions of was: linkspan log {path}" in said, said)
    os.unlink(path)
    check("  deleted  " in run("log", str(b / "memory/was")).text)
    equal(log("--since", "2030-01-01", str(path)), [], "it was, but not since then")
    equal(log("--author", "nobody-at-all", str(path)), [])
    os.mkdir(a / "memory/quiet")
    equal(log("--deleted", str(a / "memory/quiet")), [])
    check(f"no deletion of {a / 'memory/quiet'}\n" in run("log", "--deleted", str(a / "memory/quiet")).said)


def test_restore_a_version(lab):
    a, b = trees(lab)
    path = a / "memory/restore.md"
    path.write_text("good\n")
    good = log(str(path))[-1]["version"]
    os.chmod(path, 0o640)
    os.setxattr(path, "user.mine", b"kept")
    (b / "memory/restore.md").write_text("spoiled\n")
    check(path.read_text() == "spoiled\n")
    check(f"restore.md@{good}" in run("restore", f"{path}@{good}").said)
    equal((b / "memory/restore.md").read_text(), "good\n")
    equal(os.stat(b / "memory/restore.md").st_mode & 0o777, 0o640)
    equal(os.getxattr(b / "memory/restore.md", "user.mine"), b"kept")
    versions = log(str(path))
    equal([run("cat", f"{path}@{v['version']}").text for v in versions][-2:], ["spoiled\n", "good\n"])
    run("restore", f"{path}@{good}", "--to", str(a / "memory/copy.md"))
    equal((b / "memory/copy.md").read_text(), "good\n")
    last = run("log", "-n", "1", str(path)).text
    check(f"  restore  memory/restore.md  v{versions[-1]['version']}  5 bytes  from version {good}" in last, last)
    equal(log("-n", "1", str(b / "memory/restore.md"))[0]["restored_from"], f"version {good}")
    shown = run("log", "-n", "2", str(b / "memory")).text.splitlines()
    check(f"  restore  memory/copy.md  v2  5 bytes  from version {good} of another file" in shown[-1], shown)
    check(f"  restore  memory/restore.md  " in shown[-2], "one line for each restore")
    check(f"  restore  memory/copy.md  v2" in run("log", str(a / "memory/copy.md")).text)
    check("is there already" in run("restore", f"{path}@{good}", "--to", str(a / "memory/copy.md"), code=1).said)
    check("no version 999" in run("restore", f"{path}@999", code=1).said)
    equal(path.read_text(), "good\n")
    check(not [n for n in os.listdir(a / "memory") if n.startswith(".linkspan")], "nothing is left over")
    run("restore", code=2)
    big = os.urandom(3 << 20)
    (a / "memory/big").write_bytes(big)
    number = log(str(a / "memory/big"))[-1]["version"]
    (b / "memory/big").write_bytes(b"small")
    equal((a / "memory/big").read_bytes(), b"small")
    run("restore", f"{b}/memory/big@{number}")
    equal((a / "memory/big").read_bytes(), big)
    link = a / "memory/link"
    os.symlink("restore.md", link)
    path.write_text("again\n")
    run("restore", f"{link}@{good}")
    check(link.is_symlink() and path.read_text() == "good\n")


def test_one_of_two_names_comes_back_as_it_was(lab):
    a, _ = trees(lab)
    (a / "memory/kept").write_text("then")
    os.link(a / "memory/kept", a / "memory/dropped")
    os.unlink(a / "memory/dropped")
    (a / "memory/kept").write_text("now")
    run("restore", "--deleted", str(a / "memory/dropped"))
    equal(((a / "memory/dropped").read_text(), (a / "memory/kept").read_text()), ("then", "now"))


def test_deleted_files_come_back(lab):
    a, b = trees(lab)
    os.makedirs(a / "memory/gone/deep")
    (a / "memory/gone/deep/it's.md").write_text("dear\n")
    os.chmod(a / "memory/gone/deep/it's.md", 0o600)
    (a / "memory/gone/twice").write_text("first life")
    os.symlink("nowhere", a / "memory/gone/link")
    os.unlink(b / "memory/gone/twice")
    (a / "memory/gone/twice").write_text("second life")
    subprocess.run(["rm", "-r", str(b / "memory/gone")], check=True, timeout=60)
    out = run("log", "--deleted", str(a / "memory/gone")).text
    check("agent-2@sandbox-2  deleted" in out, out)
    typed = [shlex.split(line) for line in out.splitlines() if line.startswith("    linkspan restore")]
    equal(len(typed), 4, out)
    found = log("--deleted", str(a / "memory/gone"))
    check(all(f["kept"] and f["principal"] == "agent-2" for f in found), found)
    # What it says to type works as it stands, each of them.
    older = [t for t in typed if "--change" in t]
    equal(len(older), 1)
    for words in typed:
        if words not in older:
            run(*words[1:])
    equal((b / "memory/gone/deep/it's.md").read_text(), "dear\n")
    equal(os.stat(b / "memory/gone/deep/it's.md").st_mode & 0o777, 0o600)
    equal((b / "memory/gone/twice").read_text(), "second life")
    equal(os.readlink(b / "memory/gone/link"), "nowhere")
    # What is back is no more in the list; of the older life it is said how to get at it still.
    left = log("--deleted", str(a / "memory/gone"))
    equal([f["path"] for f in left], ["gone/twice"])
    check("--change" in left[0]["restore"] and "--to" in left[0]["restore"], left)
    shown = run("log", str(a / "memory/gone")).text
    for f in found:
        if f["seq"] != left[0]["seq"]:
            check(f"  from what change {f['seq']} deleted" in shown, shown)
    check(".linkspan-restore" not in shown, shown)
    check("is there now" in run(*older[0][1:], code=1).said)
    run(*older[0][1:], "--to", str(a / "memory/gone/first"))
    equal((b / "memory/gone/first").read_text(), "first life")
    # Of one author nothing is known of later deletions by others: the command says which.
    (a / "memory/gone/by-both").write_text("1")
    os.unlink(a / "memory/gone/by-both")
    (a / "memory/gone/by-both").write_text("2")
    os.unlink(b / "memory/gone/by-both")
    mine = log("--deleted", "--author", "agent-1", str(a / "memory/gone"))[-1]
    run(*shlex.split(mine["restore"])[1:])
    equal((b / "memory/gone/by-both").read_text(), "1")
    check("knows of no deletion" in run("restore", "--deleted", str(a / "memory/never"), code=1).said)


def test_a_deleted_directory_comes_back(lab):
    a, b = trees(lab)
    os.makedirs(a / "memory/project/deep")
    for name, text in (("plan.md", "plan\n"), ("deep/it's.md", "dear\n"), ("kept", "old\n"), ("gone before", "?")):
        (a / "memory/project" / name).write_text(text)
    os.unlink(a / "memory/project/gone before")
    since = int(time.time()) + 1  # as it is typed, in whole seconds
    time.sleep(since - time.time())
    subprocess.run(["rm", "-r", str(b / "memory/project")], check=True, timeout=60)
    os.makedirs(b / "memory/project")
    (b / "memory/project/kept").write_text("new\n")
    path = str(a / "memory/project")
    said = run("restore", "--deleted", path, code=1).said
    mend = shlex.split(said[said.index("linkspan restore"):])
    equal(mend[1:], ["restore", "--deleted", "--since", "1h", path])
    typed = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(since))
    said = run("restore", "--deleted", "--since", typed, path).said
    check("2 of 3 deleted files are back; where 1 of them were, something is now" in said, said)
    equal((b / "memory/project/plan.md").read_text(), "plan\n")
    equal((b / "memory/project/deep/it's.md").read_text(), "dear\n")
    equal((b / "memory/project/kept").read_text(), "new\n")
    equal(sorted(os.listdir(b / "memory/project")), ["deep", "kept", "plan.md"])
    said = run("restore", "--deleted", "--since", "1h", path, "--to", str(a / "memory/project-again")).said
    check("4 of 4 deleted files are back" in said, said)
    equal((b / "memory/project-again/kept").read_text(), "old\n")
    check("nothing was deleted in" in run("restore", "--deleted", "--since", "1h", str(a / "memory/project-again"), code=1).said)
    run("restore", "--since", "1h", path, code=2)
    run("restore", "--deleted", "--since", "never", path, code=2)


def test_a_deleted_file_has_its_versions_still(lab):
    a, b = trees(lab)
    path = str(a / "memory/lost.md")
    for text in ("one\n", "two\n", "three\n"):
        save(b / "memory/lost.md", text)
    numbers = {run("cat", f"{path}@{v['version']}").text: v["version"] for v in versions_of(path)}
    os.chmod(path, 0o600)
    before = versions_of(path)
    os.unlink(path)
    for tree in (a, b):
        here = str(tree / "memory/lost.md")
        equal(versions_of(here), before)
        last = log(here)[-1]
        equal((last["what"], last["principal"], last["kept"]), ("unlink", "agent-1", True))
        for text, number in numbers.items():
            equal(run("cat", f"{here}@{number}").text, text)
            equal(run("cat", "--version", str(number), here).text, text)
        equal(run("cat", "--deleted", here).text, "three\n")
        for args in ((f"{here}@{numbers['one' + chr(10)]}",), (f"{here}@{numbers['one' + chr(10)]}", f"{here}@{numbers['three' + chr(10)]}")):
            equal(run("diff", *args, code=1).text.splitlines()[2:], ["@@ -1 +1 @@", "-one", "+three"])
    shown = run("log", path).text.splitlines()
    check("agent-1@sandbox-1  deleted" in shown[-2] and "linkspan restore --deleted" in shown[-1], shown)
    said = run("cat", f"{path}@999", code=1).said
    check("no version 999" in said and f"linkspan log --change {last['seq']} {path}" in said, said)
    check("which version" in run("cat", path, code=2).said)
    run("restore", f"{path}@{numbers['two' + chr(10)]}")
    equal(((b / "memory/lost.md").read_text(), os.stat(path).st_mode & 0o777), ("two\n", 0o600))
    check(f"from version {numbers['two' + chr(10)]} of what change {last['seq']} deleted" in run("log", path).text)
    # What was deleted last is not what came back: the list has it still.
    equal([f["seq"] for f in log("--deleted", path)], [last["seq"]])
    # What was written after another mount had removed the file.
    (a / "memory/late").write_text("before")
    with open(a / "memory/late", "r+") as file:
        os.unlink(b / "memory/late")
        file.write("after")
    late = log(str(b / "memory/late"))
    equal([line["what"] for line in late][-2:], ["unlink", "write"])
    equal(run("cat", f"{b}/memory/late@{late[-1]['version']}").text, "aftere")
    # A directory went, and the files in it.
    os.makedirs(a / "memory/lost-dir/deep")
    (a / "memory/lost-dir/deep/x").write_text("in it")
    subprocess.run(["rm", "-r", str(a / "memory/lost-dir")], check=True, timeout=60)
    number = versions_of(str(b / "memory/lost-dir/deep/x"))[-1]["version"]
    run("restore", f"{b}/memory/lost-dir/deep/x@{number}")
    equal((a / "memory/lost-dir/deep/x").read_text(), "in it")


def test_what_is_written_after_the_deletion_comes_back_with_it(lab):
    a, b = trees(lab)
    path = str(b / "memory/night/notes.md")
    os.mkdir(a / "memory/night")
    (a / "memory/night/notes.md").write_text("before\n")
    (a / "memory/night/other").write_text("untouched\n")
    os.unlink(b / "memory/night/other")
    file = open(a / "memory/night/notes.md", "rb+", buffering=0)
    os.unlink(path)
    was = log(path)[-1]["version"]
    equal(run("cat", "--deleted", path).text, "before\n")
    file.write(b"the work of a night\n")
    os.fsync(file.fileno())  # it is not told: as on a local disk
    lines = log(path)
    equal([(line["what"], line.get("after_deletion")) for line in lines][-2:], [("unlink", None), ("write", True)])
    shown = run("log", path).text.splitlines()
    check("agent-1@sandbox-1  write" in shown[-1] and "written after it was deleted" in shown[-1], shown)
    check("written after" not in "".join(shown[:-1]), shown)
    other, notes = sorted(log("--deleted", str(b / "memory/night")), key=lambda d: d["path"], reverse=True)
    check("written_since" not in other, other)
    equal((notes["written_since"]["version"], notes["written_since"]["principal"]), (lines[-1]["version"], "agent-1"))
    listed = run("log", "--deleted", str(b / "memory/night")).text
    check(f"agent-1@sandbox-1  v{lines[-1]['version']}  20 bytes" in listed, listed)
    equal(run("cat", "--deleted", path).text, "the work of a night\n")
    # What it says to type brings it.
    done = run(*shlex.split(notes["restore"])[1:])
    check("agent-1@sandbox-1 wrote after that" in done.said and f"is version {was}" in done.said, done.said)
    equal((a / "memory/night/notes.md").read_text(), "the work of a night\n")
    equal([d["path"] for d in log("--deleted", str(b / "memory/night"))], ["night/other"])
    # The writer goes on: what is back is not all.
    file.write(b"and of the morning\n")
    file.close()
    (again,) = [d for d in log("--deleted", str(b / "memory/night")) if d["path"] == "night/notes.md"]
    run(*shlex.split(again["restore"])[1:])
    equal((a / "memory/night/notes.md.restored").read_text(), "the work of a night\nand of the morning\n")
    run("restore", "--change", str(again["seq"]), "--version", str(was), path, "--to", f"{path}.was")
    equal((a / "memory/night/notes.md.was").read_text(), "before\n")


def test_the_other_name_of_a_deleted_file_is_written_to(lab):
    """What it became under the one is not what was deleted under the other, though that goes, too."""
    a, b = trees(lab)
    (a / "memory/first").write_text("then")
    os.link(a / "memory/first", a / "memory/second")
    os.unlink(b / "memory/first")
    (a / "memory/second").write_text("later")
    for _ in range(2):
        check("written_since" not in log("--deleted", str(b / "memory/first"))[-1])
        check("after_deletion" not in "".join(str(line) for line in log("--deleted", str(b / "memory/first"))))
        equal(run("cat", "--deleted", str(b / "memory/first")).text, "then")
        if os.path.exists(b / "memory/second"):
            os.unlink(b / "memory/second")
    equal(run("cat", "--deleted", str(b / "memory/second")).text, "later")


def test_several_files_had_one_name(lab):
    a, b = trees(lab)
    path = str(a / "memory/reborn.md")
    for life in ("a", "b", "c"):
        for n in (1, 2):
            (a / "memory/reborn.md").write_text(f"{life}{n}\n")
        os.unlink(path)
    lives = log("--deleted", path)
    equal(len(lives), 3)
    for tree, life, deletion in zip((a, b, a), "abc", lives):
        here, change = str(tree / "memory/reborn.md"), str(deletion["seq"])
        texts = [run("cat", "--change", change, f"{here}@{v['version']}").text for v in versions_of("--change", change, here)]
        equal([t for t in texts if t], [f"{life}1\n", f"{life}2\n"])
    # Without a number the last one; what the list says to type shows each of them.
    texts = [run("cat", f"{path}@{v['version']}").text for v in versions_of(path)]
    equal([t for t in texts if t], ["c1\n", "c2\n"])
    check("2 other files reborn.md were deleted: linkspan log --deleted" in run("log", path).said)
    typed = [shlex.split(line) for line in run("log", "--deleted", path).text.splitlines() if line.startswith("    linkspan log")]
    equal(len(typed), 3)
    for words, life in zip(typed, "abc"):
        check(f"change {words[3]}" in run(*words[1:]).text)
        equal(run("cat", "--change", words[3], words[-1]).text, f"{life}2\n")
    # With a new file there the old ones keep their numbers apart from its.
    (b / "memory/reborn.md").write_text("d1\n")
    texts = [run("cat", f"{path}@{v['version']}").text for v in versions_of(path)]
    equal([t for t in texts if t], ["d1\n"])
    check("3 other files reborn.md were deleted" in run("log", path).said)
    first = str(lives[0]["seq"])
    number = str(versions_of("--change", first, path)[-2]["version"])
    equal(run("diff", "--change", first, f"{path}@{number}", code=1).text.splitlines()[3:], ["-a1", "+d1"])
    equal(run("diff", "--change", first, f"{path}@{number}", path, code=1).text.splitlines()[3:], ["-a1", "+d1"])
    last = str(lives[0]["version"])
    equal(run("diff", "--change", first, f"{path}@{number}", f"{path}@{last}", code=1).text.splitlines()[3:], ["-a1", "+a2"])
    check("is there now" in run("restore", "--change", first, f"{path}@{number}", code=1).said)
    run("restore", "--change", first, f"{path}@{number}", "--to", path + ".old")
    equal((b / "memory/reborn.md.old").read_text(), "a1\n")
    said = run("cat", "--change", "1", path, code=1).said
    check("knows of no deletion" in said and "number 1" in said, said)
    # Of what was restored whole the older versions are reached still.
    os.unlink(path)
    run("restore", "--deleted", "--change", first, path)
    check([f.get("restored") for f in log("--deleted", path)][0] is True)
    equal(versions_of("--change", first, path)[-1]["version"], lives[0]["version"])


def test_a_move_stands_in_the_log_of_the_file(lab):
    a, b = trees(lab)
    (a / "memory/moved-1").write_text("x")
    os.rename(b / "memory/moved-1", b / "memory/moved-2")
    save(a / "memory/moved-2", "y")
    os.rename(a / "memory/moved-2", a / "memory/moved-3")
    (a / "memory/moved-1").write_text("another")
    moves = [line for line in log(str(b / "memory/moved-3")) if "seq" in line]
    equal([(m["what"], m["old_path"], m["path"], m["principal"]) for m in moves],
          [("rename", "moved-1", "moved-2", "agent-2"), ("rename", "moved-2", "moved-3", "agent-1")])
    check("agent-2@sandbox-2  rename  memory/moved-2" in run("log", str(a / "memory/moved-3")).text)
    equal([m["old_path"] for m in log("--author", "agent-2", str(a / "memory/moved-3"))], ["moved-1"])
    check("  from moved-2" in run("log", str(a / "memory/moved-2")).text, "where it was before")
    said = run("log", str(a / "memory/moved-1")).said
    check(f"another file moved-1 was moved at" in said and f"linkspan log {a}/memory/moved-2" in said, said)
    # The numbers are those of the file's own list, also where it took them along to another's.
    save(a / "memory/moved-4", "z")
    os.rename(a / "memory/moved-3", a / "memory/moved-4")
    lines = log(str(b / "memory/moved-4"))
    check({line["version"] for line in lines} <= {0, *(v["version"] for v in versions_of(str(b / "memory/moved-4")))}, lines)
    equal([line["old_path"] for line in lines if "seq" in line], ["moved-4.tmp", "moved-1", "moved-2.tmp", "moved-2"])


def test_a_restore_that_fails_leaves_no_trace(lab):
    a, b = trees(lab)
    path = str(a / "memory/whole.md")
    (a / "memory/whole.md").write_text("x")
    (a / "memory/there.md").write_text("y")

    def newest():
        return log("-n", "1", str(b / "memory"))[0]["seq"]
    before = newest()
    run("restore", f"{path}@99", code=1)
    run("restore", f"{path}@2", "--to", str(a / "memory/there.md"), code=1)
    run("restore", f"{path}@99", "--to", str(a / "memory/new/deep"), code=1)
    check(not (a / "memory/new").exists(), "nor a directory")
    equal(newest(), before, "nothing was created and removed again")
    # Ended while it writes: what it has made is removed.
    (a / "memory/large").write_bytes(os.urandom(48 << 20))
    number = versions_of(str(a / "memory/large"))[-1]["version"]
    for sign in (signal.SIGINT, signal.SIGTERM):
        process = subprocess.Popen(["env", "--default-signal=INT,TERM", LINKSPAN, "restore", f"{a}/memory/large@{number}",
                                    "--to", f"{a}/memory/part"], stderr=subprocess.DEVNULL)
        eventually(lambda: process.poll() is not None or [n for n in os.listdir(a / "memory") if n.startswith(".linkspan-restore")],
                   30, "it writes")
        process.send_signal(sign)
        equal(process.wait(timeout=60), -sign)
        equal([n for n in os.listdir(b / "memory") if n.startswith((".linkspan-restore", "part"))], [])


def test_the_log_says_that_there_is_more(lab):
    a, _ = trees(lab)
    os.mkdir(a / "memory/full")
    for n in range(25):
        (a / "memory/full" / str(n)).write_text("")
    (a / "memory/full/0").unlink()
    for args in ((a / "memory/full",), ("--since", "1h", a / "memory/full"), ("-n", "1", "--deleted", a / "memory")):
        done = run("log", *map(str, args))
        check("there are more: -n " in done.said, done.said)
        lines = log(*map(str, args))
        equal([line.get("more") for line in lines], [True] + [None] * (len(lines) - 1))
    whole = run("log", "-n", "100", str(a / "memory/full"))
    equal((whole.said, whole.text.count("\n")), ("", 27))
    equal({line.get("more") for line in log("-n", "27", str(a / "memory/full"))}, {None})
    path = a / "memory/full/1"
    for n in range(4):
        path.write_text(str(n))
    check("the newest 3" in run("log", "-n", "3", str(path)).said)
    equal([line.get("more") for line in log("-n", "3", str(path))], [True, None, None])
    equal(run("log", "-n", "5", str(path)).said, "")


def test_the_query_file(lab):
    a, _ = trees(lab)
    (a / "memory/asked").write_text("asked")
    check("linkspan log" in (a / ".linkspan/query").read_text())
    ino = os.stat(a / "memory/asked").st_ino
    header, data = ask(a, {"op": "read", "route": "memory", "ino": ino, "length": 100})
    equal((header["ok"], data), (True, b"asked"))
    for raw in (b"x", b"[" * 60000, b"{}", b"\0\xff", b'{"op":"read","route":"memory","ino":-1,"length":[]}'):
        equal(ask(a, None, raw)[0]["ok"], False, raw[:20])
    fd = os.open(a / ".linkspan/query", os.O_RDWR)
    equal(errno_of(os.read, fd, 10), errno.EINVAL)
    equal(errno_of(os.write, fd, b"x" * 65537), errno.EMSGSIZE)
    os.close(fd)
    equal(errno_of(os.open, a / ".linkspan/query", os.O_WRONLY), errno.EINVAL)
    # Several processes at once, and in a namespace of its own without a network.
    asking = [subprocess.Popen(["unshare", "-n", LINKSPAN, "cat", f"{a}/memory/asked@2"], stdout=subprocess.PIPE)
              for _ in range(20)]
    for process in asking:
        equal((process.communicate(timeout=60)[0], process.returncode), (b"asked", 0))


def commands_end_soon(tree, path):
    """Long before the route's timeout; each says for which router it waited, and for how long."""
    address = json.loads((tree / ".linkspan/status.json").read_text())["router"]["address"]
    begun = time.monotonic()
    commands = [["log", path], ["cat", f"{path}@1"], ["diff", f"{path}@1"], ["restore", f"{path}@1"],
                ["restore", "--conflict", "1", "--mount", tree], ["log", "--deleted", tree / "memory"]]
    running = [subprocess.Popen([LINKSPAN, *map(str, command)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
               for command in commands]
    for command, process in zip(commands, running):
        said = process.communicate(timeout=60)[1]
        check(address in said and "tried for" in said, f"{command}: {said}")
        equal(process.returncode, 2 if command[0] == "diff" else 1, f"{command}: {said}")
    check(time.monotonic() - begun < 20, f"the commands took {time.monotonic() - begun:.1f} s")


def test_without_the_router(lab):
    a, b = trees(lab)
    path = a / "memory/away.md"
    path.write_text("x")
    (a / "memory/away.md").read_text()
    lab.do("stop", "router")
    try:
        begun = time.monotonic()
        equal(errno_of(os.listdir, a / ".linkspan/conflicts"), errno.ETIMEDOUT)
        check(time.monotonic() - begun < 10)
        # Many that wait, and the control files answer all the same; a fatal signal ends the wait.
        waiting = [subprocess.Popen([LINKSPAN, "cat", f"{a}/memory/away.md@2"], stderr=subprocess.DEVNULL) for _ in range(40)]
        time.sleep(1)
        begun = time.monotonic()
        subprocess.run(["cat", a / ".linkspan/status"], check=True, timeout=20, stdout=subprocess.DEVNULL)
        check(time.monotonic() - begun < 5, "status waited for the router")
        for process in waiting:
            process.kill()
        begun = time.monotonic()
        for process in waiting:
            process.wait(timeout=20)
        check(time.monotonic() - begun < 5)
        commands_end_soon(a, path)
        status = json.loads((a / ".linkspan/status.json").read_text())
        check(" " in status["reason"] and status["router"]["name"] is None, status)
        check("CANCELLED" not in status["reason"] and "linkspan-routerd" not in (a / ".linkspan/status").read_text())
    finally:
        lab.do("cont", "router")
    eventually(lambda: json.loads((a / ".linkspan/status.json").read_text())["healthy"], 30, "connected again")
    equal(os.listdir(a / ".linkspan/conflicts"), [])


def test_resume(lab):
    a, b = trees(lab)
    path = a / "memory/resume.md"
    path.write_text("before")
    check(path.read_text() == "before" and (b / "memory/resume.md").read_text() == "before")
    session = os.getxattr(path, "user.linkspan.session")
    held = open(path, "r+b")
    done = run("resume", str(a))
    check("new session" in done.said, done.said)
    equal(path.read_text(), "before")
    (b / "memory/resume.md").write_text("after")
    equal(path.read_text(), "after")
    held.seek(0)
    equal(held.read(), b"after")
    held.close()
    path.write_text("from the new session")
    check(os.getxattr(path, "user.linkspan.session") != session, "a session of its own")
    run("resume", str(a / "memory"))
    check("not on a Linkspan mount" in run("resume", "/etc", code=1).said)


def test_resume_of_a_stopped_machine(lab):
    """The mount is stopped past its lease, as in a paused machine, and resumed before it notices."""
    a, b = trees(lab)
    path = a / "memory/paused.md"
    path.write_text("old")
    check(path.read_text() == "old")
    lab.do("stop", "mount:1")
    try:
        (b / "memory/paused.md").write_text("new")  # waits for the lease of the other
    finally:
        lab.do("cont", "mount:1")
    run("resume", str(a))
    equal(path.read_text(), "new")


def test_xattrs_tell_of_the_head(lab):
    a, b = trees(lab)
    path = "memory/attributes.md"

    def attributes(tree):
        return {n: os.getxattr(tree / path, f"user.linkspan.{n}").decode() for n in ("version", "author", "sandbox", "session", "changed")}
    (a / path).write_text("1\n2\n3\n4\n5\n6\n7\n")
    equal(attributes(b)["author"], "agent-1")
    # A merge: both read the same version, and change other lines.
    base = (a / path).read_text()
    check((b / path).read_text() == base)
    (a / path).write_text(base.replace("1", "one"))
    save(b / path, base.replace("7", "seven"))
    for tree in (a, b):
        got, last = attributes(tree), log(str(tree / path))[-1]
        equal((got["version"], got["author"], got["sandbox"], got["session"]),
              (str(last["version"]), last["principal"], last["sandbox"], last["session"]))
    os.rename(a / path, a / "memory/attributes2.md")
    path = "memory/attributes2.md"
    for tree in (a, b):
        equal(attributes(tree)["version"], str(log(str(tree / path))[-1]["version"]))


def test_owners_kept_apart():
    """With --owner identity what a file was is for root and who mounted; who wrote it, for all."""
    lab = labtest.Lab(mounts=1, owner="identity")
    try:
        path = pathlib.Path(lab.mounts[0], "memory/private")
        path.write_text("secret")
        os.chmod(path, 0o600)
        number = log(str(path))[-1]["version"]
        nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", LINKSPAN]

        def refused(*args):
            done = subprocess.run([*nobody, *args], capture_output=True, text=True, timeout=60, cwd="/")
            check(done.returncode != 0 and "only for root and the user who mounted" in done.stderr, f"{args}: {done}")
            check("secret" not in done.stdout, args)
        refused("cat", f"{path}@{number}")
        refused("resume", lab.mounts[0])
        shown = subprocess.run([*nobody, "log", str(path)], capture_output=True, text=True, timeout=60, cwd="/")
        check(shown.returncode == 0 and "agent-1" in shown.stdout, shown)
        equal(run("cat", f"{path}@{number}").text, "secret")
    finally:
        lab.down()


# ---- conflicts ---------------------------------------------------------------------------------

def conflict(a, b, name, base="the plan\n", head="the plan of A\n", theirs="the plan of B\n"):
    """B has read the base, A changes it, B's change of the same line is refused. Its number."""
    (a / name).write_text(base)
    before = set(os.listdir(a / ".linkspan/conflicts"))
    child = subprocess.Popen([sys.executable, "-c", f"""
import errno, os, sys
path = {str(b / name)!r}
assert open(path).read() == {base!r}
print("read", flush=True)
sys.stdin.readline()
fd = os.open(path, os.O_WRONLY | os.O_TRUNC)
os.write(fd, {theirs.encode()!r})
try:
    os.close(fd)
    sys.exit("close succeeded")
except OSError as error:
    assert error.errno == errno.ESTALE, error
"""], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    equal(child.stdout.readline(), b"read\n")
    (a / name).write_text(head)
    child.stdin.write(b"\n")
    child.stdin.close()
    equal(child.wait(timeout=60), 0, "the second writer is refused")
    found = [n for n in os.listdir(a / ".linkspan/conflicts") if n not in before]
    equal([n.split("-", 1)[1] for n in found], [os.path.basename(name)])
    return int(found[0].split("-")[0])


def test_a_conflict_is_shown_and_settled(lab):
    a, b = trees(lab)
    number = conflict(a, b, "memory/plan.md")
    for tree in (a, b):
        at = tree / f".linkspan/conflicts/{number}-plan.md"
        equal(sorted(os.listdir(at)), ["base", "head", "info", "theirs"])
        for name, text in (("base", "the plan\n"), ("head", "the plan of A\n"), ("theirs", "the plan of B\n")):
            equal((at / name).read_text(), text)
            equal(os.stat(at / name).st_size, len(text))
        info = (at / "info").read_text()
        equal(os.stat(at / "info").st_size, len(info))
        for word in ("memory/plan.md", "agent-2@sandbox-2", f"linkspan resolve {number} --theirs"):
            check(word in info, info)
        check(errno_of(os.unlink, at / "base") in (errno.EROFS, errno.EACCES))
    subprocess.run(["find", a / ".linkspan", "-ls"], check=True, timeout=60, stdout=subprocess.DEVNULL)
    eventually(lambda: "conflicts" in (a / ".linkspan/status").read_text(), 10, "status says so")
    equal(json.loads((a / ".linkspan/status.json").read_text())["conflicts"] >= 1, True)
    run("restore", "--conflict", str(number), "--mount", str(a), "--to", str(a / "memory/theirs.md"))
    equal((b / "memory/theirs.md").read_text(), "the plan of B\n")
    for wrong in ((), ("--ours", "--theirs")):
        run("resolve", str(number), "--mount", str(a), *wrong, code=2)
    check("settled" in run("resolve", str(number), "--ours", "--mount", str(a)).said)
    equal((a / "memory/plan.md").read_text(), "the plan of A\n")
    check(not (b / f".linkspan/conflicts/{number}-plan.md").exists())
    check("no open conflict" in run("resolve", str(number), "--ours", "--mount", str(a), code=1).said)
    changes = [c["what"] for c in log(str(a / "memory"))]
    check("conflict" in changes and "resolve" in changes, changes)


def test_many_conflicts_are_settled_at_once(lab):
    a, b = trees(lab)
    numbers = [conflict(a, b, f"memory/many{i}.md") for i in (1, 2)]
    same = [conflict(a, b, "memory/same.md") for _ in range(3)]
    said = run("resolve", *map(str, same[:2]), "--theirs", "--mount", str(a), code=2).said
    check("--theirs takes one conflict" in said, said)
    said = run("resolve", str(same[0]), str(numbers[0]), "--merged", "-", "--mount", str(a), stdin=b"?\n", code=2).said
    check("same.md" in said and "many1.md" in said, said)
    said = run("resolve", str(numbers[0]), "1", "--ours", "--mount", str(a), code=1).said
    check("no open conflict 1;" in said, said)
    said = run("resolve", *map(str, same), str(same[0]), "--merged", "-", "--mount", str(a), stdin=b"of all\n").said
    equal(said.count("is settled"), 3)
    equal((b / "memory/same.md").read_text(), "of all\n")
    folders = sorted(str(path) for path in (a / ".linkspan/conflicts").glob("*-many*.md"))
    equal(len(folders), 2)
    equal(run("resolve", "--ours", *folders).said.count("stays as it is"), 2)
    equal(list((a / ".linkspan/conflicts").glob("*-many*.md")), [])


def test_theirs_and_merged(lab):
    a, b = trees(lab)
    first = conflict(a, b, "memory/theirs-wins.md")
    run("resolve", str(first), "--theirs", cwd=str(b / "memory"))
    equal((a / "memory/theirs-wins.md").read_text(), "the plan of B\n")
    second = conflict(a, b, "memory/merged.md")
    said = run("resolve", str(second), "--merged", "-", "--mount", str(a), stdin=b"the plan of both\n").said
    check("merged.md has what came from standard input, as a new version" in said, said)
    check(f"from conflict {second}, merged" in run("log", str(b / "memory/merged.md")).text)
    equal((b / "memory/merged.md").read_text(), "the plan of both\n")
    third = conflict(a, b, "memory/back.md")
    # By its folder, as the shell completes it: that says the mount, too.
    folder = f"{b}/.linkspan/conflicts/{third}-back.md/"
    check("no open conflict 1;" in run("resolve", "1", "--ours", "--mount", str(a), code=1).said)
    run("restore", "--conflict", folder, "--to", str(a / "memory/back-copy.md"))
    equal((b / "memory/back-copy.md").read_text(), "the plan of B\n")
    run("restore", "--conflict", folder)
    check(f"from what conflict {third} refused" in run("log", str(a / "memory/back.md")).text)
    equal((a / "memory/back.md").read_text(), "the plan of B\n")
    equal(os.listdir(a / ".linkspan/conflicts"), [])
    texts = [run("cat", f"{a}/memory/back.md@{v['version']}").text for v in log(str(a / "memory/back.md"))]
    equal(texts[-2:], ["the plan of A\n", "the plan of B\n"], "what was replaced stays in the history")


def test_status_counts_conflicts_at_once(lab):
    a, b = trees(lab)

    def count():
        return json.loads((b / ".linkspan/status.json").read_text())["conflicts"]
    before = count()
    number = conflict(a, b, "memory/counted.md")
    equal(count(), before + 1, "where it was refused")
    run("resolve", str(number), "--ours", "--mount", str(b))
    equal(count(), before, "where it was settled")


def open_conflicts(tree):
    return [int(name.split("-")[0]) for name in os.listdir(tree / ".linkspan/conflicts")]


def version_now(path):
    return versions_of(str(path))[-1]["version"]


def test_what_others_saved_since_the_conflict_is_not_taken_out(lab):
    """Whatever the merge was made of: it is refused until it was made of what the file is now."""
    a, b = trees(lab)
    path = "memory/since.md"
    number = conflict(a, b, path, "1\n2\n3\n", "1 of A\n2\n3\n", "1 of B\n2\n3\n")
    held = version_now(a / path)
    with open(a / path, "a") as file:
        file.write("late\n")
    save(a / path, (a / path).read_text().replace("3", "3 of A"))
    late, seen = "1 of A\n2\n3 of A\nlate\n", version_now(a / path)
    for how in (("--merged", "-"), ("--theirs",)):
        said = run("resolve", str(number), *how, "--mount", str(b), code=1, stdin=b"1 of both\n2\n3\n").said
        at = b / path
        for word in (f"is version {seen} now", "agent-1@sandbox-1", f"held against version {held}",
                     f"linkspan diff {at}@{held} {at}", f"resolve {number} --merged FILE --over {seen}"):
            check(word in said, said)
    check(f"--over {seen}" in run("restore", "--conflict", str(number), "--mount", str(b), code=1).said)
    equal(((a / path).read_text(), version_now(a / path)), (late, seen))
    check(number in open_conflicts(a))
    check("+late" in run("diff", f"{b / path}@{held}", str(b / path), code=1).text)  # as was said
    # A still later change is refused again.
    with open(a / path, "a") as file:
        file.write("later\n")
    both = late.replace("1 of A", "1 of both")
    merged = ("resolve", str(number), "--merged", "-", "--mount", str(b), "--over")
    said = run(*merged, str(seen), code=1, stdin=both.encode()).said
    check(f"--over says version {seen}" in said and f"--over {seen + 1}" in said, said)
    equal((b / path).read_text(), late + "later\n")
    run("resolve", str(number), "--ours", "--over", str(seen + 1), "--mount", str(b), code=2)
    run(*merged, str(seen + 1), stdin=(both + "later\n").encode())
    equal(((a / path).read_text(), open_conflicts(a)), (both + "later\n", []))


def test_a_change_while_the_merge_is_saved_is_not_taken_out(lab):
    """The merge comes through a pipe, so that others save when the file was looked at already: where edits are
    merged, where the last writer wins (a link leads there), and where the file is gone."""
    a, b = trees(lab)
    for name, at in (("between.md", "memory"), ("linked.md", "scratch"), ("missing.md", "memory")):
        number = conflict(a, b, f"memory/{name}")
        path, folder = f"{at}/{name}", a / at
        over = ()
        if at == "scratch":
            (a / path).write_text("the plan of A\n")
            os.unlink(a / "memory" / name)
            os.symlink(a / path, a / "memory" / name)
            over = ("--over", str(version_now(a / path)))
        if name == "missing.md":
            os.unlink(a / path)
        command = [LINKSPAN, "resolve", str(number), "--merged", "-", "--mount", str(a), *over]
        child = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE)
        child.stdin.write(b"merged\n")
        child.stdin.flush()
        eventually(lambda: any(n.startswith(".linkspan-restore-") for n in os.listdir(folder)), 20, "it saves")
        text = (b / path).read_text() if (b / path).exists() else ""
        save(b / path, text + "late\n")
        _, said = child.communicate(timeout=60)
        check(child.returncode == 1 and b"--over" in said, said)
        equal((a / path).read_text(), text + "late\n")
        check(not any(n.startswith(".linkspan-restore-") for n in os.listdir(folder)))
        run("resolve", str(number), "--ours", "--mount", str(a))


def test_a_file_that_is_gone_or_another_since_the_conflict(lab):
    a, b = trees(lab)
    path = "memory/gone.md"
    number = conflict(a, b, path)
    os.unlink(a / path)
    run("resolve", str(number), "--merged", "-", "--mount", str(b), stdin=b"back\n")
    equal((a / path).read_text(), "back\n")
    path = "memory/another.md"
    number = conflict(a, b, path)
    os.rename(a / path, a / "memory/moved.md")
    (a / path).write_text("another\n")
    said = run("resolve", str(number), "--theirs", "--mount", str(b), code=1).said
    check("another file was there" in said and f"cat {b / path}" in said, said)
    equal((a / path).read_text(), "another\n")
    run("resolve", str(number), "--theirs", "--over", str(version_now(a / path)), "--mount", str(b))
    equal((a / path).read_text(), "the plan of B\n")
    equal((a / "memory/moved.md").read_text(), "the plan of A\n")


if __name__ == "__main__":
    labtest.main(globals(), each_seconds=240, mounts=2)
