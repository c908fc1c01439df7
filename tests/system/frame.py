# SPDX-License-Identifier: GPL-2.0-or-later
"""How a test in tests/system is found and run.

A test is a function test_<sentence>. What it asks for by the names of its arguments is made once and
used by the tests after it, until one fails:

  guest    one guest with two processors, for tests of the module
  cascade  four guests: two primaries, hub, remote (tests/lab/cascade.py), no daemon running
  lab      an empty lab, for tests of the lab itself
  seed     a number; the same number gives the same run
"""
import importlib
import inspect
import os
import random
import sys
import time
import traceback

from tests.lab.cascade import Cascade
from tests.lab.guest import TimedOut
from tests.lab.lab import Lab

HERE = os.path.dirname(os.path.abspath(__file__))
SUITES = {"lab": ("test_lab", "test_module"), "e2e": ("test_cascade",)}


class Skip(Exception):
    """Raised by a test that can't run here; says why."""


def kernels(*series):
    """Marks a test that is meant for these kernels only."""
    def mark(function):
        function.kernels = series
        return function
    return mark


# What hub and remote do with their journals does not depend on a kernel: once is enough.
DAEMONS_ALONE = kernels("6.12")


def tests_of(suite):
    for name in sorted(os.listdir(HERE)):
        if name.startswith(SUITES[suite]) and name.endswith(".py"):
            module = importlib.import_module(f"tests.system.{name[:-3]}")
            functions = [f for n, f in vars(module).items()
                         if n.startswith("test_") and inspect.isfunction(f)
                         and f.__module__ == module.__name__]
            yield from sorted(functions, key=lambda f: f.__code__.co_firstlineno)


def say(word, name, seconds=None, detail=""):
    time_text = "" if seconds is None else f" ({seconds:.1f} s)"
    print(f"{word:4} {name}{time_text}{detail}", flush=True)


class Fixtures:
    """What tests ask for, made when first asked for."""

    def __init__(self, kernel, keep):
        self.kernel, self.keep, self.made = kernel, keep, {}

    def _guest(self):
        lab = Lab(self.kernel, keep=self.keep)
        lab.guest("guest", disks=[("data", 512 << 20), ("spare", 256 << 20)], smp=2, memory=1024)
        return lab.boot(), lab.guests["guest"]

    def _cascade(self):
        lab = Lab(self.kernel, keep=self.keep)
        return lab, Cascade(lab)

    def _lab(self):
        lab = Lab(self.kernel, keep=self.keep)
        return lab, lab

    def get(self, name):
        if name not in self.made:
            for other in list(self.made):  # two labs at once would only slow each other down
                self.drop(other)
            self.made[name] = {"guest": self._guest, "cascade": self._cascade,
                               "lab": self._lab}[name]()
        return self.made[name][1]

    def check(self):
        for lab, _ in self.made.values():
            lab.check_kernel_logs()

    def report(self):
        """What people want to see of a failure."""
        for lab, thing in self.made.values():
            for guest in lab.guests.values():
                print(f"--- {guest.name}: console\n{guest.console()[-2500:]}")
            for node in getattr(thing, "daemons", {}):
                try:
                    print(f"--- {node}: daemon\n{thing.log(node)[-2500:]}")
                except AssertionError as error:
                    print(f"--- {node}: {error}")

    def drop(self, name):
        lab, _ = self.made.pop(name)
        if not self.keep:
            lab.close()

    def drop_all(self):
        for name in list(self.made):
            self.drop(name)


class Runner:
    def __init__(self, seed, keep, pattern, rounds=None):
        self.seed, self.keep, self.pattern, self.rounds = seed, keep, pattern, rounds
        self.passed = self.failed = self.skipped = 0

    def count(self, word):
        attribute = {"PASS": "passed", "FAIL": "failed", "SKIP": "skipped"}[word]
        setattr(self, attribute, getattr(self, attribute) + 1)

    def run_suite(self, suite, kernel):
        fixtures = Fixtures(kernel, self.keep)
        try:
            for test in tests_of(suite):
                if self.pattern not in test.__name__ or \
                        kernel not in getattr(test, "kernels", (kernel,)):
                    continue
                self.run_test(suite, kernel, test, fixtures)
        finally:
            fixtures.drop_all()

    def call(self, test, fixtures, seed):
        """A time-out on a busy machine is tried once more, from new guests; nothing else is."""
        wanted = inspect.signature(test).parameters
        for attempt in (1, 2):
            try:
                given = {"seed": seed, "rounds": self.rounds}
                test(**{n: given[n] if n in given else fixtures.get(n) for n in wanted})
                fixtures.check()
                return
            except TimedOut:
                fixtures.check()  # a guest that hangs after a complaint of its kernel is no time-out
                if attempt == 2:
                    raise
                traceback.print_exc(file=sys.stdout)
                say("slow", f"{test.__name__} timed out; once more from new guests")
                fixtures.drop_all()

    def run_test(self, suite, kernel, test, fixtures):
        name = f"{suite}/{kernel}/{test.__name__}"
        seed = self.seed if self.seed is not None else random.SystemRandom().randrange(1 << 32)
        wanted = inspect.signature(test).parameters
        start = time.monotonic()
        detail = ""
        try:
            self.call(test, fixtures, seed)
            word = "PASS"
        except Skip as reason:
            word, detail = "SKIP", f": {reason}"
        except Exception:
            word = "FAIL"
            traceback.print_exc(file=sys.stdout)
            fixtures.report()
            fixtures.drop_all()
            print(f"again with: tests/run {suite} --kernel {kernel} -k {test.__name__}" +
                  (f" --seed {seed}" if "seed" in wanted else ""))
        self.count(word)
        say(word, name, time.monotonic() - start, detail)
