#!/usr/bin/env python3
"""Many writers of one place at once (DESIGN 4a): nobody waits for a lease, no edit is lost.

  pauses    two mounts that save the same name, and other names of one directory, for LINKSPAN_SECONDS (60):
            no save takes over 100 ms (and what a busy machine adds, told by saves to a local disk meanwhile)
  edits     eight processes on eight mounts that each put their line into one MEMORY.md, 20 rounds, by an
            editor's save (read, edit, temporary file, fsync, rename), in place, and by append: every line
            whose write succeeded is in the file, once
"""
import errno
import json
import os
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
import labtest  # noqa: E402
from labtest import check, equal  # noqa: E402

SECONDS = float(os.environ.get("LINKSPAN_SECONDS", "60"))
LEASE_MS = 5000
WRITERS, ROUNDS, TRIES = 8, 20, 30
PAUSE_MS = 100
TEMPLATE = "# Memory\n\n" + "".join(f"- fact {i}, which nobody touches\n" for i in range(30)) + "\n## Notes\n"


# ---- the processes -----------------------------------------------------------------------------

def save(path, data):
    temporary = f"{path}.tmp.{os.getpid()}"
    fd = os.open(temporary, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o644)
    try:
        os.write(fd, data)
        os.fsync(fd)
    finally:
        os.close(fd)
    os.rename(temporary, path)


def saver(paths, end):
    """Saves each of `paths` in turn; the times in ms."""
    times, n = [], 0
    while time.monotonic() < end:
        path = paths[n % len(paths)]
        begun = time.monotonic()
        save(path, f"{os.getpid()} {n}\n".encode() * 20)
        times.append((time.monotonic() - begun) * 1000)
        n += 1
    return {"times": times}


def edit(how, path, line):
    """One try; False: others were there first (ESTALE), read again."""
    try:
        if how == "append":
            fd = os.open(path, os.O_WRONLY | os.O_APPEND)
            try:
                os.write(fd, line.encode())
            finally:
                os.close(fd)
            return True
        # By one call: between two, a file that is rewritten in place changes, as on a local disk.
        fd = os.open(path, os.O_RDONLY)
        try:
            text = os.read(fd, 1 << 20).decode()
        finally:
            os.close(fd)
        text = text.replace("## Notes\n", f"## Notes\n{line}")
        if how == "save":
            save(path, text.encode())
            return True
        fd = os.open(path, os.O_WRONLY | os.O_TRUNC)
        try:
            os.write(fd, text.encode())
        finally:
            os.close(fd)
        return True
    except OSError as error:
        if error.errno != errno.ESTALE:
            raise
        return False


def editor(how, path, who):
    done, conflicts, times = [], 0, []
    for n in range(ROUNDS):
        line = f"- {how} {who} {n}\n"
        for _ in range(TRIES):
            begun = time.monotonic()
            if edit(how, path, line):
                times.append((time.monotonic() - begun) * 1000)
                done.append(line)
                break
            conflicts += 1
    return {"done": done, "conflicts": conflicts, "times": times}


# ---- running them ------------------------------------------------------------------------------

def together(calls):
    """Runs each call (name, *arguments) in a process of its own; what they returned."""
    processes = [subprocess.Popen([sys.executable, os.path.abspath(__file__), "--call", json.dumps(call)],
                                  stdout=subprocess.PIPE, text=True) for call in calls]
    answers = []
    for process in processes:
        out, _ = process.communicate(timeout=SECONDS * 4 + 240)
        check(process.returncode == 0, "a process of the test failed")
        answers.append(json.loads(out))
    return answers


def figures(times):
    times = sorted(times)
    return {"n": len(times), "p50": times[len(times) // 2], "p99": times[int(len(times) * 0.99)], "max": times[-1]}


def shown(name, f):
    return f"  {name:<26} {f['n']:>6} saves, p50 {f['p50']:.1f} ms, p99 {f['p99']:.1f} ms, max {f['max']:.1f} ms"


def contend(lab, paths_of):
    """Two savers on two mounts, and one on the local disk as the measure of this machine."""
    local = f"{lab.base}/local"
    os.makedirs(local, exist_ok=True)
    end = time.monotonic() + 1 + SECONDS
    answers = together([["saver", paths_of(m), end] for m in lab.mounts[:2]] + [["saver", [f"{local}/file"], end]])
    return figures(answers[0]["times"] + answers[1]["times"]), figures(answers[2]["times"])


def no_pause(mounts, local, what):
    print(shown(what, mounts))
    print(shown("local disk, meanwhile", local))
    # A machine that is busy with other things stops a local save, too, and stretches all of ours.
    limit = PAUSE_MS + 2 * local["max"] + 3 * mounts["p50"]
    check(mounts["max"] < limit, f"{what}: a pause of {mounts['max']:.0f} ms, over {limit:.0f} ms")
    check(mounts["max"] < LEASE_MS / 4, f"{what}: a pause of {mounts['max']:.0f} ms is near a lease")


def test_no_pause_with_the_same_name(lab):
    os.mkdir(f"{lab.mounts[0]}/scratch/same")
    no_pause(*contend(lab, lambda m: [f"{m}/scratch/same/MEMORY.md"]), "the same name")


def test_no_pause_with_other_names_of_one_directory(lab):
    os.mkdir(f"{lab.mounts[0]}/scratch/other")
    no_pause(*contend(lab, lambda m: [f"{m}/scratch/other/{os.path.basename(m)}.{i}" for i in range(5)]),
             "other names, one directory")


def edits(lab, how):
    path = f"memory/{how}.md"
    with open(f"{lab.mounts[0]}/{path}", "w") as file:
        file.write(TEMPLATE)
    begun = time.monotonic()
    answers = together([["editor", how, f"{lab.mounts[w % len(lab.mounts)]}/{path}", w] for w in range(WRITERS)])
    took = time.monotonic() - begun
    done = [line for answer in answers for line in answer["done"]]
    for mount in lab.mounts:
        lines = open(f"{mount}/{path}").read().splitlines(keepends=True)
        wrong = {line: lines.count(line) for line in done if lines.count(line) != 1}
        check(not wrong, f"{len(wrong)} of {len(done)} lines are not there once but: {list(wrong.items())[:8]}")
        equal([line for line in lines if line in TEMPLATE], TEMPLATE.splitlines(keepends=True), "the rest of the file")
    conflicts = sum(answer["conflicts"] for answer in answers)
    equal(len(done), WRITERS * ROUNDS, f"edits that succeeded within {TRIES} tries ({conflicts} conflicts)")
    f = figures([t for answer in answers for t in answer["times"]])
    print(f"  {len(done)} edits in {took:.1f} s, {conflicts} tries ended in ESTALE; an edit p50 {f['p50']:.1f} ms, "
          f"p99 {f['p99']:.1f} ms, max {f['max']:.1f} ms")


def test_eight_editors_save(lab):
    edits(lab, "save")


def test_eight_editors_in_place(lab):
    edits(lab, "inplace")


def test_eight_editors_append(lab):
    edits(lab, "append")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--call"]:
        name, *arguments = json.loads(sys.argv[2])
        print(json.dumps({"saver": saver, "editor": editor}[name](*arguments)))
    else:
        labtest.main(globals(), each_seconds=int(SECONDS * 4 + 300), mounts=WRITERS, lease_ms=LEASE_MS)
