# SPDX-License-Identifier: GPL-2.0-or-later
"""Comparing a volume with its copies, beside its writers; and mending what differs. I2."""
import json

from tests.lab.lab import wait_until
from tests.system.test_cascade_basics import fio
from tests.system.test_cascade_faults import QUICK, conditions, end

MiB = 1 << 20
REST = "--from 272MiB"  # behind what the load writes to


def verify(cascade, words="", check=True):
    return cascade.tool("P1", f"verify orders {words}", check=check, timeout=400)


def damage(cascade, node, at):
    """One sector of the node's copy, where nobody writes."""
    cascade.g[node].run(f"dd if=/dev/urandom of=/dev/lab/orders bs=512 count=1 seek={at // 512} oflag=direct "
                        "conv=notrunc status=none")


def found(report):
    return {copy["node"]: [(r["begin_bytes"], r["bytes"]) for r in copy["ranges"]] for copy in report["copies"]}


def test_verify_finds_what_differs_under_load_and_repairs_it(cascade):
    cascade.up(daemon=QUICK)
    more = "--time_based --runtime=1800"
    load = [fio(cascade, "orders", more=more), fio(cascade, "ledger", more=more)]
    damage(cascade, "R", 280 * MiB)
    damage(cascade, "H", 290 * MiB)
    report = json.loads(cascade.tool("P1", f"--json verify orders {REST}", check=False, timeout=400).out)
    ranges = found(report)
    for node, at in (("r", 280 * MiB), ("h", 290 * MiB)):
        (begin, size), = ranges[node]
        assert begin <= at < begin + size <= begin + MiB // 4, ranges
    assert all("COPY_DIFFERS" in conditions(cascade, node) for node in ("P1", "H", "R"))
    shown = cascade.tool("P1", "status", check=False).out
    assert "error COPY_DIFFERS orders on h since" in shown and "r: " in shown, shown

    damage(cascade, "R", 300 * MiB)
    damage(cascade, "H", 300 * MiB)
    told = verify(cascade, f"--repair {REST}", check=False)
    assert told.rc == 1 and told.out.count("and was repaired") == 2, told
    assert "differ on all copies" in told.out and "--force=primary-is-right" in told.out, told
    report = json.loads(cascade.tool("P1", f"--json verify orders {REST} --repair --force=primary-is-right", timeout=400).out)
    assert not report["doubtful_bytes"] and all(copy["repaired_bytes"] for copy in report["copies"]), report
    wait_until(lambda: not any("COPY_DIFFERS" in conditions(cascade, node) for node in ("P1", "H", "R")), 30,
               "nobody says that a copy differs")
    assert all(job.poll() is None for job in load)
    end(load)
    cascade.wait_drained()
    told = verify(cascade).out
    assert told.count("no difference") == 2 and "orders: compared, 0 B to" in told, told
    cascade.compare()
    cascade.down()


def test_verify_is_held_to_a_rate_stopped_and_goes_on(cascade):
    cascade.up(daemon=QUICK)
    assert "is compared" in verify(cascade, "--rate 4MiB --no-wait").out
    again = verify(cascade, check=False)
    assert again.rc == 5 and again.err == "dmcascade: orders: it is being compared; 'dmcascade verify VOLUME --stop' ends that\n"
    volume = next(v for v in cascade.status("P1")["volumes"] if v["name"] == "orders")
    wait_until(lambda: next(v for v in cascade.status("P1")["volumes"] if v["name"] == "orders")
               ["verify"]["next_bytes"] > MiB, 60, "it has begun")
    report = json.loads(cascade.tool("P1", "--json verify orders --stop").out)
    assert report["state"] == "stopped" and MiB < report["next_bytes"] < volume["size_bytes"] // 2, report
    shown = cascade.tool("P1", "status").out
    assert f"--from {report['next_bytes']} goes on" in shown, shown
    report = json.loads(cascade.tool("P1", f"--json verify orders --from {report['next_bytes']}", timeout=400).out)
    assert report["state"] == "done" and report["next_bytes"] == volume["size_bytes"], report
    for words, rc in (("orders --rate fast", 2), ("orders --from 1000", 1), ("ledger", 5), ("nosuch", 4)):
        refused = cascade.tool("P1", f"verify {words}", check=False)
        assert refused.rc == rc and len(refused.err.splitlines()) == 1, (words, refused)
    cascade.down()
