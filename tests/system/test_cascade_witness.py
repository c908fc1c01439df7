# SPDX-License-Identifier: GPL-2.0-or-later
"""fence-level witness: a primary that goes on alone, or a hub that is promoted, by the remote's word. I5."""
import time

from tests.lab.cascade import Cascade
from tests.lab.lab import wait_until
from tests.system.test_cascade_alone import LEASE, alone, wait_alone, wait_healthy
from tests.system.test_cascade_basics import fio
from tests.system.test_cascade_faults import QUICK
from tests.system.test_cascade_identity import volume


def lease_is_lost(cascade):
    """What P1 says of orders, once the hub has been silent for long enough."""
    return next((c["reason"] for c in cascade.status("P1")["conditions"] if c["code"] == "LEASE_LOST"), None)


def cut(cascade, *links):
    for link in links:
        cascade.lab.links[link].cut()


def promote(cascade, *more):
    words = ",".join(("may-lack-writes", "still-connected", *more))
    return cascade.tool("H", f"promote shop --yes --force={words}", check=False, timeout=120)


def write_one(cascade):
    return cascade.g["P1"].spawn("dd if=/dev/urandom of=/dev/mapper/orders bs=64k count=16 oflag=direct status=none")


def test_a_witness_lets_a_primary_go_on_alone_or_a_hub_be_promoted(lab, seed):
    """Without its word writes wait, with no error; and what it has let one do it lets nobody else."""
    cascade = Cascade(lab, links=(("P1", "R"),))
    cascade.up(daemon=QUICK, fence_level="witness", lease=LEASE)
    assert "fence_level witness" in cascade.g["P1"].run("dmsetup table orders").out
    job = fio(cascade, "orders", size="16M", io="2M", seed=seed % 1000 + 1,
              more="--verify=crc32c --do_verify=1 --verify_backlog=512 --rate_iops=200")
    time.sleep(1)
    cut(cascade, "P1-H", "P1-R")
    said = wait_until(lambda: lease_is_lost(cascade), 30, "the lease is lost")
    assert "goes on alone once a write waits for it and the witness lets it" in said, said
    wait_until(lambda: "does not let it go on alone" in lease_is_lost(cascade), 30, "it has asked")
    assert job.poll() is None and not alone(cascade, "orders"), job.output()
    cascade.lab.links["P1-R"].heal()
    wait_alone(cascade, "orders")
    assert job.wait(240) == 0, job.output()
    assert not alone(cascade, "ledger")

    told = promote(cascade)
    assert told.rc == 5 and "the witness, r, does not grant it: it has let orders go on alone" in told.err, told
    assert "--force=not-granted" in told.err, told
    plan = cascade.tool("R", "promote shop --dry-run").out
    assert "not-granted: orders: as witness, this node has let it go on alone on p1" in plan, plan
    cascade.lab.links["P1-H"].heal()
    wait_healthy(cascade)
    cascade.wait_drained()
    cascade.compare()

    cut(cascade, "P1-H", "P1-R")
    told = promote(cascade)
    assert told.rc == 0 and "is promoted on h" in told.out, told
    cascade.lab.links["P1-R"].heal()
    waits = write_one(cascade)
    wait_until(lambda: "the group was let be promoted on h" in volume(cascade, "P1", "orders")["reason"], 60,
               "the witness has refused")
    assert waits.poll() is None and not alone(cascade, "orders")
    assert "as witness, to h, which asked to be promoted: granted" in cascade.log("R")
    waits.kill(9)
