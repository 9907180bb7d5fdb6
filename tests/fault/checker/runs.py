"""One run of the checker: workers on every mount of a lab, faults meanwhile, the proofs afterwards."""
import errno
import fcntl
import json
import os
import random
import subprocess
import sys
import threading
import time

import faults
import kept
import labtest
import proofs
import worker
from labtest import check

START_SECONDS = 1.5  # for the interpreters, so that all workers begin together
# A call ends after its route's timeout (30 s) at the latest, and a save is a few calls.
LATE_SECONDS = 150
KNOWN_TORN = 3  # of some 17,000 operations


def locks_are_shared(lab):
    path = "scratch/are-locks-shared"
    a = os.open(f"{lab.mounts[0]}/{path}", os.O_CREAT | os.O_RDWR)
    b = os.open(f"{lab.mounts[1]}/{path}", os.O_RDWR)
    try:
        fcntl.flock(a, fcntl.LOCK_EX)
        return labtest.errno_of(fcntl.flock, b, fcntl.LOCK_EX | fcntl.LOCK_NB) == errno.EWOULDBLOCK
    finally:
        os.close(a)
        os.close(b)


def but_for_known(problems):
    """SEMANTICS.md, "Not kept yet": a read on an open descriptor at the very moment of another mount's rewrite."""
    known = [p for p in problems if p.startswith("torn: ") and '"op": "held_read"' in p]
    if not 0 < len(known) <= KNOWN_TORN:
        return problems
    print(f"KNOWN {len(known)} torn held reads, such as {known[0][:300]}")
    return [p for p in problems if p not in known]


class Run:
    def __init__(self, lab, folder, seconds, lease_s, seed, workers=1, brought=(), pause=(0.3, 1.5), verbs=None, spoil=None):
        self.lab, self.folder, self.seconds, self.lease = lab, folder, seconds, lease_s
        self.spoil = spoil  # called before what was kept is read
        self.slots = int(seconds / worker.SLOT_SECONDS) + 1
        self.seed, self.workers = seed, workers
        self.verbs = dict(worker.VERBS) if verbs is None else {v: worker.VERBS[v] for v in verbs}
        if "locked" in self.verbs and not locks_are_shared(lab):
            print("  locks are not shared between mounts here: not tried")
            del self.verbs["locked"]
        self.faults = faults.Faults(lab, brought, random.Random(seed), lease_s, pause)
        self.finals, self.differing, self.kept = {}, [], None

    def execute(self):
        self.prepare()
        begin = time.monotonic() + START_SECONDS
        mounts = range(len(self.lab.mounts))
        processes = [self.start(m, m * self.workers + w + 1, begin, self.verbs) for m in mounts for w in range(self.workers)]
        processes += [self.start(m, 500 + m, begin, {v: 1}) for m in mounts for v in worker.WATCHED]
        outputs = [[] for _ in processes]
        threads = [threading.Thread(target=lambda p=p, o=o: o.extend(p.stdout)) for p, o in zip(processes, outputs)]
        for thread in threads:
            thread.start()
        try:
            time.sleep(max(0, begin - time.monotonic()))
            self.faults.run(begin + self.seconds)
            for process in processes:
                process.wait(max(1, begin + self.seconds + LATE_SECONDS - time.monotonic()))
        finally:
            for process in processes:
                process.kill()
            for thread in threads:
                thread.join(20)
        check(all(p.wait() == 0 for p in processes), "a worker crashed")
        records = [json.loads(line) for output in outputs for line in output]
        self.finish(records)
        return self.prove(records)

    def prepare(self):
        tree = self.lab.mounts[0]
        os.mkdir(f"{tree}/scratch/{self.folder}")
        os.mkdir(f"{tree}/memory/{self.folder}")
        for slot in range(self.slots):
            worker.prepare(f"{tree}/scratch/{self.folder}/{slot}", f"{tree}/memory/{self.folder}/{slot}")

    def arguments(self, mount, who, begin, verbs):
        return {"who": who, "mount": mount, "tree": self.lab.mounts[mount], "folder": self.folder, "seed": self.seed,
                "begin": begin, "seconds": self.seconds, "verbs": verbs}

    def start(self, mount, who, begin, verbs):
        return subprocess.Popen([sys.executable, worker.__file__, json.dumps(self.arguments(mount, who, begin, verbs))],
                                stdout=subprocess.PIPE, text=True)

    def finish(self, records):
        """What every mount shows when all is quiet; it has to be the same."""
        for mount in range(len(self.lab.mounts)):
            observer = worker.Worker(**self.arguments(mount, 1000 + mount, 0, {}))
            records.extend(observer.observe(self.slots))
            for slot in range(self.slots):
                self.look(mount, slot)
        if self.spoil:
            self.spoil()
        begun = time.monotonic()
        keys = {r["text"] for r in records if "text" in r} | {r["writes"][0][0] for r in records if r["op"] in worker.REGISTERED}
        self.kept = kept.Reader(self.lab.mounts, self.folder).read(sorted(keys))
        print(f"  {sum(map(len, self.kept.versions.values()))} versions of {len(keys)} files and "
              f"{sum(map(len, self.kept.conflicts.values()))} conflicts read in {time.monotonic() - begun:.1f} s", flush=True)

    def look(self, mount, slot):
        tree = self.lab.mounts[mount]
        paths = {f"{slot}/{n}": f"{tree}/scratch/{self.folder}/{slot}/{n}"
                 for n in [f"l{i}" for i in range(worker.LOGS)] + [f"c{i}" for i in range(worker.LOCKS)]}
        paths |= {f"{slot}/{n}": f"{tree}/memory/{self.folder}/{slot}/{n}" for n in worker.TEXTS}
        for key, path in paths.items():
            try:
                data = worker.get(path)
            except FileNotFoundError:
                data = b""
            if self.finals.setdefault(key, data) != data:
                self.differing.append(f"stale: in the end mount {mount + 1} shows another {key} than mount 1")

    def history(self, key, line):
        """In which version a line of a merged text was last, and what came next. For people, when a proof failed."""
        try:
            return self.last_seen(key, line)
        except Exception as error:  # the lab may be broken; the proof's own words shall still be printed
            return f"no history of '{line}': {error}"

    def last_seen(self, key, line):
        path = f"{self.lab.mounts[0]}/memory/{self.folder}/{key}"
        linkspan = f"{labtest.BUILD}/fusefs/cli/linkspan"
        log = labtest.sh(f"{linkspan} log --json -n 1000000 {path}").splitlines()
        before = None
        for version in map(json.loads, log):
            text = labtest.sh(f"{linkspan} cat {path}@{version['version']}").splitlines()
            said = f"version {version['version']} of {version['principal']} ({version['what']} of {version['time']})"
            if before and line in before[1] and line not in text:
                gone = [l for l in before[1] if l not in text]
                return f"'{line}' was last in {before[0]}; {said} lacks {gone}, has {[l for l in text if l not in before[1]]}"
            before = said, text
        return f"'{line}' is in the last version" if before and line in before[1] else f"'{line}' is in no version"

    def prove(self, records):
        proof = proofs.Proof(records, self.finals, self.faults.done, int(self.lease * 1e9), self.kept).run()
        proof.problems += self.differing
        proof.history = self.history
        slowest = max(records, key=lambda r: r["return"] - r["call"])
        print(f"  {len(records)} operations, {dict(proof.checked)}, {proof.counted['errors']} errors, "
              f"{proof.counted['conflicts']} conflicts; slowest {slowest['op']} "
              f"{(slowest['return'] - slowest['call']) / 1e6:.0f} ms; {len(proof.problems)} violations", flush=True)
        proof.slowest = slowest
        if path := os.environ.get("LINKSPAN_RECORD"):
            with open(path, "a") as file:
                for r in records + self.faults.done:
                    file.write(json.dumps(r) + "\n")
        return proof


def require(proof):
    kinds = sorted({p.split(":")[0] for p in proof.problems})
    proof.problems = but_for_known(proof.problems)
    for record in proof.lost_notes[:3]:
        try:
            print(f"  {proof.history(record['text'], record['line'])}", flush=True)
        except AssertionError as error:
            print(f"  no history of {record['text']}: {error}", flush=True)
    check(not proof.problems, "\n".join(proof.problems[:12]) + f"\n... {len(proof.problems)} violations: {kinds}")
