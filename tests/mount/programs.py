#!/usr/bin/env python3
"""The programs that people and agents run, on the mount: shells, git, SQLite, tar, rsync, make,
python, npm; each checked by its own means (fsck, integrity_check, diff)."""
import os
import shutil
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
import labtest  # noqa: E402
from labtest import ROOT, check, equal, sh  # noqa: E402


def folder(lab, name, mount=0):
    path = f"{lab.mounts[mount]}/memory/{name}"
    os.makedirs(path, exist_ok=True)
    return path


def write(path, text):
    with open(path, "w") as file:
        file.write(text)


def test_shell_and_text_tools(lab):
    d = folder(lab, "shell")
    sh("printf 'one\\ntwo\\n' > a; cat >> a <<< three; sed -i s/two/TWO/ a; grep -q TWO a; "
       "cp -a a b; mv b c; ln -s a l; ln a h; test $(wc -l < l) = 3; tee -a a <<< four >/dev/null; "
       "test $(tail -n1 h) = four; find . -type f | sort | tr '\\n' ' ' | grep -q './a ./c ./h'; rm -r c; ls -la", cwd=d)
    equal(sh("cat a", cwd=folder(lab, "shell", 1)), "one\nTWO\nthree\nfour\n")


def git_environment():
    return dict(os.environ, GIT_CONFIG_GLOBAL="/dev/null", GIT_AUTHOR_NAME="a", GIT_AUTHOR_EMAIL="a@b",
                GIT_COMMITTER_NAME="a", GIT_COMMITTER_EMAIL="a@b")


def test_git_commits_of_two_mounts_keep_their_messages(lab):
    env = git_environment()
    trees = [folder(lab, "turns", mount) for mount in (0, 1)]
    sh("git init -q .; git config gc.auto 0", cwd=trees[0], env=env)
    for turn in range(8):
        sh(f"echo {turn} > f{turn}; git add f{turn}; git commit -qm 'message {turn}'", cwd=trees[turn % 2], env=env)
    equal(sh("git log --reverse --format=%s; git fsck --strict", cwd=trees[0], env=env).split("\n")[:8],
          [f"message {turn}" for turn in range(8)])


def test_git_life(lab):
    d = folder(lab, "git")
    env = git_environment()
    sh(f"""git clone -q {ROOT} repo; cd repo; git fsck --strict >/dev/null; git status --porcelain > s; test "$(cat s)" = '?? s'
       rm s; git checkout -q -b topic; echo change >> LICENSE; git commit -qam change; git gc -q --prune=now
       git worktree add -q ../tree topic~; git -C ../tree log -1 --format=%H; git diff --quiet
       git checkout -q -; git merge -q topic; git fsck --strict; test -z "$(git status --porcelain)" """, cwd=d, env=env, timeout=300)


def test_sqlite_rollback_and_wal(lab):
    d = folder(lab, "sqlite")
    for mode in ("delete", "truncate", "persist", "wal"):
        out = sh(f"""sqlite3 {mode}.db "pragma journal_mode={mode}; create table t(i integer primary key, s text);
            with recursive n(i) as (select 1 union all select i+1 from n where i<2000) insert into t select i, hex(randomblob(50)) from n;"
            for i in 1 2 3 4; do sqlite3 -cmd '.timeout 20000' {mode}.db "update t set s=s||'x' where i % 7 = $i; insert into t(s) values('more')" & done; wait
            sqlite3 {mode}.db "pragma integrity_check; select count(*) from t" """, cwd=d)
        check(out.split()[-2:] == ["ok", "2004"], f"{mode}: {out}")


def test_processes_of_one_mount_know_all_of_sqlites_log(lab):
    """They agree through shared memory and locks on another file, and write what they have not read."""
    d = folder(lab, "log")
    for name in ("x.db-wal", "x.db-shm"):
        fd = os.open(f"{d}/{name}", os.O_RDWR | os.O_CREAT)
        try:
            os.write(fd, b"a" * 100)
            os.fsync(fd)
            equal(os.pread(fd, 3, 0), b"aaa")
            sh(f"python3 -c 'import os; f = os.open(\"{d}/{name}\", os.O_RDWR); os.pwrite(f, b\"b\", 50); os.fsync(f)'")
            os.pwrite(fd, b"c", 0)
            os.fsync(fd)  # no conflict
            equal(os.pread(fd, 100, 0), b"c" + b"a" * 49 + b"b" + b"a" * 49)
        finally:
            os.close(fd)


def test_tar_and_rsync_keep_everything(lab):
    d = folder(lab, "tar")
    local = f"{lab.base}/source"
    sh(f"""mkdir -p {local}/sub/deep; cd {local}; head -c 300000 /dev/urandom > big; printf x > sub/exec; chmod 755 sub/exec
        ln big hard; ln -s sub/exec soft; ln -s nowhere dangling; mkfifo pipe; touch -d '2001-02-03 04:05:06.789012345' sub/deep/old
        truncate -s 5M sparse; chmod 1777 sub; setfattr -n user.note -v hello big""")
    sh(f"tar -C {local} --xattrs --sparse -cf - . | tar -C {d} --xattrs -xpf -")
    compare = "find . ! -type d -printf '%P %y %m %s %T@ %l\\n' | sort; find . -type d -printf '%P %m\\n' | sort"
    equal(sh(compare, cwd=d), sh(compare, cwd=local))
    sh(f"diff -r --no-dereference --exclude=pipe {local} {d}; getfattr -n user.note {d}/big | grep -q hello")
    equal(os.stat(f"{d}/big").st_ino, os.stat(f"{d}/hard").st_ino)
    sh(f"mkdir {d}-r; rsync -aHX --sparse {local}/ {d}-r/; test -z \"$(rsync -aHXn --itemize-changes --checksum {local}/ {d}-r/)\"")


def test_make_and_compile(lab):
    d = folder(lab, "make")
    for i in range(12):
        with open(f"{d}/f{i}.c", "w") as file:
            file.write(f"int f{i}(void) {{ return {i}; }}\n")
    with open(f"{d}/main.c", "w") as file:
        file.write("".join(f"int f{i}(void);\n" for i in range(12)) +
                   "int main(void) { return " + "+".join(f"f{i}()" for i in range(12)) + " == 66 ? 0 : 1; }\n")
    with open(f"{d}/Makefile", "w") as file:
        file.write("prog: $(patsubst %.c,%.o,$(wildcard *.c))\n\t$(CC) -o $@ $^\n")
    sh("make -s -j4 && ./prog && make | grep 'up to date' && touch f3.c && make -n | grep f3.o", cwd=d)


def test_python_packages_and_bytecode(lab):
    d = folder(lab, "python")
    sh("""mkdir -p pkg; echo 'VALUE = 42' > pkg/mod.py; touch pkg/__init__.py
        env -u PYTHONDONTWRITEBYTECODE python3 -c 'import pkg.mod; assert pkg.mod.VALUE == 42'; ls pkg/__pycache__ | grep -q mod
        python3 - <<'P'
import json, os, shelve, tempfile, zipfile
with tempfile.NamedTemporaryFile('w', dir='.', delete=False) as f:
    json.dump({'a': 1}, f); f.flush(); os.fsync(f.fileno())
os.replace(f.name, 'state.json')
assert json.load(open('state.json')) == {'a': 1}
with zipfile.ZipFile('z.zip', 'w') as z: z.writestr('x', 'y' * 100000)
assert zipfile.ZipFile('z.zip').testzip() is None
P""", cwd=d)


def test_npm_install(lab):
    """From a packed tarball and a linked folder, without the network."""
    if shutil.which("npm") is None:
        print("     npm is not here: not tried", flush=True)
        return
    d = folder(lab, "npm")
    for name, more in (("leaf", '"main": "leaf.js"'), ("dep", '"main": "dep.js", "bin": {"dep-says": "cli.js"}'),
                       ("app", '"dependencies": {"leaf": "file:../leaf"}')):
        os.mkdir(f"{d}/{name}")
        write(f"{d}/{name}/package.json", f'{{"name": "{name}", "version": "1.0.0", {more}}}')
    write(f"{d}/leaf/leaf.js", "module.exports = 'leaf';\n")
    write(f"{d}/dep/dep.js", "module.exports = 'dep';\n")
    write(f"{d}/dep/cli.js", "#!/usr/bin/env node\nconsole.log(require('dep') + ' and ' + require('leaf'));\n")
    env = dict(os.environ, npm_config_cache=f"{d}/cache", npm_config_userconfig="/dev/null",
               npm_config_update_notifier="false")
    sh("cd dep && npm pack -s --pack-destination ../app", cwd=d, env=env)
    sh("npm install --offline --no-audit --no-fund ./dep-1.0.0.tgz", cwd=f"{d}/app", env=env)

    def installed(tree):
        equal(sh("node_modules/.bin/dep-says; node -p 'require(\"leaf\")'", cwd=f"{tree}/app"), "dep and leaf\nleaf\n")
        sh("diff -r --exclude=package.json dep app/node_modules/dep; test -L app/node_modules/leaf", cwd=tree)
    installed(d)
    installed(folder(lab, "npm", 1))
    # Once more, by the lock file, over what is there.
    sh("npm ci --offline --no-audit --no-fund && npm ls --all", cwd=f"{d}/app", env=env)
    installed(folder(lab, "npm", 1))


def test_proper_lockfile_pattern(lab):
    # mkdir X.lock, utimensat, stat, rmdir: what node's proper-lockfile does.
    d = folder(lab, "locks")
    for _ in range(20):
        os.mkdir(f"{d}/X.lock")
        os.utime(f"{d}/X.lock", ns=(1, 1_700_000_000_123_000_000))
        equal(os.stat(f"{d}/X.lock").st_mtime_ns, 1_700_000_000_123_000_000)
        os.rmdir(f"{d}/X.lock")


def test_workspace_is_local(lab):
    tree, local = f"{lab.mounts[0]}/workspace", lab.info["workspaces"][0]
    sh(f"cd {tree} && echo w > w && mkdir d && ln w d/l && flock w true && rm -r d")
    equal(open(f"{local}/w").read(), "w\n")


def test_control_files_answer(lab):
    d = f"{lab.mounts[0]}/.linkspan"
    names = set(sh(f"ls {d}").split())
    check({"status", "status.json", "whoami", "routes", "stats", "changes"} <= names, names)
    sh(f"find {d} -maxdepth 1 -type f -exec cat {{}} + >/dev/null; ls {d}/conflicts; python3 -m json.tool {d}/status.json >/dev/null; grep -qi connected {d}/status; "
       f"grep -q sandbox-1 {d}/whoami; grep -q memory {d}/routes; grep -q '^linkspan_' {d}/stats")
    sh(f"echo seen > {lab.mounts[0]}/memory/seen.md; grep -q seen.md {d}/changes")


if __name__ == "__main__":
    labtest.main(globals(), each_seconds=300, mounts=2)
