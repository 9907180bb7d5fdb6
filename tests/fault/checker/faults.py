"""The faults: brought one at a time, at arbitrary moments, until the time is over; each is written down
with its begin and end, since some excuse what is seen meanwhile (proofs.Windows).

  kill-router, kill-postgres, kill-mount    kill -9, and a new start at once
  stop-router, stop-postgres                SIGSTOP for up to 3 s
  stop-router-long                          SIGSTOP for 1.3 to 4 leases: if it served, another router takes over
  stop-owner                                SIGSTOP of the router that serves, until another has taken over
  cut-database                              the first router's way to the database swallows everything, as long
  cut-one                                   a mount's way to one of the routers does, as long
  stop-mount-short, stop-mount-long         SIGSTOP for less and for more than the lease
  cut-short, cut-long                       the mount's network swallows everything, as long
  break                                     its connections end, with what is on its way in them
  slow                                      80 ms more a round trip, for up to 3 s
  clock-router, clock-postgres, clock-mount its wall clock is set ahead or back, by up to two hours
"""
import contextlib
import json
import os
import signal
import time

ALL = ("kill-router", "stop-router", "kill-postgres", "stop-postgres", "kill-mount", "stop-mount-short",
       "stop-mount-long", "cut-short", "cut-long", "break", "slow", "clock-router", "clock-postgres", "clock-mount")
# With two routers on one database; those that concern a router hit any of them, but for FIRST.
FIRST = "stop-owner"
FAILOVER = (FIRST, "kill-router", "stop-router", "stop-router-long", "cut-database", "cut-one", "kill-postgres", "kill-mount",
            "stop-mount-long", "cut-long", "break", "clock-router")


class Faults:
    def __init__(self, lab, names, rng, lease_s, pause=(0.3, 1.5)):
        self.lab, self.names, self.rng, self.lease, self.pause = lab, list(names), rng, lease_s, pause
        self.done, self.queue = [], []

    def run(self, end):
        while self.names and time.monotonic() < end:
            time.sleep(self.rng.uniform(*self.pause))  # when a fault comes is arbitrary
            if not self.queue:  # each comes once before any comes again
                self.queue = sorted(self.rng.sample(self.names, len(self.names)), key=FIRST.__eq__)
            self.bring(self.queue.pop())

    def bring(self, kind):
        mount = self.rng.randrange(len(self.lab.mounts))
        fault = {"kind": kind, "mount": mount, "begin": time.monotonic_ns()}
        getattr(self, "bring_" + kind.split("-")[0])(kind, mount)
        fault["end"] = time.monotonic_ns()
        self.done.append(fault)
        print(f"  fault: {kind}{f' of mount {mount + 1}' if self.of_mount(kind) else ''}, "
              f"{(fault['end'] - fault['begin']) / 1e9:.1f} s", flush=True)

    @staticmethod
    def of_mount(kind):
        return "mount" in kind or (kind.split("-")[0] in ("cut", "break", "slow") and kind != "cut-database")

    def any_router(self):
        return self.rng.randrange(len(self.lab.info["pids"]["routers"]))

    def long_or_short(self, kind):
        return self.rng.uniform(1.3, 2.2) * self.lease if "long" in kind else self.rng.uniform(0.1, 0.5) * self.lease

    def bring_kill(self, kind, mount):
        victim = f"mount:{mount + 1}" if "mount" in kind else kind.split("-")[1]
        number = self.any_router() + 1 if victim == "router" else 1
        self.lab.do("restart", victim if number == 1 else f"router:{number}")

    def bring_stop(self, kind, mount):
        pids = self.lab.info["pids"]
        if "postgres" in kind:
            self.lab.do("stop", "postgres")
            time.sleep(self.rng.uniform(0.1, 3))
            self.lab.do("cont", "postgres")
        elif kind == "stop-owner":
            self.take_over()
        elif "router" in kind:
            seconds = self.rng.uniform(1.3, 4) * self.lease if "long" in kind else self.rng.uniform(0.1, 3)
            self.paused([pids["routers"][self.any_router()]], seconds)
        else:
            self.paused([pids["mounts"][mount]], self.long_or_short(kind))

    def epoch(self):
        return int(self.lab.sql("SELECT max(epoch) FROM linkspan.tenant"))

    def take_over(self):
        with open(f"{self.lab.mounts[0]}/.linkspan/status.json") as file:
            router = json.load(file)["router"]
        addresses = router["address"].split(",")
        number = addresses.index(router["connected_to"]) if router["connected_to"] in addresses else self.any_router()
        before, end = self.epoch(), time.monotonic() + 10 * self.lease
        with self.stopped([self.lab.info["pids"]["routers"][number]]):
            while self.epoch() == before and time.monotonic() < end:
                time.sleep(0.05)

    def bring_cut(self, kind, mount):
        pids = self.lab.info["pids"]
        if kind == "cut-database":
            return self.paused([pids["database_proxy"]], self.rng.uniform(1.3, 4) * self.lease)
        if kind == "cut-one":
            return self.paused([self.rng.choice(pids["proxies_of"][mount])], self.rng.uniform(1.3, 4) * self.lease)
        self.paused(pids["proxies_of"][mount], self.long_or_short(kind))

    def bring_clock(self, kind, mount):
        victim = kind.split("-")[1]
        for _ in range(2):  # from where the last step left it
            self.lab.do("clock", f"mount:{mount + 1}" if victim == "mount" else victim, self.rng.uniform(-7200, 7200))
            time.sleep(self.rng.uniform(0.1, 1))

    def bring_break(self, _kind, mount):
        for proxy in self.lab.info["pids"]["proxies_of"][mount]:
            os.kill(proxy, signal.SIGUSR1)

    def bring_slow(self, _kind, mount):
        proxies = self.lab.info["pids"]["proxies_of"][mount]
        for proxy in proxies:
            os.kill(proxy, signal.SIGUSR2)
        time.sleep(self.rng.uniform(0.2, 3))
        for proxy in proxies:
            os.kill(proxy, signal.SIGWINCH)

    def paused(self, pids, seconds):
        with self.stopped(pids):
            time.sleep(seconds)

    @staticmethod
    @contextlib.contextmanager
    def stopped(pids):
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)
