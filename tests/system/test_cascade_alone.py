# SPDX-License-Identifier: GPL-2.0-or-later
"""fence-level never: primaries that go on without their hub, beside others that don't."""
import random
import signal
import time

from tests.lab import pingpong
from tests.lab.cascade import VOLUMES
from tests.lab.guest import TimedOut
from tests.lab.lab import wait_until
from tests.system.test_cascade_basics import fio
from tests.system.test_cascade_faults import QUICK, copies, end, remote_is_quiet, start_pingpong, wipe
from tests.system.test_cascade_identity import mend_the_small_copy, up_with_a_small_copy, volume

# Emulated guests are slow: still several heartbeats.
LEASE = "2s"
CUTS = 8


def alone(cascade, name):
    return volume(cascade, VOLUMES[name][0], name)["alone_since"]


def wait_alone(cascade, name):
    wait_until(lambda: alone(cascade, name), 30, f"{name} goes on alone")


def wait_healthy(cascade, timeout=120):
    """Nobody is alone, nothing out of sync, no bracket: by what the nodes themselves say."""
    def ailing():
        """What is not, for whoever reads that it took too long."""
        for name, (primary, _) in VOLUMES.items():
            v = volume(cascade, primary, name)
            if v["alone_since"] or v["out_of_sync_bytes"] or v["state"] != "replicating":
                yield v
        for node in "HR":
            shown = cascade.status(node)
            if not shown:
                yield f"{node} does not answer"
            elif shown["bracket"]:
                yield shown["bracket"]
    try:
        wait_until(lambda: not any(ailing()), timeout, "all are in sync again")
    except TimedOut as late:
        raise TimedOut(f"{late}: {list(ailing())}") from None


def test_a_primary_without_its_hub_goes_on_after_one_pause(cascade, seed):
    """No I/O error, one pause of a lease; only what was written is copied; a level is applied."""
    cascade.up(daemon=QUICK, fence_level="never", lease=LEASE)
    job = fio(cascade, "orders", size="16M", io="2M", seed=seed % 1000 + 1,
              more="--verify=crc32c --do_verify=1 --verify_backlog=512 --rate_iops=200")
    time.sleep(1)
    left = volume(cascade, "H", "orders")["lease_seconds"]
    assert left is not None and 0 < left <= 2, left
    cascade.lab.links["P1-H"].cut()
    wait_alone(cascade, "orders")
    codes = [c["code"] for c in cascade.status("P1")["conditions"]]
    assert codes[0] == "ALONE", codes
    bracket = cascade.status("H")["bracket"]
    assert [(b["volume"], b["why"]) for b in bracket["volumes"]] == [("orders", "alone")], bracket
    assert job.wait(240) == 0, job.output()
    assert not alone(cascade, "ledger")
    cascade.g["P2"].run("dd if=/dev/urandom of=/dev/mapper/ledger bs=64k count=16 oflag=direct "
                        "status=none")
    behind = volume(cascade, "P1", "orders")["out_of_sync_bytes"]
    assert 0 < behind <= 17 << 20, behind
    cascade.lab.links["P1-H"].heal()
    wait_healthy(cascade)
    copied = volume(cascade, "P1", "orders")["resynced_bytes"]
    assert copied <= 2 * behind, (copied, behind)
    cascade.wait_drained()
    cascade.compare()
    assert "fence_level never" in cascade.g["P1"].run("dmsetup table orders").out
    cascade.configure(QUICK, fence_level="data", lease=LEASE)
    assert "orders: is changed" in cascade.tool("P1", "apply orders").out
    wait_until(lambda: volume(cascade, "P1", "orders")["fence_level"] == "data" and
               volume(cascade, "H", "orders")["lease_seconds"] is None, 20, "the hub knows it")
    assert volume(cascade, "H", "ledger")["lease_seconds"] is not None
    cascade.down()


def test_lone_primaries_leave_no_effect_without_its_cause(cascade, seed, rounds):
    """I3, I2: writes of each primary depend on the other's. At 8 random cuts (or --rounds) of primaries' links,
    for shorter and longer than a lease, hub and remote hold a state that was."""
    lots = random.Random(seed)
    cascade.up(daemon=QUICK, fence_level="never", lease="1s")
    wipe(cascade)
    writers = start_pingpong(cascade)
    before, went_alone = (0, 0), 0
    for _ in range(rounds or CUTS):
        links = [cascade.lab.links[f"{p}-H"] for p in lots.choice((("P1",), ("P2",), ("P1", "P2")))]
        time.sleep(lots.uniform(0.1, 0.5))
        for link in links:
            link.cut()
        time.sleep(lots.uniform(0.2, 3))
        went_alone += any(alone(cascade, name) != "" for name in VOLUMES)
        cascade.lab.links["H-R"].cut()
        wait_until(lambda: remote_is_quiet(cascade), 30, "the remote is quiet")
        now = pingpong.check_copies(*copies(cascade, "R"))
        assert now[0] >= before[0] and now[1] >= before[1], f"went back from {before} to {now}"
        before = now
        for link in links + [cascade.lab.links["H-R"]]:
            link.heal()
        if lots.random() < 0.5:
            wait_healthy(cascade)
    assert went_alone > (rounds or CUTS) // 8, f"hardly anybody was alone: {went_alone}"
    end(writers)
    wait_healthy(cascade)
    cascade.wait_drained()
    pingpong.check_copies(*copies(cascade, "H"))
    cascade.compare()
    cascade.down()


def test_a_hub_that_stood_still_acknowledges_nobody_who_is_alone(cascade):
    """SIGSTOP for longer than a lease; then it goes on as if nothing had been."""
    cascade.up(daemon=QUICK, fence_level="never", lease=LEASE)
    wipe(cascade)
    writers = start_pingpong(cascade)
    for pause in (1, 4):
        time.sleep(1)
        cascade.daemons["H"].kill(signal.SIGSTOP)
        time.sleep(pause)
        went_alone = any(alone(cascade, name) for name in VOLUMES)
        cascade.daemons["H"].kill(signal.SIGCONT)
        assert went_alone == (pause > 2), pause
        wait_healthy(cascade)
        # An image that is being written is no point in time.
        cascade.lab.links["H-R"].cut()
        wait_until(lambda: remote_is_quiet(cascade), 30, "the remote is quiet")
        pingpong.check_copies(*copies(cascade, "R"))
        cascade.lab.links["H-R"].heal()
        wait_healthy(cascade)
    end(writers)
    cascade.wait_drained()
    cascade.compare()
    cascade.down()


def test_a_clock_that_is_set_changes_no_lease(cascade):
    """Leases count on the boot's clock: a day forward or back is nothing to them."""
    cascade.up(daemon=QUICK, fence_level="never", lease=LEASE)
    job = fio(cascade, "orders", size="16M", io="2M", seed=3, more="--rate_iops=100")
    for node, days in (("H", "+1"), ("P1", "-1"), ("P1", "+2"), ("H", "-1")):
        cascade.g[node].run(f"date -s '{days} day' >/dev/null")
        time.sleep(1)
        assert not alone(cascade, "orders")
        assert not cascade.status("H")["bracket"]
    assert job.wait(240) == 0, job.output()
    cascade.g["P1"].run("date -s '-1 day' >/dev/null")
    cascade.wait_drained()
    cascade.compare()
    cascade.down()


def test_a_volume_that_is_removed_in_order_holds_nobody_up(cascade):
    """Its hub does not take it for alone: a primary may be switched off."""
    cascade.up(daemon=QUICK, fence_level="never", lease=LEASE)
    cascade.g["P1"].run("dd if=/dev/urandom of=/dev/mapper/orders bs=64k count=16 oflag=direct "
                        "status=none")
    cascade.tool("P1", "remove orders")
    wait_until(lambda: volume(cascade, "H", "orders")["lease_seconds"] is None, 10,
               "the hub knows that it has left")
    time.sleep(3)
    assert not cascade.status("H")["bracket"]
    cascade.g["P2"].run("dd if=/dev/urandom of=/dev/mapper/ledger bs=64k count=16 oflag=direct "
                        "status=none")
    cascade.tool("P1", "create orders")
    cascade.wait_connected()
    cascade.wait_drained()
    cascade.compare()
    cascade.down()


def test_a_volume_that_the_hub_refuses_goes_on_under_status(cascade):
    """The hub is there and says that it is behind; no lease has to run out. And by an administrator's word."""
    cascade.configure(daemon=QUICK, fence_level="status", lease=LEASE)
    cascade.format_journals()
    up_with_a_small_copy(cascade)
    wait_alone(cascade, "ledger")
    cascade.g["P2"].run("dd if=/dev/urandom of=/dev/mapper/ledger bs=64k count=16 oflag=direct "
                        "status=none")
    assert [b["volume"] for b in cascade.status("H")["bracket"]["volumes"]] == ["ledger"]
    assert not alone(cascade, "orders")

    cascade.stop_daemon("H")
    mend_the_small_copy(cascade)
    refused = cascade.tool("P1", "alone orders", check=False)
    assert refused.rc == 5 and "--force" in refused.err, refused
    cascade.tool("P1", "alone orders --force")
    cascade.g["P1"].run("dd if=/dev/urandom of=/dev/mapper/orders bs=64k count=16 oflag=direct "
                        "status=none", timeout=20)
    cascade.start_daemon("H")
    wait_healthy(cascade)
    said = cascade.log("P1")
    assert "shop/orders: the volume goes on alone" in said and "ring word" not in said, said
    cascade.wait_drained()
    cascade.g["H"].run("sync")
    cascade.compare()
    cascade.down()
    cascade.g["H"].run("dmsetup remove small; rm -f /dev/mapper/small")
