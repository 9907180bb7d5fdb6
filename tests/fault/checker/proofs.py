"""The proofs: each promise is shown, or refuted, from the records that the workers made (worker.py).

  stale    what an operation observed was not overwritten before it began
  torn     a read sees one write's bytes, with the size that goes with them
  append   every acknowledged line is there once, whole, in the order of acknowledgement; a read saw
           the beginning of what is there in the end
  race     an O_EXCL create has one winner
  names    a name is made, removed or moved in turns
  bad      no process stumbles over its own retry
  note     every line whose save succeeded is in the merged text, once
  history  every value whose save or rewrite succeeded, and every line whose did, is in a version that is its
           author's
  conflict every text that was refused is kept whole among the conflicts, once, as its author's
  lock     who holds a lock, and could write under it in the end, held it alone

A promise is about what happened before an operation began: an operation that overlaps another may
see it or not. What is left out of a proof, and why, stands in Windows and in Dirty.
"""
import bisect
import collections
import json
import zlib

import worker

EVER = 1 << 62


class Writes:
    """The writes of one register, to ask whether a value can have been current in an interval."""

    def __init__(self, first):
        self.spans = collections.defaultdict(list, {first: [(-1, -1)]})
        self.acknowledged = []  # (return, call)
        self.latest_call = None

    def add(self, value, record, certain=True):
        failed = "error" in record
        # A failed write may still have been applied, then or later.
        self.spans[value].append((record["call"], EVER if failed else record["return"]))
        if not failed and certain:
            self.acknowledged.append((record["return"], record["call"]))

    def close(self):
        self.acknowledged.sort()
        # latest_call[i]: the latest begin among the first i+1 writes to end.
        self.latest_call, latest = [], -1
        for _, begun in self.acknowledged:
            latest = max(latest, begun)
            self.latest_call.append(latest)

    def could_be(self, value, call, returned):
        """Some write of `value` began before the observation ended and was not overwritten, as a whole,
        by one that began after it had ended and ended before the observation began."""
        at = bisect.bisect_left(self.acknowledged, (call, -1))
        overwritten = self.latest_call[at - 1] if at else -1
        return any(begun <= returned and not ended < overwritten for begun, ended in self.spans.get(value, ()))


class Windows:
    """The faults that were brought, and what may be seen of them.

    stop-mount-long: nothing in a stopped process can drop what the kernel caches for its mount; that is
      the exception of paused machines (SEMANTICS.md): until one lease after it went on.
    kill-mount: from the kill until another mount has taken the place, the path leads to an error, or
      to the cover, in which there is no file.
    """

    def __init__(self, faults, lease):
        self.blind = [(f["mount"], f["begin"], f["end"] + lease) for f in faults if f["kind"] == "stop-mount-long"]
        self.faults, self.lease = faults, lease
        self.dead = [(f["mount"], f["begin"], f["end"] + 10**9) for f in faults if f["kind"] == "kill-mount"]

    @staticmethod
    def hit(windows, mount, begin, end):
        return any(m == mount and b <= end and begin <= e for m, b, e in windows)

    def any_fault(self, begin, end):
        return any(f["begin"] <= end and begin <= f["end"] + self.lease for f in self.faults)

    def excuse_observation(self, r):
        return self.hit(self.blind, r["mount"], r["call"], r["return"]) or self.excuse_absence(r)

    def excuse_absence(self, r):
        return self.hit(self.dead, r["mount"], r["call"], r["return"])


class Dirty:
    """Rewrites in place. On the writer's own mount others see the bytes at once, as on a local disk;
    elsewhere whole, except where the writer took longer than 100 ms between its first write and close.
    Two at once on one mount make a mixture, as on a local disk, and that is what is committed."""

    def __init__(self, records):
        self.spans = collections.defaultdict(list)
        self.rewrites = {v: r for r in records if "dirty" in r for k, v in r["writes"] if k == r["dirty"]}
        for r in records:
            if "dirty" in r:
                # Of a failed one the mount may still hold the bytes.
                self.spans[r["dirty"]].append((r["mount"], r["call"], EVER if "error" in r else r["return"],
                                               r.get("slow", True)))
            if "append" in r:
                self.spans[r["append"]].append((r["mount"], r["call"], EVER if "error" in r else r["return"], False))

    def on_mount(self, key, r):
        return any(m == r["mount"] and b <= r["return"] and r["call"] <= e for m, b, e, _ in self.spans[key])

    def beside(self, key, rewrite):
        """Whether another of this mount was under way."""
        return any(w is not rewrite and w["dirty"] == key and w["mount"] == rewrite["mount"] and
                   w["call"] <= rewrite["return"] and rewrite["call"] <= (EVER if "error" in w else w["return"])
                   for w in self.rewrites.values())

    def mixture(self, key, r):
        """Of rewrites that overlapped on one mount: parts of each, of which all are named in it; the beginning of
        one and the end of the other; or the emptiness that the later one began with, which the other's close
        committed."""
        if "ends" not in r:
            return False
        named = [self.rewrites.get(v) for v in r["values"]]
        if len(named) > 1 and all(a and a["dirty"] == key and a["mount"] == named[0]["mount"] and
                                  a["call"] <= b["return"] and b["call"] <= a["return"] for a in named for b in named if b):
            return True
        first, last = ([self.rewrites[v]] if v in self.rewrites else
                       [w for w in self.rewrites.values() if w["dirty"] == key and
                        w["call"] <= r["return"] and r["call"] <= w["return"]] for v in r["ends"])
        return any(a is not b and a["dirty"] == b["dirty"] == key and a["mount"] == b["mount"] and
                   a["call"] <= b["return"] and b["call"] <= a["return"] for a in first for b in last)

    def slowly(self, key, r):
        return any(slow and b <= r["return"] and r["call"] <= e for _, b, e, slow in self.spans[key])


def author_of(record):
    """As the lab's router binds it (tests/lab)."""
    return f"agent-{record['mount'] + 1}@sandbox-{record['mount'] + 1}"


def is_moved(key):
    return key.split("/")[1][0] in "gf"


def phantoms(renames):
    """How many of these, at most, changed nothing. There is "a window in which both oldpath and newpath refer to the
    file being renamed" (rename(2)), and a rename between names of one file succeeds at nothing: so may all but one of
    those that overlap, whichever way they go."""
    count, end = 0, 0
    for r in sorted(renames, key=lambda r: r["call"]):
        count += r["call"] < end
        end = max(end, r["return"])
    return count


def may_be_phantom(rename, equals):
    """Of equal ones that overlap, the last to return may be the one that did it."""
    return any(o["call"] < rename["return"] < o["return"] for o in equals)


class Proof:
    def __init__(self, records, finals, faults=(), lease_ns=0, kept=None):
        self.records, self.finals, self.kept = records, finals, kept
        self.windows, self.dirty = Windows(faults, lease_ns), Dirty(records)
        self.problems, self.counted, self.lost_notes = [], collections.Counter(), []
        self.checked = collections.Counter()

    def note(self, kind, record, why):
        self.problems.append(f"{kind}: {why}: {json.dumps(record)}")

    def run(self):
        for r in self.records:
            self.counted[r["op"]] += 1
            if "error" in r:
                self.counted["errors"] += 1
            if "conflict" in r:
                self.counted["conflicts"] += 1
            if "bad" in r and not self.windows.excuse_absence(r):
                self.note("bad", r, r["bad"])
        self.registers()
        self.turns()
        self.appends()
        self.races()
        self.notes()
        self.locks()
        if self.kept:
            self.history()
            self.refusals()
        return self

    # -- registers --

    def registers(self):
        writes, renames = {}, collections.defaultdict(list)
        for r in self.records:
            for key, value in r["writes"]:
                if is_moved(key) and "error" not in r:
                    renames[key, value].append(r)
        for r in self.records:
            for key, value in r["writes"]:
                register = writes.setdefault(key, Writes(worker.first_value(key)))
                register.add(value, r, not may_be_phantom(r, renames.get((key, value), ())))
        for register in writes.values():
            register.close()
        for r in self.records:
            if self.windows.excuse_observation(r):
                continue
            if "torn" in r:
                key, what = r["torn"]
                if not (self.dirty.on_mount(key, r) or self.dirty.slowly(key, r) or self.dirty.mixture(key, r)):
                    self.note("torn", r, f"not one write's bytes with their size ({what})")
            for key, value in r["saw"]:
                content = key.split("#")[0]
                if content in self.dirty.spans and self.dirty.on_mount(content, r):
                    continue
                self.checked["observations"] += 1
                register = writes.get(key)
                if register is None:
                    fits = value == worker.first_value(key)
                else:
                    fits = register.could_be(value, r["call"], r["return"])
                # A half-written state has a size, too.
                if not fits and not ("#size" in key and self.dirty.slowly(content, r)):
                    self.note("stale", r, f"{key} was not {value!r} at any moment of this operation")

    # -- names are made and removed, and files moved there and back, in turns --

    def turns(self):
        by_key = collections.defaultdict(list)
        for r in self.records:
            for key, value in r["writes"]:
                if key.split("/")[1][0] in "ndgf" and "#" not in key:
                    by_key[key].append((r, value))
        for key, events in by_key.items():
            if any("error" in r for r, _ in events):
                continue
            first = worker.first_value(key)
            away = sum(value != first for _, value in events)
            back = len(events) - away
            slack = phantoms(r for r, _ in events) if is_moved(key) else 0
            if not -slack <= away - back <= 1 + slack:
                self.note("names", {"key": key}, f"{away} changes one way and {back} the other succeeded")
            for value in {v for _, v in events}:
                same = sorted((r for r, v in events if v == value), key=lambda r: r["return"])
                other = [r for r, v in events if v != value]
                for a, b in zip(same, same[1:]):
                    if a["return"] < b["call"] and not any(
                            o["return"] > a["call"] and o["call"] < b["return"] for o in other) and not (
                            slack and any(o is not a and o is not b and o["call"] < b["return"] and b["call"] < o["return"]
                                          for o in same)):
                        self.note("names", b, f"{key}: succeeded twice with no opposite change between")

    def races(self):
        by_key = collections.defaultdict(list)
        for r in self.records:
            if "race" in r:
                by_key[r["race"]].append(r)
        for key, tries in by_key.items():
            winners = [r for r in tries if r.get("won")]
            unsure = [r for r in tries if "error" in r]
            self.checked["races"] += 1
            if len(winners) > 1:
                self.note("race", winners[1], f"{len(winners)} won {key}")
            if not winners and not unsure:
                self.note("race", tries[0], f"nobody won {key}")

    # -- appends --

    def appends(self):
        by_key = collections.defaultdict(list)
        for r in self.records:
            if "append" in r:
                by_key[r["append"]].append(r)
        for key, records in by_key.items():
            self.one_log(key, records, self.finals.get(key, b""))

    def one_log(self, key, records, data):
        place = {}
        for at, line in enumerate(data.decode(errors="replace").split("\n")[:-1]):
            value = line.split(" ")[0]
            if value in place:
                self.note("append", {"key": key, "value": value}, "a line is there twice")
            elif line != worker.line_of(value):
                self.note("append", {"key": key, "line": line[:80]}, "a line is not whole")
            place[value] = at
        strangers = set(place) - {r["value"] for r in records}
        if strangers:
            self.note("append", {"key": key, "lines": sorted(strangers)[:5]}, "lines that nobody wrote")
        done = sorted((r for r in records if "error" not in r), key=lambda r: r["call"])
        for r in done:
            if r["value"] not in place:
                self.note("append", r, "an acknowledged line is missing")
        done = [r for r in done if r["value"] in place]
        self.checked["appends"] += len(done)
        ended = sorted(done, key=lambda r: r["return"])
        at, highest = 0, -1
        for r in done:
            while at < len(ended) and ended[at]["return"] < r["call"]:
                highest = max(highest, place[ended[at]["value"]])
                at += 1
            if place[r["value"]] < highest:
                self.note("append", r, "stands before a line that was acknowledged before it began")
        self.log_reads(key, data, sorted(r["return"] for r in done))

    def log_reads(self, key, data, returns):
        for r in self.records:
            if r.get("log") != key or "length" not in r or self.windows.excuse_observation(r):
                continue
            if self.dirty.on_mount(key, r):
                continue  # a local writer's line shows before it has its place
            self.checked["observations"] += 1
            before = bisect.bisect_left(returns, r["call"])
            if r["lines"] < before:
                self.note("stale", r, f"{before} lines were acknowledged before it began")
            if zlib.crc32(data[:r["length"]]) != r["crc"]:
                self.note("append", r, "what it read is not the beginning of what is there in the end")

    # -- notes in a text that is merged --

    def notes(self):
        by_key = collections.defaultdict(list)
        for r in self.records:
            if r["op"] == "note":
                by_key[r["text"]].append(r)
        for key, records in by_key.items():
            lines = collections.Counter(self.finals.get(key, b"").decode(errors="replace").split("\n"))
            for r in records:
                here = lines[r["line"]]
                sure = "conflict" not in r and "error" not in r
                self.checked["notes"] += sure
                if here > 1 or (sure and here != 1):
                    self.note("note", r, f"its line is in {key} {here} times")
                    self.lost_notes.append(r)
            for line in worker.NOTES.splitlines():
                if lines[line] != 1:
                    self.note("note", {"key": key}, f"'{line}' is there {lines[line]} times")

    # -- nothing that was accepted is gone: what others wrote over is in the history, what was refused is kept --

    def history(self):
        first = {}  # (key, line of a text) -> who made the first version that has it
        for key, versions in self.kept.versions.items():
            if key.endswith(".md"):
                for author, data in versions:
                    for line in data.decode(errors="replace").split("\n"):
                        first.setdefault((key, line), author)
        for r in self.records:
            if "error" in r or "conflict" in r:
                continue
            if r["op"] in worker.REGISTERED:
                self.checked["values"] += 1
                if why := self.is_missing(r, *r["writes"][0]):
                    self.note("history", r, why)
            elif "text" in r:
                self.checked["lines"] += 1
                author = first.get((r["text"], r["line"]))
                if author != author_of(r):
                    self.note("history", r, f"its line came with a version of {author}" if author else "its line is in no version")

    def is_missing(self, r, key, value):
        data, mine = worker.body(value), self.kept.made(key, author_of(r))
        if data in mine:
            return None
        if "dirty" in r:
            # Two of one mount make a mixture, and one that takes longer than 100 ms two versions: what another
            # mount wrote in between may be in the second.
            half = worker.half(data)
            parts = any(v[:half] == data[:half] for v in mine) and any(v[half:len(data)] == data[half:] for v in mine)
            if self.dirty.beside(key, r) or (r["slow"] and parts):
                self.checked["mixed"] += 1
                return None
        everyones = self.kept.versions.get(key, ())
        like = [f"{author}: {worker.shown(v)}" for author, v in everyones if f"{value}\n".encode() in v]
        return f"{key} never was {value!r}, as a version of its author's; of {len(everyones)} those that have it: {like[:4]}"

    def refusals(self):
        for r in self.records:
            if "conflict" not in r or "accepted" not in r:
                continue
            self.checked["refusals"] += 1
            mine = self.kept.refused(r["text"], author_of(r))
            times = sum([len(data), zlib.crc32(data)] == r["sum"] for data in mine)
            if times != 1:
                like = sum(r["line"].encode() in data for data in mine)
                self.note("conflict", r, f"it was refused, and is there {times} times among the {len(mine)} conflicts of its "
                          f"author; its line in {like}")

    # -- locks --

    def locks(self):
        by_key = collections.defaultdict(list)
        for r in self.records:
            if "lock" in r:
                by_key[r["lock"]].append(r)
        for key, records in by_key.items():
            held = sorted((r for r in records if "released" in r), key=lambda r: r["taken"])
            unproved = [r for r in records if "released" not in r]
            self.checked["locks"] += len(held)
            until, holder = -1, None
            for r in sorted(records, key=lambda r: r["taken"]):
                # One that lost its lock can have got it before the holder did, if its call began before.
                if r["taken"] < until and ("released" in r or r["call"] > holder["taken"]):
                    self.note("lock", r, f"{key} was held by {holder['who']} at the same time")
                if r.get("released", -1) > until:
                    until, holder = r["released"], r
            for r in unproved:
                if not self.windows.any_fault(r["taken"], r["return"]):
                    self.note("lock", r, f"{key} was lost without a fault")
            # Who lost a lock can have written the counter, which is another file, then or later.
            unsure = min((r["call"] for r in unproved), default=EVER)
            counted = [r["counted"] for r in held if r["released"] < unsure]
            if counted != list(range(1, len(counted) + 1)):
                self.note("lock", {"key": key}, f"under it was counted {counted}")
            if not unproved:
                counter = int(self.finals.get(key.replace("/k", "/c"), b"0"))
                if counter != len(records):
                    self.note("lock", {"key": key}, f"{len(records)} counted under it, the counter is {counter}")
