# SPDX-License-Identifier: GPL-2.0-or-later
"""Guests that run at native speed: User-mode Linux, built once from Debian's linux-source and kept.

An emulated guest computes a checksum thirty times slower than the machine does, so what it measures is
mostly that. A User-mode Linux guest runs its programs as they are; what is dear in it is to enter the kernel
(some 20 us a system call, 50 a page fault) and it has one processor. It has no disks here: brd is one.
"""
import glob
import hashlib
import os
import shutil
import signal
import socket
import subprocess

from . import image
from .guest import Guest

SERIES = "6.12"
PATCH = os.path.join(image.TOP, "tests", "lab", "uml-idle.patch")
PACKAGES = f"linux-source-{SERIES} flex bison bc patch"
OPTIONS = ("-e MODULES -e MODULE_UNLOAD -e AIO -e TMPFS -e HOSTFS -e OVERLAY_FS -e CONNECTOR -e GENETLINK "
           "-e PACKET -e NET_SCHED -m NET_SCH_NETEM -e TCP_CONG_ADVANCED -e TCP_CONG_BBR -e UML_NET_VECTOR -e LIBCRC32C -e CRYPTO_CRC32C -e MD "
           "-e BLK_DEV_DM -m BLK_DEV_DRBD -m BLK_DEV_RAM -d IPV6 -d WIRELESS -d SOUND -d EXT4_FS -d BTRFS_FS "
           "-d XFS_FS -d DEBUG_INFO").split()


def _name():
    """Of what is built: the source's version, and which options and patch."""
    out = subprocess.run(["dpkg-query", "-W", "-f=${Version}", f"linux-source-{SERIES}"], capture_output=True,
                         text=True)
    if out.returncode != 0 or not out.stdout or not all(map(shutil.which, ("flex", "bison", "bc", "patch"))):
        raise RuntimeError(f"a User-mode Linux kernel is built from packages that are missing; run: "
                           f"apt-get install -y {PACKAGES}")
    with open(PATCH, "rb") as f:
        what = hashlib.sha1(f.read() + " ".join(OPTIONS).encode()).hexdigest()
    return f"uml-{out.stdout.replace('~', '-')}-{what[:8]}"


def kernel(say=print):
    """The tree of a built kernel; the first time it takes some five minutes."""
    tree = os.path.join(image.CACHE, _name())
    if os.path.exists(os.path.join(tree, "linux")):
        return tree
    say(f"building a User-mode Linux kernel in {tree}: some five minutes, once")
    new = tree + ".new"
    shutil.rmtree(new, ignore_errors=True)
    os.makedirs(new)
    source = glob.glob(f"/usr/src/linux-source-{SERIES}.tar.*")[0]
    subprocess.run(["tar", "-xf", source, "-C", new, "--strip-components=1"], check=True)
    make = ["make", "-s", "-C", new, "ARCH=um", f"-j{os.cpu_count()}"]
    with open(new + ".log", "wb") as log:
        for step in (["patch", "-d", new, "-p1", "-i", PATCH], make + ["defconfig"],
                     [f"{new}/scripts/config", "--file", f"{new}/.config"] + OPTIONS,
                     make + ["olddefconfig"], make + ["linux", "modules"]):
            if subprocess.run(step, stdout=log, stderr=log).returncode != 0:
                raise RuntimeError(f"{' '.join(step)} failed, see {new}.log")
    os.rename(new, tree)
    return tree


def module(tree):
    """dm-cascade.ko for it."""
    kmod = os.path.join(image.TOP, "kmod")
    subprocess.run(["make", "-s", "-C", kmod, f"KDIR={tree}", "KBUILD_EXTRA=ARCH=um"], check=True, capture_output=True)
    return os.path.join(kmod, "build", os.path.basename(tree), "dm-cascade.ko")


class UmlGuest(Guest):
    """As any guest of a lab, but for disks, pause() and systemd; @processor: of the host, its own."""

    tap_options = " vnet_hdr"  # of Lab.link

    def __init__(self, *args, processor=None, **options):
        options.setdefault("memory", 896)
        super().__init__(*args, **options)
        self.processor = processor

    def _command(self):
        cmd = ["ip", "netns", "exec", self.lab.netns] if self.lab.netns else []
        if self.processor is not None:
            cmd += ["taskset", "-c", str(self.processor % os.cpu_count())]
        cmd += [os.path.join(self.kernel, "linux"), f"mem={self.memory}M", "root=/dev/root", "rootfstype=hostfs",
                "rootflags=/", "ro", f"init={image.TOP}/tests/lab/uml-init", f"umid={self.name}",
                f"uml_dir={self.dir}", "con=null", "con0=null,fd:1", "ssl=null",
                f"ssl0=fd:{self._far.fileno()},fd:{self._far.fileno()}", "panic=-1", "loglevel=5",
                f"dmc.name={self.name}", f"dmc.top={image.TOP}", f"dmc.lab={self.dir}"]
        cmd += [f"vec{i}:transport=tap,ifname={tap},depth=128,gro=1,mac={mac}"
                for i, (tap, mac, _, _) in enumerate(self.nics)]
        return cmd

    def _launch(self):
        self._near, self._far = socket.socketpair()
        process = subprocess.Popen(self._command(), stdin=subprocess.DEVNULL,
                                   stdout=open(os.path.join(self.dir, "console.log"), "ab"),
                                   stderr=subprocess.STDOUT, pass_fds=[self._far.fileno()],
                                   start_new_session=True)
        self._far.close()
        return process

    def _connect(self, name):
        return self._near

    def kill_power(self):
        if self.process is None:
            return
        try:  # its programs are processes of the host
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()

    stop = kill_power
