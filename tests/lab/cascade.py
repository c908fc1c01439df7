# SPDX-License-Identifier: GPL-2.0-or-later
"""The cascade in a lab: two primaries, a hub and a remote, one group of two volumes.

   P1 orders ══╗
    |          ╠══► H ──► R        (P1 and P2 have a wire of their own for applications)
   P2 ledger ══╝
"""
import atexit
import functools
import json
import os
import shutil
import subprocess
import tempfile

from . import image
from .lab import Lab, wait_until

MiB = 1 << 20
GROUP = "6b6f0c1e-1111-4a2b-8c3d-000000000001"
VOLUMES = {"orders": ("P1", "0b9c6f0e-2222-4a2b-8c3d-000000000001"),
           "ledger": ("P2", "0b9c6f0e-2222-4a2b-8c3d-000000000002")}
BUILD = os.environ.get("CASCADE_BUILD", os.path.join(image.TOP, "build", "release"))
CONFIG = "/etc/dmcascade/dmcascade.toml"
SOCKET = "/run/dmcascade/dmcascaded.sock"
DIR = "/usr/local/sbin"  # of the programs in a guest
CHOICES = {"send-order": "parallel", "hub-ack": "sync", "ship": "stored", "remote-ack": "sync"}


def config_text(guests, choices, daemon="", hub_journal="/dev/lab/journal",
                remote_journal="/dev/lab/journal", undo=""):
    nodes = "".join(f'[node.{n.lower()}]\nhost = "{n}"\naddress = "{g.address}:7420"\n\n'
                    for n, g in guests.items())
    group = (f'[group.shop]\nuuid = "{GROUP}"\nhub = "h"\nremote = "r"\n'
             f'journal = {{ h = "{hub_journal}", r = "{remote_journal}" }}\n'
             + (f"undo = {undo}\n" if undo else "")
             + "".join(f'{k} = "{v}"\n' for k, v in choices.items()))
    volumes = "".join(
        f'\n[group.shop.volume.{name}]\nuuid = "{uuid}"\nprimary = "{primary.lower()}"\n'
        f'disk = {{ {primary.lower()} = "/dev/lab/{name}", h = "/dev/lab/{name}", '
        f'r = "/dev/lab/{name}" }}\nmeta = {meta_text(name, primary)}\n' for name, (primary, uuid) in VOLUMES.items())
    return f"version = 1\n\n{nodes}{group}{volumes}\n[daemon]\n{daemon}"


def meta_text(name, primary):
    """One volume of each kind: its metadata area at the end of its disk, or on a device of its own."""
    return '"internal"' if name == "orders" else f'{{ {primary.lower()} = "/dev/lab/{name}-meta" }}'


class Cascade:
    """Boots the four guests, loads the module on the primaries, formats the journals."""

    def __init__(self, lab, volume_bytes=320 * MiB, journal_bytes=128 * MiB, smp=1, ready=print, links=(), more=None):
        """@more: disks that a node has besides, by its name."""
        self.lab, self.daemons, self.choices = lab, {}, dict(CHOICES)
        volumes = [(name, volume_bytes) for name in VOLUMES]
        for name, (primary, _) in VOLUMES.items():
            disks = [(name, volume_bytes)] + ([(f"{name}-meta", MiB)] if name != "orders" else [])
            disks += (more or {}).get(primary, [])
            lab.guest(primary, disks=disks, smp=smp)
        for name in ("H", "R"):
            lab.guest(name, disks=volumes + [("journal", journal_bytes), ("small-journal", 24 * MiB),
                                             ("undo", 96 * MiB)])
        for a, b in (("P1", "H"), ("P2", "H"), ("H", "R"), ("P1", "P2"), *links):
            lab.link(a, b)
        lab.boot()
        self.g = lab.guests
        for primary, _ in VOLUMES.values():
            load_module(self.g[primary])

    def configure(self, daemon="", devices=None, **choices):
        """Writes the configuration on all nodes; names like hub_ack for hub-ack. @devices: other
        journals, undo, as of config_text()."""
        self.choices = {**CHOICES, **{k.replace("_", "-"): v for k, v in choices.items()}}
        self.text = config_text(self.g, self.choices, daemon, **(devices or {}))
        for guest in self.g.values():
            guest.write_file(CONFIG, self.text)

    def lose_power(self, node, daemon=True, text=None):
        """It is there again with the same configuration, or @text, and its daemon if that is wanted."""
        self.g[node].kill_power()
        self.daemons.pop(node, None)
        self.g[node].start()
        self.g[node].ready()
        self.g[node].write_file(CONFIG, text or self.text)
        if daemon:
            self.start_daemon(node)

    def format_journals(self):
        """Begins anew: empty journals, and copies that are equal, whatever the test before left."""
        for name, (primary, _) in VOLUMES.items():
            self.g[primary].run(f"blkdiscard -z /dev/lab/{name}")
        for node in ("H", "R"):
            self.g[node].run(" && ".join(f"blkdiscard -z /dev/lab/{name}" for name in VOLUMES))
            self.tool(node, "journal format shop --force")

    def tool(self, node, args, check=True, timeout=60):
        self.install(node)
        return self.g[node].run(f"{DIR}/dmcascade {args}", check=check, timeout=timeout)

    def install(self, node):
        """Into the guest's memory: from the host's folder, which no guest caches, each start of the
        programs would read them anew."""
        if "programs" not in self.g[node].made:
            self.g[node].run(f"cp {stripped_programs()}/* {DIR}")
        self.g[node].made.add("programs")

    # ---- daemons

    def start_daemon(self, node):
        self.install(node)
        self.daemons[node] = self.g[node].spawn(f"{DIR}/dmcascaded")

    def start_daemons(self):
        for node in self.g:
            self.start_daemon(node)
        for node in self.g:
            wait_until(lambda: self.opened(node), 30, f"daemon of {node} answers")

    def stop_daemon(self, node, sig=15):
        self.daemons[node].kill(sig)
        rc = self.daemons[node].wait(60)
        del self.daemons[node]
        return rc

    def stop_daemons(self):
        for node in list(self.daemons):
            self.stop_daemon(node)

    def log(self, node):
        return self.daemons[node].output() if node in self.daemons else ""

    # ---- volumes

    def create(self, new=False):
        """@new: as volumes that nobody has written yet."""
        for name, (primary, _) in VOLUMES.items():
            self.tool(primary, f"create {'--new --force ' if new else ''}{name}")

    def remove(self):
        for name, (primary, _) in VOLUMES.items():
            self.tool(primary, f"remove {name}")

    def up(self, daemon="", devices=None, **choices):
        """From nothing to a replicating group."""
        self.configure(daemon, devices, **choices)
        self.format_journals()
        self.start_daemons()
        self.create(new=True)
        self.wait_connected()

    def down(self):
        self.remove()
        self.stop_daemons()

    # ---- state

    def report(self, node):
        """What the node's daemon says of everything, as to `dmcascade --json status`; None if it does
        not answer."""
        report = json.loads(self.g[node].ask_socket(SOCKET, '{"command": "status"}') or "null")
        return report if report and report["schema"].startswith("dmcascade.status/") else None

    def status(self, node):
        report = self.report(node)
        # A node may have no part in the group yet.
        return report and next(iter(report["groups"]), {"links": [], "volumes": [], "journal": None})

    def journal_at(self, node):
        """Its journal's state; while a daemon that has just begun has none, nothing in any order."""
        group = self.status(node)
        return group and group["journal"] or {"received_seq": -1, "applied_seq": -1, "consistent": False,
                                              "state": "", "reason": ""}

    def opened(self, node):
        """Its daemon answers, and has opened the journal or says why it can't."""
        group = self.status(node)
        journal = group and group["journal"]
        return group and (not journal or journal["state"] != "opening")

    def connected(self):
        return all(link["state"] == "connected"
                   for node in self.g for link in (self.status(node) or {"links": [{"state": ""}]})["links"])

    def wait_connected(self, timeout=60):
        wait_until(self.connected, timeout, "all links are connected")

    def drained(self):
        """Everything that the rings hold is in the copies of hub and remote."""
        rings = [v["ring"] for p, _ in VOLUMES.values() for v in self.status(p)["volumes"]]
        if any(r is None or r["published"] != r["stored"] for r in rings):
            return False
        last = self.journal_at("H")["received_seq"]
        return last >= 0 and all(self.journal_at(node)["applied_seq"] == last for node in "HR")

    def wait_drained(self, timeout=120):
        wait_until(self.drained, timeout, "everything is applied everywhere")

    def compare(self):
        """Byte for byte, from outside: primary, hub and remote."""
        for guest in self.g.values():
            guest.run("sync")
        for name, (primary, _) in VOLUMES.items():
            size = self.volume_bytes(name)
            images = [self.g[n].disk_path(name) for n in (primary, "H", "R")]
            for other in images[1:]:
                compare_images(images[0], other, name, size)

    def volume_bytes(self, name):
        """Without a metadata area behind it."""
        return int(self.tool(VOLUMES[name][0], f"table {name}").out.split()[1]) * 512


@functools.cache
def stripped_programs():
    """A folder with them, without what debuggers need: a tenth of their size."""
    folder = tempfile.mkdtemp(prefix="programs-", dir=image.CACHE)
    atexit.register(shutil.rmtree, folder)
    for program in ("tools/dmcascade", "daemon/dmcascaded"):
        subprocess.run(["strip", "--strip-debug", "-o", os.path.join(folder, os.path.basename(program)),
                        os.path.join(BUILD, program)], check=True)
    return folder


def compare_images(a, b, name, size):
    with open(a, "rb") as fa, open(b, "rb") as fb:
        at = 0
        while True:
            pa, pb = (f.read(min(MiB, size - at)) for f in (fa, fb))
            if pa != pb:
                offset = at + next(i for i in range(len(pa)) if pa[i] != pb[i])
                raise AssertionError(f"{name}: copies differ at byte {offset}: {a} and {b}")
            if not pa:
                return
            at += len(pa)


def load_module(guest):
    guest.run("modprobe -a dm-mod libcrc32c; "
              f"insmod {image.TOP}/kmod/build/$(uname -r)/dm-cascade.ko")
