# SPDX-License-Identifier: GPL-2.0-or-later
"""A primary crashes, or begins with content: what may differ is copied, and nothing else. I2, I3, I6."""
import random
import time

from tests.lab import pingpong
from tests.lab.cascade import VOLUMES, load_module
from tests.lab.lab import wait_until
from tests.system.frame import BOTH_KERNELS
from tests.system.test_cascade_basics import fio, fio_on_both
from tests.system.test_cascade_faults import QUICK, copies, end, start_pingpong, wipe
from tests.system.test_cascade_identity import volume

MiB = 1 << 20


def primary_back(cascade):
    load_module(cascade.g["P1"])
    cascade.start_daemon("P1")
    return cascade.tool("P1", "create orders").err


def in_sync(cascade):
    return wait_until(lambda: (lambda v: v["ring"] and v["out_of_sync_bytes"] == 0 and v["differs"] == ""
                               and v)(volume(cascade, "P1", "orders")), 120, "orders is in sync again")


def examined(shown):
    """What was copied, or turned out to be the same at the hub."""
    return shown["resynced_bytes"] + shown["same_bytes"]


@BOTH_KERNELS
def test_a_primarys_loss_of_power_costs_the_copying_of_the_hot_set(cascade, rounds):
    """P9: twice under load, or --rounds; afterwards the copies are equal, and little was read for it."""
    cascade.up(daemon=QUICK)
    for _ in range(rounds or 2):
        before = volume(cascade, "P1", "orders")["ring"]["published"]
        fio(cascade, "orders", size="16M", io="64M")
        wait_until(lambda: volume(cascade, "P1", "orders")["ring"]["published"] > before + 200, 60,
                   "writes are under way")
        cascade.lose_power("P1", daemon=False)
        assert "may differ" in primary_back(cascade)
        looked = examined(in_sync(cascade))
        assert 0 < looked <= 2 * 16 * MiB, f"{looked} bytes of {cascade.volume_bytes('orders')}"
        assert volume(cascade, "H", "orders")["differs"] == ""
        cascade.wait_connected()
        cascade.wait_drained()
        assert not cascade.status("H")["bracket"]
        cascade.compare()
    cascade.down()


@BOTH_KERNELS
def test_power_is_lost_anywhere_while_a_primary_is_copied(cascade, seed):
    """I3: hub and remote hold no effect without its cause, wherever a resync is cut off."""
    lots = random.Random(seed)
    cascade.up(daemon=QUICK)
    wipe(cascade)
    writers = start_pingpong(cascade)
    fio(cascade, "orders", size="24M", io="200M", more="--offset=8M")
    time.sleep(2)
    cascade.lose_power("P1", daemon=False)
    end(writers[1:])
    primary_back(cascade)
    cascade.tool("P1", "status")
    for victim in ("R", "H", "P1"):
        time.sleep(lots.uniform(0.1, 1.0))
        cascade.lose_power(victim, daemon=victim != "P1")
        if victim == "P1":
            primary_back(cascade)
        wait_until(lambda: cascade.opened(victim), 30, f"the daemon of {victim}")
    in_sync(cascade)
    cascade.wait_connected()
    cascade.wait_drained()
    for node in ("H", "R"):
        pingpong.check_copies(*copies(cascade, node))
    cascade.compare()
    cascade.down()


def test_a_volume_with_content_is_copied_at_first(cascade):
    """create --new --sync; without it nothing moves."""
    cascade.configure(daemon=QUICK)
    cascade.format_journals()
    cascade.g["P1"].run("dd if=/dev/urandom of=/dev/lab/orders bs=1M seek=20 count=12 oflag=direct status=none")
    cascade.start_daemons()
    cascade.tool("P2", "create --new --force ledger")
    cascade.tool("P1", "create --new --sync --force orders")
    assert "paused" in cascade.tool("P1", "resync orders --pause").out
    cascade.tool("P1", "resync orders --rate 4096 --resume")
    codes = wait_until(lambda: [c["code"] for c in cascade.status("H")["conditions"]], 60, "a condition")
    assert "BRACKET_OPEN" in codes, codes
    assert "RESYNCING orders" in cascade.tool("P1", "status").out
    assert fio(cascade, "ledger", io="256k").wait(120) == 0, "others do not wait"
    shown = cascade.tool("P1", "resync orders --rate 0").out
    assert "running" in shown and "out of sync" in shown, shown
    done = in_sync(cascade)
    assert examined(done) >= cascade.volume_bytes("orders"), "all of it was read"
    assert 12 * MiB <= done["resynced_bytes"] <= 14 * MiB, "what the hub has is not copied"
    assert volume(cascade, "P2", "ledger")["resynced_bytes"] == 0
    cascade.wait_connected()
    cascade.wait_drained()
    assert cascade.status("H")["links"][0]["received_bytes"] < 40 * MiB, "zeroes travel without bytes"
    cascade.compare()
    fio_on_both(cascade, io="256k", seed=4)
    cascade.wait_drained()
    cascade.compare()
    cascade.down()


def test_a_group_whose_hub_and_remote_are_lost_is_copied_from_its_primaries(cascade):
    """Hub and remote with empty journals and disks: refused by name, until somebody says what counts."""
    cascade.up(daemon=QUICK)
    fio_on_both(cascade, size="8M", io="2M")
    cascade.wait_drained()
    for node in ("H", "R"):
        cascade.stop_daemon(node)
        for name in VOLUMES:
            cascade.g[node].run(f"blkdiscard -z /dev/lab/{name}")
        cascade.tool(node, "journal format shop --force")
        cascade.start_daemon(node)
    wait_until(lambda: volume(cascade, "P1", "orders")["state"] == "refused", 60, "it is refused")
    assert cascade.tool("P1", "resync orders --from primary", check=False).rc == 5, "it is in use"
    cascade.remove()
    cascade.create()
    wait_until(lambda: volume(cascade, "P1", "orders")["state"] == "refused", 60, "still refused")
    cascade.remove()
    for name, (primary, _) in VOLUMES.items():
        assert "will be copied" in cascade.tool(primary, f"resync {name} --from primary").out
    cascade.create()
    for name, (primary, _) in VOLUMES.items():
        wait_until(lambda: volume(cascade, primary, name)["out_of_sync_bytes"] == 0, 120, "in sync")
    cascade.wait_connected()
    cascade.wait_drained()
    cascade.compare()
    assert not cascade.status("R")["bracket"] and cascade.status("R")["journal"]["consistent"]
    cascade.down()
