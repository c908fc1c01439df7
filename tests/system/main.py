# SPDX-License-Identifier: GPL-2.0-or-later
"""Command line of tests/run."""
import argparse
import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from tests.lab.lab import exit_on_signals  # noqa: E402
from tests.system import unit  # noqa: E402
from tests.system.frame import (KERNELS, Runner, SUITES, USUAL_SUITES, jobs_of, say,  # noqa: E402
                                tests_of)

GiB = 1 << 30
LAB_BYTES = 6 * GiB  # what four guests and their disks take at the most


def lanes_possible():
    """A lab leaves half of two processors idle: it waits for time-outs, and for its disks."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return max(1, min(os.cpu_count(), memory // LAB_BYTES))


def arguments():
    p = argparse.ArgumentParser(prog="tests/run")
    p.add_argument("suites", nargs="*", metavar="SUITE", help="unit, lab, e2e; all of these without any; soak")
    p.add_argument("--kernel", choices=KERNELS, help="only on this one")
    p.add_argument("--all", action="store_true",
                   help="each test on each kernel, not only where it is most likely to find something")
    p.add_argument("--lanes", type=int, default=lanes_possible(), metavar="N",
                   help="so many labs side by side (%(default)s here)")
    p.add_argument("-k", dest="pattern", default="", help="only tests with this in their name")
    p.add_argument("--seed", type=int, help="for tests that draw lots")
    p.add_argument("--rounds", type=int, metavar="N",
                   help="how often tests that cut power or links do so; few without")
    p.add_argument("--minutes", type=float, default=10, metavar="N", help="how long soak goes on (10)")
    p.add_argument("--fuzz-seconds", type=int, default=10, metavar="N",
                   help="how long each fuzz target runs in unit (10)")
    p.add_argument("--keep", action="store_true", help="leave the guests' folders behind")
    p.add_argument("--list", action="store_true")
    args = p.parse_args()
    for suite in args.suites:
        if suite not in ("unit", *SUITES):
            p.error(f"no suite '{suite}'; there are unit, {', '.join(SUITES)}")
    return args


def main():
    args = arguments()
    if args.list:
        for suite in SUITES:
            for test in tests_of(suite):
                print(f"{suite}  {test.__name__}: {(test.__doc__ or '').strip().splitlines()[0:1]}")
        return 0
    exit_on_signals()
    start = time.monotonic()
    runner = Runner(args.seed, args.keep, args.pattern, args.rounds, args.minutes)
    suites = args.suites or ["unit", *USUAL_SUITES]
    if "unit" in suites:
        unit.run(runner, args.fuzz_seconds, args.seed)
    jobs = jobs_of([s for s in suites if s in SUITES], args.pattern, args.kernel, args.all)
    if jobs and not unit.build("release"):
        runner.count("FAIL")
        say("FAIL", "release: does not build")
        jobs = []
    runner.run_jobs(jobs, args.lanes)
    print(f"took {time.monotonic() - start:.0f} s")
    print(f"{runner.passed} passed, {runner.failed} failed, {runner.skipped} skipped")
    return 0 if runner.failed == 0 and runner.passed > 0 else 1


sys.exit(main())
