# SPDX-License-Identifier: GPL-2.0-or-later
"""A primary with systemd as init, our units and rules as they are installed, and a volume in fstab."""
import os
import subprocess

from tests.lab.cascade import BUILD, CONFIG, load_module
from tests.lab.image import TOP
from tests.lab.lab import wait_until
from tests.system.test_cascade_comeback import wait_well
from tests.system.test_cascade_faults import QUICK

FSTAB = ("/dev/mapper/orders /mnt/orders ext4 _netdev,nofail,"
         "x-systemd.requires=dmcascade-volume@orders.service,x-systemd.device-timeout=10min 0 0\n")
WANTS = "etc/systemd/system/lab.target.wants"
BOOT = 240


def install(cascade, guest):
    """What 'cmake --install' installs, the configuration and fstab; modprobe finds the module."""
    root = os.path.join(guest.dir, "root")
    subprocess.run(["cmake", "--install", BUILD], check=True, capture_output=True,
                   env={**os.environ, "DESTDIR": root})
    module = f"{TOP}/kmod/build/{guest.kernel}/dm-cascade.ko"
    files = {CONFIG: cascade.text, "/etc/fstab": FSTAB, "/etc/hostname": "P1\n", "/mnt/orders/.keep": "",
             "/etc/modprobe.d/lab.conf": "install dm-cascade /sbin/modprobe -a dm-mod libcrc32c && "
                                         f"/sbin/insmod {module}\n"}
    for path, text in files.items():
        path = root + path
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as f:
            f.write(text)
    os.makedirs(f"{root}/{WANTS}", exist_ok=True)
    prefix = "/usr/local/lib/systemd/system"
    os.symlink(f"{prefix}/dmcascaded.service", f"{root}/{WANTS}/dmcascaded.service")


def mounted(guest):
    return guest.run("mountpoint -q /mnt/orders", check=False).rc == 0


def wait_mounted(guest, what):
    wait_until(lambda: mounted(guest), BOOT, what, interval=2)


def boot(guest):
    guest.start()
    guest.ready(BOOT)


def power_off(guest):
    """In order; systemd has to come to the end by itself."""
    guest.run("systemctl --no-block poweroff")
    wait_until(lambda: not guest.alive(), BOOT, "the machine is off")


def test_a_volume_in_fstab_is_mounted_at_boot(cascade):
    """W11, W8: boots, reboots in order, and boots without its hub, which comes later."""
    cascade.up(daemon=QUICK)
    primary = cascade.g["P1"]
    primary.run("mkfs.ext4 -q /dev/mapper/orders")
    cascade.wait_drained()
    cascade.tool("P1", "remove orders")
    cascade.stop_daemon("P1")
    primary.kill_power()
    install(cascade, primary)
    primary.init = "systemd"
    boot(primary)
    wait_mounted(primary, "the volume is mounted")
    primary.run("dd if=/dev/urandom of=/mnt/orders/file bs=1M count=4 status=none && sync && "
                "sha256sum /mnt/orders/file > /mnt/orders/sum")
    uuid = primary.run("blkid -s UUID -o value /dev/mapper/orders").out.strip()
    link = primary.run(f"udevadm settle; readlink -f /dev/disk/by-uuid/{uuid}").out
    assert link == primary.run("readlink -f /dev/mapper/orders").out, "to the disk, past the copies"
    power_off(primary)

    boot(primary)
    wait_mounted(primary, "the volume is mounted again")
    primary.run("sha256sum -c /mnt/orders/sum")
    assert "differ" not in primary.run("journalctl -b -u dmcascade-volume@orders").out, "in order"
    assert primary.run("systemctl reload dmcascaded", check=False).rc == 0
    primary.run("mkdir -p /mnt/hand; mount /dev/mapper/orders /mnt/hand && echo more > /mnt/hand/more")
    power_off(primary)

    cascade.stop_daemon("H")
    boot(primary)
    assert not mounted(primary), "nobody takes its writes"
    cascade.start_daemon("H")
    wait_mounted(primary, "the hub is there, and the volume is mounted")
    primary.run("sha256sum -c /mnt/orders/sum && grep -q more /mnt/orders/more")
    wait_well(cascade)
    power_off(primary)
    primary.init = ""
    boot(primary)
    primary.write_file(CONFIG, cascade.text)
    load_module(primary)
    cascade.start_daemon("P1")
    cascade.tool("P1", "create orders")
    wait_well(cascade)
    cascade.wait_drained()
    cascade.compare()
    cascade.down()
