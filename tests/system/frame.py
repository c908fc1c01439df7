# SPDX-License-Identifier: GPL-2.0-or-later
"""How a test in tests/system is found and run.

A test is a function test_<sentence>. What it asks for by the names of its arguments is made once and
used by the tests after it, until one fails:

  guest    one guest, for tests of the module; with two processors if the test is marked so
  cascade  four guests: two primaries, hub, remote (tests/lab/cascade.py), no daemon running
  lab      an empty lab, for tests of the lab itself
  seed     a number; the same number gives the same run
  rounds, minutes   how much of it, by the command line
"""
import importlib
import inspect
import io
import os
import random
import threading
import time
import traceback
from collections import namedtuple

from tests.lab.cascade import Cascade
from tests.lab.guest import TimedOut
from tests.lab.lab import Lab

HERE = os.path.dirname(os.path.abspath(__file__))
KERNELS = ("6.1", "6.12")
SUITES = {"lab": ("test_module",), "e2e": ("test_cascade",), "soak": ("soak",)}
# Without a word of which: a soak takes as long as somebody wants.
USUAL_SUITES = ("lab", "e2e")
# Where a test runs that says nothing of it. What the daemons do depends on no kernel.
USUAL_KERNELS = {"lab": KERNELS, "e2e": ("6.12",), "soak": ("6.12",)}

Job = namedtuple("Job", "suite kernel test processors")


class Skip(Exception):
    """Raised by a test that can't run here; says why."""


def kernels(*series):
    """Marks a test that runs on these kernels, unless others are asked for."""
    def mark(function):
        function.kernels = series
        return function
    return mark


# For a test of the cascade that goes through what differs between kernels.
BOTH_KERNELS = kernels(*KERNELS)


def two_processors(function):
    """Marks a test whose guest has two: it looks for what they do to each other. On the newer
    kernel, and on the older one with --all."""
    function.processors = 2
    return function


def tests_of(suite):
    for name in sorted(os.listdir(HERE)):
        if name.startswith(SUITES[suite]) and name.endswith(".py"):
            module = importlib.import_module(f"tests.system.{name[:-3]}")
            functions = [f for n, f in vars(module).items()
                         if n.startswith("test_") and inspect.isfunction(f)
                         and f.__module__ == module.__name__]
            yield from sorted(functions, key=lambda f: f.__code__.co_firstlineno)


def jobs_of(suites, pattern, kernel=None, everything=False):
    """In the order in which they are worth running: the long suite first. @kernel: on this one;
    @everything: each test on each kernel."""
    out = []
    for suite in sorted(suites, key=list(SUITES).index, reverse=True):
        for series in reversed(KERNELS):
            for test in tests_of(suite):
                usual = getattr(test, "kernels", USUAL_KERNELS[suite])
                wanted = (kernel,) if kernel else KERNELS if everything else usual
                if series in wanted and pattern in test.__name__:
                    several = everything or series == KERNELS[-1]
                    out.append(Job(suite, series, test,
                                   getattr(test, "processors", 1) if several else 1))
    return out


def say(word, name, seconds=None, detail=""):
    time_text = "" if seconds is None else f" ({seconds:.1f} s)"
    print(f"{word:4} {name}{time_text}{detail}", flush=True)


def a_guest(lab, processors):
    lab.guest("guest", disks=[("data", 512 << 20), ("spare", 256 << 20)], smp=processors,
              memory=1024)
    return lab.boot().guests["guest"]


# What a test may ask for by name; of which kind: of which kernel, with how many processors.
MAKE = {"guest": a_guest, "cascade": lambda lab, _: Cascade(lab), "lab": lambda lab, _: lab}
Kind = namedtuple("Kind", "kernel name processors")


class Fixtures:
    """What the tests of one lane ask for, made when first asked for: one lab at a time."""

    def __init__(self, keep):
        self.keep, self.made = keep, None  # kind, lab, what the test gets

    def has(self, kind):
        """A lab that a test fills itself is not one that another can use: it would add to it."""
        return self.made is not None and self.made[0] == kind and kind.name != "lab"

    def get(self, kind):
        if not self.has(kind):
            self.drop()
            lab = Lab(kind.kernel, keep=self.keep)
            try:
                self.made = kind, lab, MAKE[kind.name](lab, kind.processors)
            except BaseException:
                lab.close()
                raise
        return self.made[2]

    def check(self):
        if self.made:
            self.made[1].check_kernel_logs()

    def report(self, out):
        """What people want to see of a failure."""
        if not self.made:
            return
        _, lab, thing = self.made
        for guest in lab.guests.values():
            print(f"--- {guest.name}: console\n{guest.console()[-2500:]}", file=out)
        for node in getattr(thing, "daemons", {}):
            try:
                print(f"--- {node}: daemon\n{thing.log(node)[-2500:]}", file=out)
            except AssertionError as error:
                print(f"--- {node}: {error}", file=out)

    def drop(self):
        if self.made and not self.keep:
            self.made[1].close()
        self.made = None


GIVEN = ("seed", "rounds", "minutes")


def kind_of(job):
    """The one thing that it asks for besides numbers."""
    name = next(n for n in inspect.signature(job.test).parameters if n not in GIVEN)
    return Kind(job.kernel, name, job.processors)


class Queue:
    """Jobs that wait. A lane goes on with the guests that it has as long as there is use for them."""

    def __init__(self, jobs):
        self.jobs, self.begun, self.lock = list(jobs), set(), threading.Lock()

    def next(self, fixtures):
        with self.lock:
            if not self.jobs:
                return None
            job = (next((j for j in self.jobs if fixtures.has(kind_of(j))), None)
                   or self._of_a_new_kind())
            self.jobs.remove(job)
            return job

    def _of_a_new_kind(self):
        """First come guests that nobody has had yet."""
        kinds = {}
        for job in self.jobs:
            kinds.setdefault(kind_of(job), job)
        kind = next((k for k in kinds if k not in self.begun), next(iter(kinds)))
        self.begun.add(kind)
        return kinds[kind]


class Runner:
    def __init__(self, seed, keep, pattern, rounds=None, minutes=None):
        self.seed, self.keep, self.pattern = seed, keep, pattern
        self.rounds, self.minutes = rounds, minutes
        self.passed = self.failed = self.skipped = 0
        self.lock = threading.Lock()

    def count(self, word):
        attribute = {"PASS": "passed", "FAIL": "failed", "SKIP": "skipped"}[word]
        setattr(self, attribute, getattr(self, attribute) + 1)

    def run_jobs(self, jobs, lanes):
        """@lanes: so many labs side by side, whose guests have one processor each. With more
        emulated processors than real ones all stand still, as one spins for an answer of another
        that does not run: two guests of two took 60 s each for what one alone did in 13."""
        for processors in sorted({j.processors for j in jobs}):
            self.run_side_by_side([j for j in jobs if j.processors == processors],
                                  max(1, lanes // processors))

    def run_side_by_side(self, jobs, lanes):
        queue = Queue(jobs)
        before = self.passed + self.failed + self.skipped
        threads = [threading.Thread(target=self.lane, args=(queue,), daemon=True)
                   for _ in range(min(lanes, len(jobs)))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        # Each job is counted once, unless its lane has died.
        lost = len(jobs) - (self.passed + self.failed + self.skipped - before)
        if lost:
            self.count("FAIL")
            say("FAIL", f"{lost} tests did not come to an end")

    def lane(self, queue):
        fixtures = Fixtures(self.keep)
        try:
            while job := queue.next(fixtures):
                self.run_test(job, fixtures)
        finally:
            fixtures.drop()

    def given(self, seed):
        """By the names of GIVEN."""
        return {"seed": seed, "rounds": self.rounds, "minutes": self.minutes}

    def call(self, job, fixtures, seed):
        """A time-out on a busy machine is tried once more, from new guests; nothing else is."""
        wanted, given = inspect.signature(job.test).parameters, self.given(seed)
        for attempt in (1, 2):
            try:
                job.test(**{n: given[n] if n in GIVEN else fixtures.get(kind_of(job))
                            for n in wanted})
                fixtures.check()
                return
            except TimedOut as late:
                fixtures.check()  # a guest that hangs after a complaint of its kernel is no time-out
                if attempt == 2:
                    raise
                say("slow", f"{job.test.__name__}: {late}; once more from new guests")
                fixtures.drop()

    def run_test(self, job, fixtures):
        name = f"{job.suite}/{job.kernel}/{job.test.__name__}"
        seed = self.seed if self.seed is not None else random.SystemRandom().randrange(1 << 32)
        start, detail, out = time.monotonic(), "", io.StringIO()
        try:
            self.call(job, fixtures, seed)
            word = "PASS"
        except Skip as reason:
            word, detail = "SKIP", f": {reason}"
        except Exception:
            word = "FAIL"
            traceback.print_exc(file=out)
            fixtures.report(out)
            fixtures.drop()
            given = self.given(seed)
            numbers = [f" --{n} {given[n]}" for n in inspect.signature(job.test).parameters
                       if given.get(n) is not None]
            print(f"again with: tests/run {job.suite} --kernel {job.kernel} -k {job.test.__name__}"
                  + "".join(numbers), file=out)
        with self.lock:
            self.count(word)
            print(out.getvalue(), end="")
            say(word, name, time.monotonic() - start, detail)
