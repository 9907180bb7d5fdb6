#!/usr/bin/env python3
"""Runs one fuzz program over its corpus, then on for some time: run.py PROGRAM CORPUS FOUND

FOUND: a folder for what it finds. LINKSPAN_FUZZ_SECONDS: how long (60)."""
import os, pathlib, subprocess, sys, tempfile

program, corpus, found = (pathlib.Path(arg).resolve() for arg in sys.argv[1:4])
seconds = int(os.environ.get("LINKSPAN_FUZZ_SECONDS", "60"))
found.mkdir(parents=True, exist_ok=True)
seeds = sum(1 for f in corpus.iterdir() if f.is_file())
if not seeds:
    sys.exit(f"fuzz: no seeds in {corpus}")
with tempfile.TemporaryDirectory() as grown:
    # An input that takes so long or so much memory is a find, too. (ASan: about four times the memory.)
    # (-entropic=0 -print_funcs=0: both take longer than the code under test.)
    command = [str(program), grown, str(corpus), f"-max_total_time={seconds}", "-timeout=20", "-rss_limit_mb=2048",
               "-malloc_limit_mb=512", "-max_len=16384", "-print_final_stats=1", "-entropic=0", "-print_funcs=0",
               f"-artifact_prefix={found}/{program.name}-"]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
lines = done.stdout.splitlines()
if done.returncode:
    print(*lines[-80:], sep="\n")
    written = [line.rsplit(" ", 1)[-1] for line in lines if "Test unit written to" in line]
    for artifact in written:
        print(f"fuzz: to run it again: {program} {artifact}")
        print(f"fuzz: when it is mended, keep it: cp {artifact} {corpus}/")
    sys.exit(f"fuzz: {program.name} found something" if written else f"fuzz: {program.name} failed ({done.returncode})")
stats = dict(line[6:].split(":", 1) for line in lines if line.startswith("stat::"))
runs = int(stats.get("number_of_executed_units", "0"))
if runs <= seeds:
    sys.exit(f"fuzz: {program.name} did not get beyond its {seeds} seeds in {seconds} s ({runs} runs)")
print(f"{program.name}: {runs} inputs in {seconds} s, from {seeds} seeds; nothing found")
