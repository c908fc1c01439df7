# SPDX-License-Identifier: GPL-2.0-or-later
"""What a guest boots: an uncompressed kernel and a small initramfs, both made once and kept.

The guest's root is the host's own root file system, read-only, under a tmpfs overlay, so there is
no image to build: what is installed or built on the host is in the guest at its own path.
"""
import ctypes
import functools
import glob
import mmap
import os
import re
import shutil
import subprocess
import tempfile
import threading
import time

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
CACHE = os.path.join(TOP, "build", "lab")

# What the initramfs needs before the host's /lib/modules is mounted.
BOOT_MODULES = ("virtio_pci", "virtio_blk", "virtio_net", "virtio_console", "virtio_rng", "9p",
                "9pnet_virtio", "overlay")

INIT = """#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys /dev /host /upper /root
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t devtmpfs dev /dev
for m in $(/bin/busybox cat /modules); do /bin/busybox insmod /$m; done
/bin/busybox mount -t 9p -o ro,trans=virtio,version=9p2000.L,cache=loose,msize=262144 host /host || exec /bin/busybox sh
/bin/busybox mount -t tmpfs -o size=75% upper /upper
/bin/busybox mkdir /upper/data /upper/work
/bin/busybox mount -t overlay -o lowerdir=/host,upperdir=/upper/data,workdir=/upper/work overlay /root
/bin/busybox umount /proc
/bin/busybox mount -o move /dev /root/dev
exec /bin/busybox switch_root /root @GUEST_INIT@
"""


@functools.cache
def tsc_khz():
    """Frequency of the time-stamp counter: a guest under emulation has the host's. A guest that measures
    it itself while others boot is wrong by up to a factor of five, and so are all its time-outs."""
    # rdtsc; shl $32, %rdx; or %rdx, %rax; ret
    code = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    code.write(b"\x0f\x31\x48\xc1\xe2\x20\x48\x09\xd0\xc3")
    ticks = ctypes.CFUNCTYPE(ctypes.c_uint64)(ctypes.addressof(ctypes.c_char.from_buffer(code)))
    began, start = ticks(), time.monotonic_ns()
    time.sleep(0.1)
    return (ticks() - began) * 1000000 // (time.monotonic_ns() - start)


def newest_kernel(series):
    """The newest installed kernel of a series like "6.1": its full version."""
    found = [os.path.basename(p)[len("vmlinuz-"):] for p in glob.glob(f"/boot/vmlinuz-{series}*")]
    found = [v for v in found if re.match(re.escape(series) + r"([.+-]|$)", v)]
    if not found:
        raise RuntimeError(f"no kernel {series} in /boot; run tools/install-deps")
    return max(found, key=lambda v: [int(n) for n in re.findall(r"\d+", v)])


def _newer(path, than):
    return os.path.exists(path) and os.path.getmtime(path) > os.path.getmtime(than)


def _decompress(image):
    """The ELF kernel inside a bzImage."""
    for magic, tool in ((b"\xfd7zXZ\x00", "xz"), (b"\x28\xb5\x2f\xfd", "zstd"),
                        (b"\x1f\x8b\x08", "gzip")):
        at = image.find(magic)
        while at >= 0:
            out = subprocess.run([tool, "-dc"], input=image[at:], capture_output=True).stdout
            if out.startswith(b"\x7fELF"):
                return out
            at = image.find(magic, at + 1)
    raise RuntimeError("the kernel image holds no compression that is known here")


def _made_once(make):
    """For what is made when it is first asked for, maybe by two labs at once."""
    lock = threading.Lock()

    @functools.wraps(make)
    def made(version):
        with lock:
            return make(version)
    return made


@_made_once
def vmlinux(version):
    """An uncompressed kernel: under emulation it boots seconds faster than a bzImage."""
    source, path = f"/boot/vmlinuz-{version}", os.path.join(CACHE, f"vmlinux-{version}")
    if not _newer(path, source):
        os.makedirs(CACHE, exist_ok=True)
        with open(source, "rb") as f:
            elf = _decompress(f.read())
        with open(path + ".new", "wb") as f:
            f.write(elf)
        os.rename(path + ".new", path)
    return path


def _module_files(version):
    names = []
    for module in BOOT_MODULES:
        out = subprocess.run(["modprobe", "-S", version, "--show-depends", module],
                             capture_output=True, text=True, check=True).stdout
        for line in out.splitlines():
            words = line.split()
            if words and words[0] == "insmod" and words[1] not in names:
                names.append(words[1])
    return names


def _plain_module(path, directory):
    """Copies a module uncompressed; returns its name there."""
    name = os.path.basename(path)
    for suffix, tool in ((".xz", "xz"), (".zst", "zstd")):
        if name.endswith(suffix):
            name = name[:-len(suffix)]
            with open(os.path.join(directory, name), "wb") as out:
                subprocess.run([tool, "-dc", path], stdout=out, check=True)
            return name
    shutil.copy(path, os.path.join(directory, name))
    return name


@_made_once
def initramfs(version):
    guest_init = os.path.join(TOP, "tests", "lab", "guest-init")
    path = os.path.join(CACHE, f"initramfs-{version}")
    if _newer(path, __file__) and _newer(path, f"/boot/vmlinuz-{version}"):
        return path
    os.makedirs(CACHE, exist_ok=True)
    with tempfile.TemporaryDirectory() as root:
        os.mkdir(os.path.join(root, "bin"))
        shutil.copy("/bin/busybox", os.path.join(root, "bin", "busybox"))
        modules = [_plain_module(m, root) for m in _module_files(version)]
        with open(os.path.join(root, "modules"), "w") as f:
            f.write("\n".join(modules) + "\n")
        with open(os.path.join(root, "init"), "w") as f:
            f.write(INIT.replace("@GUEST_INIT@", guest_init))
        os.chmod(os.path.join(root, "init"), 0o755)
        subprocess.run(f"cd {root} && find . | cpio -o -H newc --quiet > {path}.new", shell=True,
                       check=True)
    os.rename(path + ".new", path)
    return path
