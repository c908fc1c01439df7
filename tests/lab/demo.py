# SPDX-License-Identifier: GPL-2.0-or-later
"""The demo: two primaries, hub and remote as four guests, a shop whose databases depend on each
other, and what happens to them. Run by tools/demo."""
import argparse
import os
import random
import signal
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from tests.lab import image  # noqa: E402
from tests.lab.cascade import Cascade, VOLUMES  # noqa: E402
from tests.lab.lab import Lab, exit_on_signals, wait_until  # noqa: E402

SHOP = f"/usr/bin/python3 -S -E {image.TOP}/tests/lab/shop.py"
QUICK = 'heartbeat = "200ms"\nsession-timeout = "2s"\nreconnect-max = "300ms"\n'
PORT = 7990
STARTED = time.monotonic()
shown = []


def say(text):
    print(f"[{time.monotonic() - STARTED:5.1f} s] {text}", flush=True)


def show(what, result):
    shown.append((what, result))
    say(f"  => {result}")


def status(cascade, node):
    print("".join(f"    | {line}\n" for line in cascade.tool(node, "status").out.splitlines()), end="",
          flush=True)


def progress(cascade):
    """Orders and payments committed so far, as the application has been told."""
    return tuple(int(cascade.g[p].run(f"cat /run/{v}.progress 2>/dev/null || echo 0").out)
                 for v, (p, _) in VOLUMES.items())


def make_file_systems(cascade):
    say("ext4 on orders (P1), xfs on ledger (P2), on /dev/mapper/*")
    for name, mkfs in (("orders", "mkfs.ext4 -q"), ("ledger", "modprobe xfs; mkfs.xfs -q")):
        cascade.g[VOLUMES[name][0]].run(f"{mkfs} /dev/mapper/{name} && mkdir -p /mnt/{name} && "
                                        f"mount /dev/mapper/{name} /mnt/{name}", timeout=180)


def open_shop(cascade):
    say("the shop opens: SQLite on both, a payment follows each order, an order each payment")
    p1, p2 = cascade.g["P1"], cascade.g["P2"]
    apps = [p1.spawn(f"{SHOP} orders /mnt/orders/shop.db {PORT}"),
            p2.spawn(f"{SHOP} ledger /mnt/ledger/ledger.db {p1.address} {PORT}")]
    wait_until(lambda: min(progress(cascade)) >= 10, 60, "the first ten orders are paid")
    return apps


def goes_on(cascade, by=5, timeout=60):
    before = progress(cascade)[0]
    wait_until(lambda: progress(cascade)[0] >= before + by, timeout, "the shop goes on")
    return before


def remote_lags_and_returns(cascade):
    say("the link from hub to remote is cut")
    cascade.lab.links["H-R"].cut()
    before = goes_on(cascade, by=10)
    lag = wait_until(lambda: (lambda r: r if r["lag_seconds"] > 3 else None)
                     (cascade.status("H")["remote"]), 30, "the lag grows")
    now = progress(cascade)[0]
    status(cascade, "H")
    say("the link is healed")
    cascade.lab.links["H-R"].heal()
    start = time.monotonic()
    wait_until(lambda: cascade.status("H")["remote"]["lag_seconds"] < 1 and cascade.connected(), 60,
               "the remote has caught up")
    show("link to the remote cut and healed",
         f"{now - before} more orders meanwhile; remote {lag['lag_seconds']:.1f} s, "
         f"{lag['backlog_writes']} writes behind; caught up in {time.monotonic() - start:.1f} s")


def hub_daemon_dies(cascade):
    say("the hub's daemon is killed (SIGKILL); writers wait")
    before = progress(cascade)[0]
    cascade.stop_daemon("H", signal.SIGKILL)
    time.sleep(2)
    for name, (primary, _) in VOLUMES.items():
        print(f"    | {primary}: " + cascade.g[primary].run(f"dmsetup status {name}").out, end="",
              flush=True)
    waiting = progress(cascade)[0]
    say("it is started again")
    cascade.start_daemon("H")
    goes_on(cascade)
    show("hub's daemon killed and restarted",
         f"order {waiting} waited, none failed; then order {progress(cascade)[0]}"
         f" (before the kill: {before})")


def primary_daemon_dies(cascade):
    say("the daemon of primary P1 is killed (SIGKILL) and started again")
    cascade.stop_daemon("P1", signal.SIGKILL)
    cascade.start_daemon("P1")
    goes_on(cascade)
    show("primary's daemon killed and restarted", "the ring went on where it was; no I/O error")


def hold_a_drill(cascade, lots):
    """Images of the remote's copies at a random moment, while it follows: file systems recover,
    databases are whole, nothing is there without its cause."""
    time.sleep(lots.uniform(0.2, 1.5))
    say("at a random moment a drill begins at the remote, and nobody else notices: dmcascade drill start shop")
    remote = cascade.g["R"]
    remote.run("modprobe -a dm-snapshot loop xfs ext4")
    ahead = progress(cascade)
    cascade.tool("R", "drill start shop --in /tmp")
    for name in VOLUMES:
        remote.run(f"mkdir -p /mnt/{name} && mount /dev/mapper/{name}-drill /mnt/{name}")
    found = remote.run(f"{SHOP} check /mnt/orders/shop.db /mnt/ledger/ledger.db").out.strip()
    for name, fsck in (("orders", "e2fsck -fn"), ("ledger", "xfs_repair -n")):
        remote.run(f"umount /mnt/{name} && {fsck} /dev/mapper/{name}-drill", timeout=120)
    cascade.tool("R", "drill stop shop")
    show("the remote's images opened at a random moment",
         f"{found} (the shop was at {ahead[0]} orders)")


def close_shop(cascade, apps):
    say("the shop closes; everything drains; all copies are compared byte for byte")
    for app in apps:
        app.kill(signal.SIGTERM)
        app.wait()
    done = progress(cascade)
    for name, (primary, _) in VOLUMES.items():
        cascade.g[primary].run(f"umount /mnt/{name}")
    cascade.wait_drained()
    status(cascade, "H")
    cascade.compare()
    show("copies on primary, hub and remote compared", f"equal, byte for byte, after {done[0]} orders "
                                                       f"and {done[1]} payments")


def summary():
    width = max(len(what) for what, _ in shown)
    print("\n" + "\n".join(f"  {what:{width}}  {result}" for what, result in shown))


def prompt(lab):
    """--keep: commands for the guests, until the end of input."""
    print("\nThe guests stay up. Type e.g.  H dmcascade status   (nodes: "
          f"{', '.join(lab.guests)}; Ctrl-D ends)", flush=True)
    tools = os.path.join(image.TOP, "build", "release", "tools")
    for line in sys.stdin:
        node, _, command = line.strip().partition(" ")
        if node not in lab.guests:
            print("first word: one of " + ", ".join(lab.guests), flush=True)
            continue
        result = lab.guests[node].run(f"PATH={tools}:$PATH; {command or 'true'}", check=False)
        print(result.out + result.err, end="", flush=True)


def main():
    p = argparse.ArgumentParser(prog="tools/demo")
    p.add_argument("--kernel", choices=("6.1", "6.12"), default="6.1")
    p.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    p.add_argument("--keep", action="store_true", help="leave the guests up, with a prompt")
    args = p.parse_args()
    exit_on_signals()
    say(f"booting P1, P2, H and R with Debian's {args.kernel} kernel (seed {args.seed})")
    with Lab(args.kernel) as lab:
        cascade = Cascade(lab)
        say("module loaded on P1 and P2; journals are made, daemons started, volumes created")
        cascade.up(daemon=QUICK)
        make_file_systems(cascade)
        apps = open_shop(cascade)
        status(cascade, "H")
        remote_lags_and_returns(cascade)
        hub_daemon_dies(cascade)
        primary_daemon_dies(cascade)
        hold_a_drill(cascade, random.Random(args.seed))
        goes_on(cascade)
        close_shop(cascade, apps)
        lab.check_kernel_logs()
        summary()
        if args.keep:
            prompt(lab)
    say("done; the guests are gone")


main()
