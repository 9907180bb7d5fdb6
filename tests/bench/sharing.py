#!/usr/bin/env python3
"""What sharing costs and how soon it is seen, from one run on one machine: a table, or JSON.

  visibility   rename returns on A -> the first read of the new content on B (B looks without pause)
  rates        appends and editor's saves from eight mounts at once, beside commits of eight clients on
               the same Postgres (pgbench where it is installed, else an INSERT a commit through psql)
  contention   two mounts that save one name: the time of a save
  recovery     each fault -> the next success of a writer (create, write, close), on the mount that the
               fault hits and on another one: `after`, from when what was broken was whole again (at once,
               where a second router takes over), and `pause`, the longest time without a success

  tests/bench/sharing.py [--seconds N] [--rounds N] [--build DIR] [--json] [--out FILE] [--recovery]
"""
import argparse
import glob
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "support"))
sys.path.insert(0, os.path.join(HERE, "..", "fault"))
import contention  # noqa: E402
import labtest  # noqa: E402

MOUNTS, LEASE_MS = 8, 5000
STOPPED_SECONDS, CUT_SECONDS = 3, 8  # 8 s: longer than a lease


def quantiles(values, unit="ms"):
    values = sorted(values)
    return {"n": len(values), f"p50_{unit}": round(values[len(values) // 2], 3),
            f"p99_{unit}": round(values[min(len(values) - 1, int(len(values) * 0.99))], 3),
            f"max_{unit}": round(values[-1], 3)}


# ---- processes of their own: `sharing.py --call [name, arguments]` ------------------------------

def watch(path, rounds):
    """Looks without pause; when it first saw each round's content."""
    seen, last = {}, 0
    while last < rounds:
        try:
            with open(path, "rb", buffering=0) as file:
                number = int(file.read(100).split()[0])
        except (OSError, IndexError):
            continue
        if number > last:
            seen[number] = time.monotonic_ns()
            last = number
    return seen


def appender(path, seconds, name):
    end, n = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        fd = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o644)
        os.write(fd, f"{name} {n} {'x' * 80}\n".encode())
        os.close(fd)
        n += 1
    return n


def saver(path, seconds, name):
    end, n = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        contention.save(path, f"{name} {n}\n".encode() * 40)
        n += 1
    return n


def start(*call):
    return subprocess.Popen([sys.executable, os.path.abspath(__file__), "--call", json.dumps(call)],
                            stdout=subprocess.PIPE, text=True)


def answer(process, timeout=600):
    out, _ = process.communicate(timeout=timeout)
    if process.returncode != 0:
        sys.exit("sharing: a process failed")
    return json.loads(out)


# ---- figures -----------------------------------------------------------------------------------

def visibility(lab, rounds):
    a, b = (f"{m}/scratch/visible" for m in lab.mounts[:2])
    contention.save(a, b"0\n")
    watcher = start("watch", b, rounds)
    time.sleep(1)  # it begins to look
    renamed = {}
    for n in range(1, rounds + 1):
        contention.save(a, f"{n}\n".encode())
        renamed[n] = time.monotonic_ns()
        time.sleep(0.02)
    seen = {int(k): v for k, v in answer(watcher).items()}
    # Before the rename has returned is soon enough: 0.
    return quantiles([max(0, seen[n] - renamed[n]) / 1e6 for n in renamed if n in seen])


def rate(lab, verb, seconds, paths):
    processes = [start(verb, path, seconds, f"w{i}") for i, path in enumerate(paths)]
    return round(sum(answer(p) for p in processes) / seconds, 1)


def commits(lab, seconds):
    """Commits a second of eight clients on the same Postgres, an INSERT of a row of 100 bytes each."""
    environment = {**os.environ, "PGUSER": "linkspan", "PGDATABASE": "linkspan",
                   "PGHOST": lab.info["postgres"].split("host=")[1].split()[0]}
    subprocess.run(["psql", "-q", "-c", "CREATE TABLE IF NOT EXISTS bench_commit (at bigserial, filler text)"],
                   env=environment, check=True, stdout=subprocess.DEVNULL)
    statement = "INSERT INTO bench_commit (filler) VALUES (repeat('x', 100));\n"
    script = f"{lab.base}/commit.sql"
    with open(script, "w") as file:
        file.write(statement)
    pgbench = shutil.which("pgbench") or next(iter(sorted(glob.glob("/usr/lib/postgresql/*/bin/pgbench"))), None)
    if pgbench:
        out = subprocess.run([pgbench, "-n", "-c", "8", "-j", "2", "-T", str(int(seconds)), "-f", script],
                             env=environment, check=True, capture_output=True, text=True).stdout
        return round(float(next(line for line in out.splitlines() if line.startswith("tps")).split()[2]), 1), "pgbench -c 8"
    sessions = [subprocess.Popen(["psql", "-q"], env=environment, stdin=subprocess.PIPE, text=True) for _ in range(8)]
    count = int(seconds * 200)
    begun = time.monotonic()
    for session in sessions:
        threading.Thread(target=session.communicate, args=(statement * count,)).start()
    for session in sessions:
        session.wait()
    return round(8 * count / (time.monotonic() - begun), 1), "psql, 8 sessions"


# ---- recovery ----------------------------------------------------------------------------------

class Writer:
    """Creates, writes and closes a new file every few ms; remembers when one succeeded."""

    def __init__(self, folder):
        self.folder, self.done, self.errors, self.ending = folder, [], 0, False
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        n = 0
        while not self.ending:
            n += 1
            try:
                fd = os.open(f"{self.folder}.{n % 50}", os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o644)
                os.write(fd, b"x" * 100)
                os.close(fd)
                self.done.append(time.monotonic())
            except OSError:
                self.errors += 1
            time.sleep(0.005)

    def longest_gap(self, since):
        """The longest time without a success from `since` on."""
        times = [since] + [t for t in list(self.done) if t >= since]
        return max(b - a for a, b in zip(times, times[1:])) if len(times) > 1 else None

    def first_after(self, moment):
        return next((t for t in list(self.done) if t > moment), None)


def recover(lab, name, bring):
    """`bring` brings the fault and says when what was broken was whole again."""
    writers = [Writer(f"{m}/scratch/recover-{name}-{i}") for i, m in enumerate(lab.mounts[:2])]
    try:
        time.sleep(1)
        begun = time.monotonic()
        healed = bring()
        figures = {"fault_s": round(healed - begun, 2)}
        for who, writer in zip(("hit", "other"), writers):
            labtest.eventually(lambda: writer.first_after(healed), 60, f"{name}: a write of the {who} mount")
            figures[f"{who}_after_s"] = round(writer.first_after(healed) - healed, 3)
            figures[f"{who}_pause_s"] = round(writer.longest_gap(begun), 3)
            figures[f"{who}_errors"] = writer.errors
    finally:
        for writer in writers:
            writer.ending = True
        for writer in writers:
            writer.thread.join(60)
    return figures


def restarted(lab, target):
    def bring():
        lab.do("restart", target)
        return time.monotonic()
    return bring


def stopped(lab, target, seconds, verbs=("stop", "cont")):
    def bring():
        lab.do(verbs[0], target)
        time.sleep(seconds)
        lab.do(verbs[1], target)
        return time.monotonic()
    return bring


def terminated(lab):
    """The router asked to end (SIGTERM, as an upgrade does) and started again."""
    def bring():
        os.kill(lab.info["pids"]["router"], signal.SIGTERM)
        lab.do("restart", "router")
        return time.monotonic()
    return bring


def taken_over(lab, verb, target):
    """What is broken stays so: another router has to take over."""
    def bring():
        lab.do(verb, target)
        time.sleep(0.1)  # answers of before are not taken for the successor's
        return time.monotonic()
    return bring


def fail_over(lease_ms):
    """Of two routers on one database. Each of the faults hits the one that serves."""
    lab = labtest.Lab(mounts=2, lease_ms=lease_ms, routers=2)
    try:
        figures = {"fail-over, killed": recover(lab, "failover-killed", taken_over(lab, "kill", "router"))}
        lab.do("restart", "router")
        figures["fail-over, stopped"] = recover(lab, "failover-stopped", taken_over(lab, "stop", "router:2"))
        lab.do("cont", "router:2")
        return figures
    finally:
        lab.down()


def recovery(lab):
    return {name: recover(lab, name.replace(" ", "-"), bring) for name, bring in (
        ("router killed", restarted(lab, "router")),
        ("router restarted", terminated(lab)),
        (f"router stopped {STOPPED_SECONDS} s", stopped(lab, "router", STOPPED_SECONDS)),
        ("postgres killed", restarted(lab, "postgres")),
        (f"postgres stopped {STOPPED_SECONDS} s", stopped(lab, "postgres", STOPPED_SECONDS)),
        (f"network cut {STOPPED_SECONDS} s", stopped(lab, "mount:1", STOPPED_SECONDS, ("cut", "join"))),
        (f"network cut {CUT_SECONDS} s", stopped(lab, "mount:1", CUT_SECONDS, ("cut", "join"))),
        ("connections broken", lambda: (lab.do("break", "mount:1"), time.monotonic())[1]),
        ("mount killed", restarted(lab, "mount:1")),
        (f"mount stopped {STOPPED_SECONDS} s", stopped(lab, "mount:1", STOPPED_SECONDS)),
    )}


def measure(lab, seconds, rounds):
    figures = {"machine": {"cores": os.cpu_count(), "load": os.getloadavg()[0]}, "lease_ms": LEASE_MS,
               "visibility": visibility(lab, rounds)}
    own = [f"{m}/scratch/own.{i}" for i, m in enumerate(lab.mounts)]
    one_log = [f"{m}/scratch/one.log" for m in lab.mounts]
    tps, by = commits(lab, seconds)
    figures["rates"] = {
        "commits_of_postgres": tps, "by": by,
        "appends_one_file": rate(lab, "appender", seconds, one_log),
        "saves_own_files": rate(lab, "saver", seconds, own),
        "saves_one_name": rate(lab, "saver", seconds, [f"{m}/scratch/one.md" for m in lab.mounts]),
    }
    contention.SECONDS = seconds
    mounts, local = contention.contend(lab, lambda m: [f"{m}/scratch/contended.md"])
    figures["contention"] = {"mounts_ms": mounts, "local_ms": local}
    figures["recovery"] = recovery(lab) | fail_over(LEASE_MS)
    return figures


def table(f):
    v, r, c = f["visibility"], f["rates"], f["contention"]
    print(f"{f['machine']['cores']} cores, load {f['machine']['load']:.1f}; lease {f['lease_ms']} ms\n")
    print(f"visibility after rename   p50 {v['p50_ms']} ms, p99 {v['p99_ms']} ms, max {v['max_ms']} ms ({v['n']} rounds)\n")
    print(f"{'a second, of eight mounts':<26}{'':>9}{'of commits':>12}")
    for name in ("commits_of_postgres", "appends_one_file", "saves_own_files", "saves_one_name"):
        print(f"{name:<26}{r[name]:>9.0f}{r[name] / r['commits_of_postgres']:>12.2f}")
    print(f"(commits: {r['by']}; a save is create + commit + rename)\n")
    for name, t in c.items():
        print(f"one name saved, {name:<12} p50 {t['p50']:.1f}, p99 {t['p99']:.1f}, max {t['max']:.1f} ({t['n']})")
    print()
    recovery_table(f["recovery"])


def recovery_table(recovery):
    print(f"{'fault':<22}{'lasts s':>9}{'hit: after s':>14}{'pause s':>9}{'errors':>8}{'other: after s':>16}{'pause s':>9}{'errors':>8}")
    for name, t in recovery.items():
        print(f"{name:<22}{t['fault_s']:>9}{t['hit_after_s']:>14}{t['hit_pause_s']:>9}{t['hit_errors']:>8}"
              f"{t['other_after_s']:>16}{t['other_pause_s']:>9}{t['other_errors']:>8}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10, help="of each rate")
    parser.add_argument("--rounds", type=int, default=300, help="of visibility")
    parser.add_argument("--build", default=labtest.BUILD)
    parser.add_argument("--json", action="store_true", help="in place of the table")
    parser.add_argument("--out", help="write the JSON to this file, too")
    parser.add_argument("--recovery", action="store_true", help="only that, on two mounts")
    arguments = parser.parse_args()
    labtest.BUILD = arguments.build
    lab = labtest.Lab(mounts=2 if arguments.recovery else MOUNTS, lease_ms=LEASE_MS)
    try:
        figures = {"recovery": recovery(lab) | fail_over(LEASE_MS)} if arguments.recovery else \
            measure(lab, arguments.seconds, arguments.rounds)
    finally:
        lab.down()
    if arguments.out:
        with open(arguments.out, "w") as file:
            json.dump(figures, file, indent=1)
    if arguments.json:
        print(json.dumps(figures, indent=1))
    elif arguments.recovery:
        recovery_table(figures["recovery"])
    else:
        table(figures)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--call"]:
        name, *rest = json.loads(sys.argv[2])
        print(json.dumps({"watch": watch, "appender": appender, "saver": saver}[name](*rest)))
    else:
        main()
