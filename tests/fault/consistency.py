#!/usr/bin/env python3
"""A consistency checker: processes on several mounts do random operations and record when each began
and ended and what it saw; afterwards each promise is proved from the record.

  no stale read   what a read, stat, listing or O_EXCL saw was not overwritten before it began
  whole           a read sees one write's bytes, never a mix, never an empty file in between
  appends         every acknowledged line is there once, in the order of acknowledgement
  names           an O_EXCL create has one winner; a removed name is gone, a created one there

LINKSPAN_SEED repeats a run's choices, LINKSPAN_SECONDS sets its length, LINKSPAN_FAULTS=kill,cut,...
adds faults (kill-router, kill-postgres, stop-router, cut). CLOCK_MONOTONIC is one clock for all.
"""
import json
import os
import random
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
import labtest  # noqa: E402
from labtest import check  # noqa: E402

SECONDS = float(os.environ.get("LINKSPAN_SECONDS", "20"))
REGISTERS, NAMES, LOGS = 3, 4, 2
EVER = 1 << 62


# ---- a worker: one process on one mount --------------------------------------------------------

class Worker:
    def __init__(self, number, mount, folder, seed, seconds):
        self.rng = random.Random(seed * 1000 + number)
        self.me, self.root, self.count = number, f"{mount}/{folder}", 0
        self.end = time.monotonic() + seconds

    def unique(self):
        self.count += 1
        return f"{self.me}.{self.count}"

    def run(self):
        verbs = ["save", "rewrite", "read", "held_read", "stat", "create", "unlink", "exists", "list", "append", "read_log"]
        held = {}
        while time.monotonic() < self.end:
            verb = self.rng.choices(verbs, [4, 3, 10, 4, 3, 5, 4, 6, 3, 8, 3])[0]
            record = {"op": verb, "who": self.me}
            record["call"] = time.monotonic_ns()
            try:
                getattr(self, verb)(record, held)
            except OSError as error:
                record["error"] = error.errno
            record["return"] = time.monotonic_ns()
            print(json.dumps(record), flush=True)

    def body(self, value):
        # Long enough that a mix would show; the value stands at both ends and the length tells it.
        return (value + "\n" + "x" * (hash_of(value) % 9000) + "\n" + value + "\n").encode()

    def save(self, record, _held):
        record["key"], record["value"] = f"r{self.rng.randrange(REGISTERS)}", self.unique()
        temporary = f"{self.root}/{record['key']}.tmp.{self.me}"
        fd = os.open(temporary, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o644)
        try:
            os.write(fd, self.body(record["value"]))
            os.fsync(fd)
        finally:
            os.close(fd)
        os.rename(temporary, f"{self.root}/{record['key']}")

    def rewrite(self, record, _held):
        record["key"], record["value"] = f"r{self.rng.randrange(REGISTERS)}", self.unique()
        fd = os.open(f"{self.root}/{record['key']}", os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o644)
        data = self.body(record["value"])
        try:
            os.write(fd, data[:len(data) // 2])
            os.write(fd, data[len(data) // 2:])
        finally:
            os.close(fd)

    def parse(self, record, data):
        lines = data.decode(errors="replace").split("\n")
        record["saw"] = lines[0]
        record["whole"] = data == self.body(lines[0])
        if not record["whole"]:
            record["bytes"] = repr(data[:40]) + f"... of {len(data)}"

    def read(self, record, _held):
        record["key"] = f"r{self.rng.randrange(REGISTERS)}"
        with open(f"{self.root}/{record['key']}", "rb", buffering=0) as file:
            self.parse(record, file.read(1 << 20))

    def held_read(self, record, held):
        """A descriptor that stays open sees a rewrite in place after its commit."""
        key = record["key"] = f"r{self.rng.randrange(REGISTERS)}"
        path = f"{self.root}/{key}"
        if key not in held:
            held[key] = os.open(path, os.O_RDONLY)
        if os.fstat(held[key]).st_nlink == 0:  # replaced: what an old descriptor shows is the old file
            os.close(held.pop(key))
            record["op"] = "none"
            return
        data = os.pread(held[key], 1 << 20, 0)
        record["op"] = "weak_read"
        self.parse(record, data)

    def stat(self, record, _held):
        key = record["key"] = f"r{self.rng.randrange(REGISTERS)}"
        record["size"] = os.stat(f"{self.root}/{key}").st_size

    def create(self, record, _held):
        record["key"], record["value"] = f"n{self.rng.randrange(NAMES)}", True
        os.close(os.open(f"{self.root}/{record['key']}", os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))

    def unlink(self, record, _held):
        record["key"], record["value"] = f"n{self.rng.randrange(NAMES)}", False
        os.unlink(f"{self.root}/{record['key']}")

    def exists(self, record, _held):
        record["key"] = f"n{self.rng.randrange(NAMES)}"
        try:
            os.stat(f"{self.root}/{record['key']}")
            record["saw"] = True
        except FileNotFoundError:
            record["saw"] = False

    def list(self, record, _held):
        found = set(os.listdir(self.root))
        record["saw"] = [f"n{i}" in found for i in range(NAMES)]

    def append(self, record, _held):
        record["key"], record["value"] = f"l{self.rng.randrange(LOGS)}", self.unique()
        fd = os.open(f"{self.root}/{record['key']}", os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o644)
        try:
            os.write(fd, f"{record['value']} {'y' * (self.count % 200)}\n".encode())
        finally:
            os.close(fd)

    def read_log(self, record, _held):
        record["key"] = f"l{self.rng.randrange(LOGS)}"
        with open(f"{self.root}/{record['key']}", "rb", buffering=0) as file:
            data = b""
            while piece := file.read(1 << 20):
                data += piece
        record["count"] = data.count(b"\n")


def hash_of(text):
    value = 0
    for c in text:
        value = (value * 131 + ord(c)) % 1_000_003
    return value


# ---- the proofs --------------------------------------------------------------------------------

class Writes:
    """The writes of one key, to ask whether a value can have been current in an interval."""

    def __init__(self, records, initial):
        self.by_value = {}
        self.acknowledged = []  # (return, call)
        self.by_value.setdefault(initial, []).append((-1, -1))
        for r in records:
            failed = "error" in r
            # A failed write may still have been applied, then or later.
            span = (r["call"], EVER if failed else r["return"])
            self.by_value.setdefault(r["value"], []).append(span)
            if not failed:
                self.acknowledged.append((r["return"], r["call"]))
        self.acknowledged.sort()
        # latest_call[i]: the latest begin among the first i+1 writes to end.
        self.latest_call, latest = [], -1
        for ended, begun in self.acknowledged:
            latest = max(latest, begun)
            self.latest_call.append(latest)

    def latest_begin_ended_before(self, moment):
        import bisect
        at = bisect.bisect_left(self.acknowledged, (moment, -1))
        return self.latest_call[at - 1] if at else -1

    def could_be(self, value, call, returned):
        """Some write of `value` began before the read ended and was not overwritten, as a whole,
        by one that began after it had ended and ended before the read began."""
        overwritten = self.latest_begin_ended_before(call)
        return any(begun <= returned and not ended < overwritten for begun, ended in self.by_value.get(value, []))


def body_size(value):
    return 2 * (len(value) + 1) + hash_of(value) % 9000 + 1


def prove(records, root, initial_register):
    problems, counted = [], {}

    def note(kind, record, why):
        problems.append(f"{kind}: {why}: {json.dumps(record)}")

    registers = {f"r{i}": Writes([r for r in records if r.get("key") == f"r{i}" and r["op"] in ("save", "rewrite")],
                                 initial_register) for i in range(REGISTERS)}
    # An exclusive create that says EEXIST, or an unlink that says ENOENT, changed nothing but saw.
    def changed(r):
        return not (r.get("error") in (17, 2))
    names = {f"n{i}": Writes([r for r in records if r.get("key") == f"n{i}" and r["op"] in ("create", "unlink")
                              and changed(r)], False) for i in range(NAMES)}
    for r in records:
        counted[r["op"]] = counted.get(r["op"], 0) + 1
        key = r.get("key")
        if "error" in r and r["error"] not in (17, 2):
            counted["errors"] = counted.get("errors", 0) + 1
            continue
        if r["op"] in ("read", "weak_read") and "error" not in r:
            if not r["whole"]:
                note("torn", r, "not the bytes of one write")
            elif r["op"] == "read" and not registers[key].could_be(r["saw"], r["call"], r["return"]):
                note("stale", r, "the value was overwritten before the read began")
        elif r["op"] in ("read", "stat") and "error" in r:
            note("lost", r, "a file that is never removed was not found")
        elif r["op"] == "stat":
            fits = [v for v in registers[key].by_value if body_size(v) == r["size"]]
            if not any(registers[key].could_be(v, r["call"], r["return"]) for v in fits):
                note("stale", r, "no current value has this size")
        elif r["op"] == "exists" and not names[key].could_be(r["saw"], r["call"], r["return"]):
            note("stale", r, "the name's state was changed before the stat began")
        elif r["op"] == "list":
            for i, saw in enumerate(r["saw"]):
                if not names[f"n{i}"].could_be(saw, r["call"], r["return"]):
                    note("stale", r, f"listing: n{i}")
        elif r["op"] == "create" and r.get("error") == 17 and not names[key].could_be(True, r["call"], r["return"]):
            note("stale", r, "EEXIST for a name that was gone")
        elif r["op"] == "unlink" and r.get("error") == 2 and not names[key].could_be(False, r["call"], r["return"]):
            note("stale", r, "ENOENT for a name that was there")
    prove_names(records, note)
    prove_logs(records, root, note)
    return problems, counted


def prove_names(records, note):
    """Between two creates that succeeded there is an unlink that can have come between them."""
    for i in range(NAMES):
        events = sorted((r for r in records if r.get("key") == f"n{i}" and r["op"] in ("create", "unlink")
                         and "error" not in r), key=lambda r: r["return"])
        unsure = any(r.get("error") not in (None, 17, 2) for r in records if r.get("key") == f"n{i}")
        creates = [r for r in events if r["op"] == "create"]
        unlinks = [r for r in events if r["op"] == "unlink"]
        if not unsure and not 0 <= len(creates) - len(unlinks) <= 1:
            note("names", {"key": f"n{i}"}, f"{len(creates)} creates and {len(unlinks)} unlinks succeeded")
        for a, b in zip(creates, creates[1:]):
            if not unsure and a["return"] < b["call"] and not any(
                    u["return"] > a["call"] and u["call"] < b["return"] for u in unlinks):
                note("names", b, "two creates won with no unlink between them")


def prove_logs(records, root, note):
    for i in range(LOGS):
        appends = [r for r in records if r.get("key") == f"l{i}" and r["op"] == "append"]
        path = f"{root}/l{i}"
        lines = open(path).read().split("\n")[:-1] if os.path.exists(path) else []
        place = {}
        for at, line in enumerate(lines):
            value = line.split(" ")[0]
            if value in place:
                note("append", {"key": f"l{i}", "value": value}, "a line is there twice")
            if line != f"{value} {'y' * (int(value.split('.')[1]) % 200)}":
                note("append", {"key": f"l{i}", "line": line[:80]}, "a line is not whole")
            place[value] = at
        done = sorted((r for r in appends if "error" not in r), key=lambda r: r["call"])
        for r in done:
            if r["value"] not in place:
                note("append", r, "an acknowledged line is missing")
        # In the order of acknowledgement: whoever ended before another began stands before it.
        done = [r for r in done if r["value"] in place]
        ended = sorted(done, key=lambda r: r["return"])
        at, highest = 0, -1
        for r in done:
            while at < len(ended) and ended[at]["return"] < r["call"]:
                highest = max(highest, place[ended[at]["value"]])
                at += 1
            if place[r["value"]] < highest:
                note("append", r, "stands before a line that was acknowledged earlier")
        returns = sorted(r["return"] for r in done)
        import bisect
        for r in records:
            if r.get("key") == f"l{i}" and r["op"] == "read_log" and "count" in r:
                if r["count"] < bisect.bisect_left(returns, r["call"]):
                    note("stale", r, f"{bisect.bisect_left(returns, r['call'])} lines were acknowledged before it began")


# ---- a run -------------------------------------------------------------------------------------

def faults(lab, names, seconds, rng):
    """Brings the named faults, one at a time, until the time is over."""
    end = time.monotonic() + seconds
    while names and time.monotonic() < end:
        time.sleep(rng.uniform(0.5, 2.5))  # when a fault comes is arbitrary
        fault = rng.choice(names)
        if fault == "kill-router":
            lab.do("restart", "router")
        elif fault == "kill-postgres":
            lab.do("restart", "postgres")
        elif fault == "stop-router":
            lab.do("stop", "router")
            time.sleep(rng.uniform(0.2, 3))
            lab.do("cont", "router")
        elif fault == "cut":
            target = f"mount:{rng.randrange(len(lab.mounts)) + 1}"
            lab.do("cut", target)
            time.sleep(rng.uniform(0.2, 7))
            lab.do("join", target)
        print(f"  fault: {fault}", flush=True)


def run(lab, route, folder, seconds, names=(), workers=1):
    seed = labtest.seed()
    root = f"{lab.mounts[0]}/{route}/{folder}"
    os.mkdir(root)
    first = Worker(0, lab.mounts[0], f"{route}/{folder}", seed, 0)
    for i in range(REGISTERS):
        with open(f"{root}/r{i}", "wb") as file:
            file.write(first.body("0.0"))
    processes = [subprocess.Popen([sys.executable, os.path.abspath(__file__), "--worker", str(m * workers + w + 1),
                                   mount, f"{route}/{folder}", str(seed), str(seconds)], stdout=subprocess.PIPE, text=True)
                 for m, mount in enumerate(lab.mounts) for w in range(workers)]
    outputs = [[] for _ in processes]
    threads = [threading.Thread(target=lambda p=p, o=o: o.extend(p.stdout)) for p, o in zip(processes, outputs)]
    for thread in threads:
        thread.start()
    faults(lab, list(names), seconds, random.Random(seed))
    for process, thread in zip(processes, threads):
        process.wait(seconds + 120)
        thread.join(20)
    records = [json.loads(line) for output in outputs for line in output]
    check(all(p.returncode == 0 for p in processes), "a worker crashed")
    problems, counted = prove(records, root, "0.0")
    slowest = max(records, key=lambda r: r["return"] - r["call"])
    print(f"  {len(records)} operations {counted}; slowest {slowest['op']} "
          f"{(slowest['return'] - slowest['call']) / 1e6:.0f} ms; {len(problems)} violations")
    check(not problems, "\n".join(problems[:12]) + f"\n... {len(problems)} violations")
    return records, counted


def test_quiet(lab):
    records, counted = run(lab, "scratch", "quiet", SECONDS)
    check(counted.get("errors", 0) == 0, f"errors without a fault: {[r for r in records if r.get('error') not in (None, 2, 17)][:5]}")
    pauses = [r for r in records if r["return"] - r["call"] > 2_000_000_000]
    check(not pauses, f"pauses: {pauses[:5]}")


def test_with_faults(lab):
    chosen = [f for f in os.environ.get("LINKSPAN_FAULTS", "kill-router,kill-postgres,stop-router,cut").split(",") if f]
    run(lab, "scratch", "faults", SECONDS * 1.5, chosen)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        Worker(int(sys.argv[2]), sys.argv[3], sys.argv[4], int(sys.argv[5]), float(sys.argv[6])).run()
    else:
        labtest.main(globals(), each_seconds=int(SECONDS * 4 + 240), mounts=4, lease_ms=2000, known={
            "test_with_faults": "runs are short yet; see SEMANTICS.md"})
