# SPDX-License-Identifier: GPL-2.0-or-later
"""The C++ tests under the sanitizers' presets, each case counted, the fuzz targets, and the model."""
import concurrent.futures
import glob
import json
import os
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree

from tests.lab import image
from tests.system.frame import say


# What the tests of a preset need; the thread sanitizer only what runs threads against each other.
TARGETS = {"dev": ["--target", "tests/all"], "tsan": ["--target", "ring_test"],
           "fuzz": ["--target", "tests/fuzz/all"]}
CASES_A_PROCESS = 16
CASE_TIMEOUT = 300  # seconds for a process; the longest case takes 20


def build(preset, targets=()):
    """What the tests of the preset need, or these @targets; whether that went well."""
    targets = [w for t in targets for w in ("--target", t)] or TARGETS.get(preset, [])
    log = os.path.join(image.TOP, "build", f"{preset}.log")
    os.makedirs(os.path.dirname(log), exist_ok=True)
    print(f"building {preset} (log: build/{preset}.log)", flush=True)
    # Everything at once is faster in few large pieces; a tree that somebody works in stays as it is.
    new = not os.path.exists(os.path.join(image.TOP, "build", preset, "CMakeCache.txt"))
    with open(log, "wb") as out:
        for command in (["cmake", "--preset", preset] + ["-DCMAKE_UNITY_BUILD=ON"] * new,
                        ["cmake", "--build", "--preset", preset, *targets]):
            if subprocess.run(command, cwd=image.TOP, stdout=out, stderr=out).returncode != 0:
                sys.stdout.write(subprocess.run(["tail", "-n", "40", log], capture_output=True,
                                                text=True).stdout)
                return False
    return True


def cases_of(preset, label, pattern):
    """The names of the cases of each executable, as CTest knows them."""
    listed = subprocess.run(["ctest", "--preset", preset, "-L", label, "-R", pattern or ".", "--show-only=json-v1"],
                            cwd=image.TOP, capture_output=True, text=True, check=True)
    cases = {}
    for test in json.loads(listed.stdout)["tests"]:
        program, only = test["command"][:2]
        cases.setdefault(program, []).append(only.removeprefix("--gtest_filter="))
    return cases


def outcomes(program, names):
    """What became of these cases in a process of their own: name -> (word, seconds, text)."""
    with tempfile.TemporaryDirectory() as folder:
        report = os.path.join(folder, "report.xml")
        try:
            ran = subprocess.run([program, "--gtest_filter=" + ":".join(names), f"--gtest_output=xml:{report}"],
                                 cwd=folder, capture_output=True, text=True, errors="replace",
                                 timeout=CASE_TIMEOUT, env={
                                     **os.environ, "TSAN_OPTIONS": "halt_on_error=1",
                                     "UBSAN_OPTIONS": "print_stacktrace=1"})
        except subprocess.TimeoutExpired as late:
            return {names[0]: ("FAIL", late.timeout, f"not done in {late.timeout} s")} if len(names) == 1 else {}
        if not os.path.exists(report) or (ran.returncode and "<failure" not in open(report).read()):
            # It ended before it could say, or complains of all that it ran, as of a leak.
            return {names[0]: ("FAIL", 0, ran.stdout + ran.stderr)} if len(names) == 1 else {}
        found = {}
        for case in ElementTree.parse(report).getroot().iter("testcase"):
            word = ("SKIP" if case.get("result") == "skipped" or case.get("status") == "notrun" else
                    "FAIL" if case.find("failure") is not None else "PASS")
            found[f"{case.get('classname')}.{case.get('name')}"] = (word, float(case.get("time") or 0),
                                                                    ran.stdout if word == "FAIL" else "")
        return found


def run_cases(preset, label, pattern, runner):
    """Several cases a process: under a sanitizer it takes longer to begin than most of them. Those of a
    process that came to no end are tried again one by one."""
    pieces = [(program, names[i:i + CASES_A_PROCESS])
              for program, names in cases_of(preset, label, pattern).items()
              for i in range(0, len(names), CASES_A_PROCESS)]
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for (program, names), found in zip(pieces, pool.map(lambda p: outcomes(*p), pieces)):
            for name in names:
                if name not in found:
                    found |= outcomes(program, [name])
                word, took, text = found.get(name, ("FAIL", 0, "it did not run"))
                runner.count(word)
                if word != "PASS":
                    say(word, f"unit/{preset}/{name}", took)
                    print(text[-20000:])


def fuzz_one(target, seconds, seed):
    """One libFuzzer target over its corpus and beyond; returns its exit code, output and time."""
    name = os.path.basename(target).removesuffix("_fuzz")
    corpus = os.path.join(image.TOP, "tests", "fuzz", "corpus", name)
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as found:
        ran = subprocess.run(
            [target, f"-max_total_time={seconds}", f"-seed={seed or 0}", "-max_len=2048",
             "-verbosity=0", "-print_final_stats=1",
             f"-artifact_prefix={image.TOP}/build/fuzz/{name}-", found, corpus],
            capture_output=True, text=True, errors="replace", env={
                **os.environ, "UBSAN_OPTIONS": "print_stacktrace=1"})
    return name, ran.returncode, ran.stderr, time.monotonic() - start


def fuzz(runner, seconds, seed):
    if runner.pattern and runner.pattern not in "fuzz":
        return
    if not build("fuzz"):
        runner.count("FAIL")
        say("FAIL", "unit/fuzz: does not build")
        return
    targets = sorted(glob.glob(os.path.join(image.TOP, "build", "fuzz", "tests", "fuzz", "*_fuzz")))
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for name, rc, text, took in pool.map(lambda t: fuzz_one(t, seconds, seed), targets):
            word = "PASS" if rc == 0 else "FAIL"
            runner.count(word)
            if rc:
                print(text[-3000:])
                print(f"again with: build/fuzz/tests/fuzz/{name}_fuzz build/fuzz/{name}-crash-*")
            inputs = text.rpartition("number_of_executed_units:")[2].split()[:1]
            say(word, f"unit/fuzz/{name}: {' '.join(inputs) or 'no'} inputs", took)


def bench(runner):
    """Keeps the benchmarks alive: for a second, with counts that are the same on any machine."""
    if runner.pattern and runner.pattern not in "bench":
        return
    micro(runner)
    start = time.monotonic()
    ran = subprocess.run([os.path.join(image.TOP, "tests", "bench", "native"), "--repeats", "1", "--seconds", "1",
                          "--backlog", "16", "--only", "4k-32", "catch-up-4k"], capture_output=True, text=True)
    found = ran.returncode == 0 and json.loads(ran.stdout.splitlines()[-1])["mirror"]["4k-32"][0]
    good = found and found["allocations_per_write"] < 1
    word = "PASS" if good else "FAIL"
    runner.count(word)
    say(word, "unit/bench/native", time.monotonic() - start, "" if good else f": {found or ran.stderr[-2000:]}")


def micro(runner):
    start = time.monotonic()
    ran = build("release", ["micro"]) and subprocess.run(
        [os.path.join(image.TOP, "build", "release", "tests", "bench", "micro"), "--benchmark_min_time=0.01",
         "--benchmark_format=json"], capture_output=True, text=True)
    if ran and ran.returncode == 0:
        wrong = [b["name"] for b in json.loads(ran.stdout)["benchmarks"] if b.get("error_occurred")]
    else:
        wrong = ran.stderr[-2000:] if ran else "it does not build"
    runner.count("FAIL" if wrong else "PASS")
    say("FAIL" if wrong else "PASS", "unit/bench/micro", time.monotonic() - start, f": {wrong}" if wrong else "")


def model(runner):
    """All interleavings of a small cascade, and that each of its rules is needed."""
    if runner.pattern and runner.pattern not in "model":
        return
    start = time.monotonic()
    ran = subprocess.run([os.path.join(image.TOP, "tests", "model", "run")], capture_output=True, text=True)
    word = "FAIL" if ran.returncode else "PASS"
    runner.count(word)
    if ran.returncode:
        print(ran.stdout[-3000:] + ran.stderr[-3000:])
    say(word, "unit/model", time.monotonic() - start)


def run(runner, fuzz_seconds, seed):
    for preset, label in (("dev", "unit"), ("tsan", "tsan")):
        if not build(preset):
            runner.count("FAIL")
            say("FAIL", f"unit/{preset}: does not build")
            continue
        before = runner.passed + runner.failed
        run_cases(preset, label, runner.pattern, runner)
        cases = runner.passed + runner.failed - before
        if cases == 0 and not runner.pattern:
            runner.count("FAIL")
        say("FAIL" if cases == 0 and not runner.pattern else "done", f"unit/{preset}: {cases} cases")
    fuzz(runner, fuzz_seconds, seed)
    model(runner)
    bench(runner)
