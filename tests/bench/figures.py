# SPDX-License-Identifier: GPL-2.0-or-later
"""How the benchmarks tell what they found."""
import statistics
import sys


def say(text):
    """Beside the table, which is on standard output."""
    print(text, file=sys.stderr, flush=True)


def median(runs, key):
    return statistics.median(run[key] for run in runs)
