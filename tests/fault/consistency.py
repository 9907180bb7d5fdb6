#!/usr/bin/env python3
"""The consistency checker: processes on several mounts do random operations (checker/worker.py) and
record when each began and ended and what it saw; afterwards each promise is proved from the record
(checker/proofs.py), without faults and with them (checker/faults.py). Then faults are planted in
Linkspan itself (proto/linkspan/fault_points.h), and the checker has to find each.

LINKSPAN_SEED repeats a run's choices, LINKSPAN_SECONDS sets the length of the two long runs,
LINKSPAN_FAULTS=kill-router,cut-long,... which faults come (those of test_with_two_routers: FAILOVER in
checker/faults.py), LINKSPAN_MOUNTS and LINKSPAN_WORKERS how many there are, LINKSPAN_RECORD=FILE keeps the record.
"""
import os
import sys
import zlib

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
sys.path.insert(0, os.path.join(os.path.dirname(__file__), "checker"))
import faults  # noqa: E402
import kept  # noqa: E402
import labtest  # noqa: E402
import proofs  # noqa: E402
import runs  # noqa: E402
import worker  # noqa: E402
from labtest import check  # noqa: E402

SECONDS = float(os.environ.get("LINKSPAN_SECONDS", "20"))
MOUNTS = int(os.environ.get("LINKSPAN_MOUNTS", "4"))
WORKERS = int(os.environ.get("LINKSPAN_WORKERS", "2"))
LEASE_MS = 2000
PLANTED_ROUNDS, PLANTED_SECONDS = 12, 4


def test_quiet(lab):
    proof = runs.Run(lab, "quiet", SECONDS, LEASE_MS / 1000, labtest.seed(), workers=WORKERS).execute()
    runs.require(proof)
    errors = [r for r in proof.records if "error" in r]
    check(not errors, f"{len(errors)} errors without a fault: {errors[:5]}")
    check(proof.slowest["return"] - proof.slowest["call"] < LEASE_MS * 1e6, f"a pause: {proof.slowest}")


def chosen_of(all_kinds):
    return [f for f in os.environ.get("LINKSPAN_FAULTS", ",".join(all_kinds)).split(",") if f]


def test_with_faults(lab):
    chosen = chosen_of(faults.ALL)
    proof = runs.Run(lab, "faults", SECONDS * 2, LEASE_MS / 1000, labtest.seed(), workers=WORKERS,
                     brought=chosen).execute()
    runs.require(proof)


def test_with_two_routers():
    """On one database: when one goes, or is silent for a lease, the other takes over; each round of faults
    begins with that."""
    chosen = chosen_of(faults.FAILOVER)
    lab = labtest.Lab(mounts=MOUNTS, routers=2, lease_ms=LEASE_MS)
    try:
        epoch = lab.sql("SELECT max(epoch) FROM linkspan.tenant")
        proof = runs.Run(lab, "failover", SECONDS * 2, LEASE_MS / 1000, labtest.seed(), workers=WORKERS,
                         brought=chosen).execute()
        takeovers = int(lab.sql("SELECT max(epoch) FROM linkspan.tenant")) - int(epoch)
        print(f"  {takeovers} takeovers", flush=True)
        runs.require(proof)
    except BaseException:
        print(lab.logs(), flush=True)
        raise
    finally:
        lab.down()
    check(takeovers > 0 or faults.FIRST not in chosen, "no router took over from another")


def test_proofs_refuse_made_up_records():
    """Violations that no planted fault brings about for certain, as records; and the same ones mended."""
    def record(op, call, end, **more):
        return {"op": op, "who": 1, "mount": 0, "writes": [], "saw": [], "call": call, "return": end, **more}

    def kinds(*records, finals=None, faults=()):
        return {p.split(":")[0] for p in proofs.Proof(list(records), finals or {}, faults).run().problems}

    held = [record("locked", 0, 50, lock="0/k0", taken=10, released=40, counted=1),
            record("locked", 20, 90, lock="0/k0", taken=60, released=80, counted=2)]
    labtest.equal(kinds(*held, finals={"0/k0": b"", "0/c0": b"2"}), set(), "locks held in turns")
    labtest.equal(kinds(*held, finals={"0/c0": b"1"}), {"lock"}, "an update lost under a lock")
    held[1]["counted"] = 1
    labtest.equal(kinds(*held, finals={"0/c0": b"2"}), {"lock"}, "a count lost under a lock, and made up for")
    held[1] |= {"taken": 39, "counted": 2}
    labtest.equal(kinds(*held, finals={"0/c0": b"2"}), {"lock"}, "a lock held twice")
    lost = record("locked", 0, 90, lock="0/k0", taken=20, error=5)
    fault = {"kind": "cut-long", "mount": 0, "begin": 15, "end": 30}
    labtest.equal(kinds(held[0], lost, faults=[fault]), set(), "a lock taken, lost, and held by another then")
    labtest.equal(kinds(held[0], lost), {"lock"}, "a lock lost without a fault")
    lost["call"] = 11
    labtest.equal(kinds(held[0], lost, faults=[fault]), {"lock"}, "a lock that another gets while it is held")
    races = [record("race", 0, 9, race="0/x1", won=True), record("race", 5, 12, race="0/x1", won=False)]
    labtest.equal(kinds(*races), set(), "one winner")
    races[1]["won"] = True
    labtest.equal(kinds(*races), {"race"}, "two winners")
    moves = [record("move_file", 0, 9, writes=[["0/f0", "b"]]), record("move_file", 8, 15, writes=[["0/f0", "b"]])]
    labtest.equal(kinds(*moves), set(), "a rename while there are both names")
    labtest.equal(kinds(*moves, record("find_file", 10, 14, saw=[["0/f0", "a"]])), set(), "before the second has returned")
    labtest.equal(kinds(*moves, record("find_file", 16, 20, saw=[["0/f0", "a"]])), {"stale"}, "after both")
    moves[1]["call"] = 10
    labtest.equal(kinds(*moves), {"names"}, "a rename of what is not there any more")
    wrote = record("save", 0, 9, writes=[["0/r0", "1.1"]])
    labtest.equal(kinds(wrote, record("read", 8, 12, saw=[["0/r0", "0.0"]])), set(), "a read beside a write")
    labtest.equal(kinds(wrote, record("read", 10, 12, saw=[["0/r0", "0.0"]])), {"stale"}, "a read after a write")
    labtest.equal(kinds(wrote, record("read", 10, 12, torn=["0/r0", "a mix"])), {"torn"}, "a mix")
    mixed = [record("held_rewrite", 0, 9, writes=[["0/h0", "1.1"]], dirty="0/h0", slow=False),
             record("held_rewrite", 8, 12, writes=[["0/h0", "2.1"]], dirty="0/h0", slow=False),
             record("held_read", 20, 22, torn=["0/h0", "a mix"], ends=["1.1", "1.1"], values=["1.1", "2.1"])]
    mixed[2]["mount"] = 1
    labtest.equal(kinds(*mixed), set(), "a mix that two processes of one mount made")
    mixed[1]["mount"] = 1
    labtest.equal(kinds(*mixed), {"torn"}, "a mix of two mounts")
    mixed[1] |= {"mount": 0, "call": 10}
    labtest.equal(kinds(*mixed), {"torn"}, "a mix of two rewrites, one after the other")
    lines = [record("append", 0, 9, append="0/l0", value="1.1"), record("append", 10, 19, append="0/l0", value="1.2")]
    texts = [(worker.line_of(v) + "\n").encode() for v in ("1.1", "1.2")]
    labtest.equal(kinds(*lines, finals={"0/l0": b"".join(texts)}), set(), "appends in order")
    labtest.equal(kinds(*lines, finals={"0/l0": b"".join(texts[::-1])}), {"append"}, "appends out of order")
    labtest.equal(kinds(*lines, finals={"0/l0": texts[0]}), {"append"}, "a lost append")


def test_proofs_refuse_made_up_histories():
    """What is missing among the versions and the conflicts."""
    me, other, mine = "agent-1@sandbox-1", "agent-2@sandbox-2", worker.body("1.1")

    def edit(op, **more):
        return {"op": op, "who": 1, "mount": 0, "writes": [], "saw": [], "call": 0, "return": 9, **more}

    def kinds(*records, versions=(), conflicts=(), key="0/r0"):
        there = kept.Kept()
        there.versions[key], there.conflicts[key] = list(versions), list(conflicts)
        finals = {"0/saved.md": worker.NOTES.encode() + b"- note 1.1\n"}
        return {p.split(":")[0] for p in proofs.Proof(list(records), finals, kept=there).run().problems}

    save = edit("save", writes=[["0/r0", "1.1"]])
    labtest.equal(kinds(save, versions=[(other, b"first"), (me, mine)]), set(), "a save in the history")
    labtest.equal(kinds(save, versions=[(other, b"first")]), {"history"}, "a save that is not there")
    labtest.equal(kinds(save, versions=[(me, mine[:-1])]), {"history"}, "a part of a save")
    labtest.equal(kinds(save, versions=[(other, mine)]), {"history"}, "a save of another author's")
    labtest.equal(kinds(save | {"error": 5}), set(), "a save that failed")
    rewrite = edit("rewrite", writes=[["0/r0", "1.1"]], dirty="0/r0", slow=False)
    half = worker.half(mine)
    parts = [(me, mine[:half]), (other, worker.body("2.1")), (me, b"z" * half + mine[half:])]
    labtest.equal(kinds(rewrite, versions=[(me, mine)]), set(), "a rewrite in the history")
    labtest.equal(kinds(rewrite, versions=parts), {"history"}, "a rewrite in two parts")
    labtest.equal(kinds(rewrite | {"slow": True}, versions=parts), set(), "a slow one")
    labtest.equal(kinds(rewrite | {"slow": True}, versions=parts[:2]), {"history"}, "a slow one of which a part is gone")
    beside = rewrite | {"who": 2, "writes": [["0/r0", "2.1"]], "call": 8, "return": 12}
    both = [(me, worker.body("2.1")[:1] + mine[1:])]
    labtest.equal(kinds(rewrite, beside, versions=both), set(), "a mixture of two rewrites on one mount")
    labtest.equal(kinds(rewrite, beside | {"call": 10}, versions=both), {"history"}, "of one after the other")
    labtest.equal(kinds(rewrite, beside | {"mount": 1}, versions=both), {"history"}, "of two mounts")

    text = b"- note 1.1\n"
    note = edit("note", text="0/saved.md", line="- note 1.1", sum=[len(text), zlib.crc32(text)], accepted=True)
    labtest.equal(kinds(note, key="0/saved.md", versions=[(me, text), (other, text)]), set(), "a line in the history")
    labtest.equal(kinds(note, key="0/saved.md", versions=[(other, text)]), {"history"}, "by another")
    labtest.equal(kinds(note, key="0/saved.md"), {"history"}, "a line that only the head has")
    refused = edit("revise", text="0/saved-plan.md", line="- note 1.1", sum=note["sum"], accepted=True, conflict=True)
    labtest.equal(kinds(refused, key="0/saved-plan.md", conflicts=[(me, text)]), set(), "refused and kept")
    labtest.equal(kinds(refused, key="0/saved-plan.md", versions=[(me, text)]), {"conflict"}, "refused and not kept")
    labtest.equal(kinds(refused, key="0/saved-plan.md", conflicts=[(me, text + b"z")]), {"conflict"}, "not as it was")
    labtest.equal(kinds(refused, key="0/saved-plan.md", conflicts=[(other, text)]), {"conflict"}, "as another's")
    labtest.equal(kinds(refused, key="0/saved-plan.md", conflicts=[(me, text)] * 2), {"conflict"}, "kept twice")
    labtest.equal(kinds(refused, key="0/inplace-plan.md", conflicts=[(me, text)]), {"conflict"}, "of another file")
    del refused["accepted"]
    labtest.equal(kinds(refused, key="0/saved-plan.md"), set(), "refused before a byte was written")


# ---- planted faults ----------------------------------------------------------------------------

# What is planted -> faults from outside that bring it to light, the kinds of violation expected, and
# which operations do it where they are not all wanted.
PLANTED = {
    "no-revocation": ((), {"stale"}),
    "no-name-invalidation": ((), {"stale"}),
    "early-acknowledgement": (("cut-short", "slow"), {"stale"}),
    "ignore-lost-lease": (("cut-long",), {"stale"}),
    "no-replay": (("slow", "break"), {"bad", "append", "names", "stale"}),
    "no-base": ((), {"note"}),
    "no-theirs": ((), {"conflict"}, ("note", "revise")),
}


def short_run(lab, number, seed, brought, verbs=None, spoil=None):
    return runs.Run(lab, f"planted{number}", PLANTED_SECONDS, LEASE_MS / 1000, seed + number, workers=2,
                    brought=brought, pause=(0.05, 0.3), verbs=verbs, spoil=spoil).execute()


def planted_test(name):
    brought, expected, *verbs = PLANTED[name]

    def test():
        seed = labtest.seed()
        lab = labtest.Lab(mounts=3, lease_ms=LEASE_MS, plant=name)
        try:
            for number in range(PLANTED_ROUNDS):
                problems = short_run(lab, number, seed, brought, *verbs).problems
                kinds = {p.split(":")[0] for p in problems}
                if kinds & expected:
                    break
        finally:
            lab.down()
        check(kinds & expected, f"{name} was planted and not found in {PLANTED_ROUNDS} rounds; seen: {kinds}")
        print(f"  found: {len(problems)} violations: {sorted(kinds)}, such as {problems[0][:200]}")
    return test


for planted in PLANTED:
    globals()[f"test_planted_{planted.replace('-', '_')}"] = planted_test(planted)


def test_nothing_planted(lab):
    """The same rounds on the real thing: what is found above is not found here."""
    for number, brought in enumerate(sorted({b for b, *_ in PLANTED.values() if b})):
        runs.require(short_run(lab, number, labtest.seed(), brought))


def test_a_lost_history_is_found(lab):
    """No switch in Linkspan: the database loses every version that is not the newest."""
    spoil = lambda: lab.sql("DELETE FROM linkspan.version v USING linkspan.node n WHERE v.tenant = n.tenant "  # noqa: E731
                            "AND v.history = n.history AND v.version < n.version")
    problems = short_run(lab, 100, labtest.seed(), (), worker.REGISTERED, spoil).problems
    # With nothing but rewrites, those of two processes of one mount mix so often that held reads show more than
    # the known few: that is looked at where there is the whole mix of calls.
    labtest.equal({p.split(":")[0] for p in problems} - {"torn"}, {"history"}, "the versions are gone")


if __name__ == "__main__":
    labtest.main(globals(), each_seconds=int(SECONDS * 6 + 400), mounts=MOUNTS, lease_ms=LEASE_MS)
