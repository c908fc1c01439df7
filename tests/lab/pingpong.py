# SPDX-License-Identifier: GPL-2.0-or-later
"""Writes that depend on each other across two primaries, and the check of a copy.

Each side writes numbered blocks to its own volume, block number n at slot n % SLOTS, with O_DIRECT. A
block carries the number of the other side's last block that was *completed* before this one was
begun; the sides tell each other over TCP, so there is one chain of cause and effect across both.

  pingpong.py DEVICE listen PORT            on one primary
  pingpong.py DEVICE connect HOST PORT      on the other
  pingpong.py check COPY COPY               of both: prints the last number of each
"""
import mmap
import os
import socket
import struct
import sys
import time

BLOCK = 4096
SLOTS = 512
HEADER = struct.Struct("<8sQQ")  # magic, own number, other side's completed number
MAGIC = b"PINGPONG"


def block(number, cause):
    head = HEADER.pack(MAGIC, number, cause)
    return head + bytes([number % 251]) * (BLOCK - len(head))


def peer(arguments):
    if arguments[0] == "listen":
        server = socket.create_server(("0.0.0.0", int(arguments[1])))
        return server.accept()[0]
    while True:
        try:
            return socket.create_connection((arguments[1], int(arguments[2])))
        except OSError:
            time.sleep(0.1)


def main():
    fd = os.open(sys.argv[1], os.O_RDWR | os.O_DIRECT)
    buffer = mmap.mmap(-1, BLOCK)
    other = peer(sys.argv[2:])
    other.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    number, cause = 0, 0
    if sys.argv[2] == "connect":
        other.sendall(struct.pack("<Q", 0))
    while True:
        data = b""
        while len(data) < 8:
            got = other.recv(8 - len(data))
            if not got:
                return
            data += got
        cause, = struct.unpack("<Q", data)
        for _ in range(3):  # some that depend on each other on one side only
            number += 1
            buffer[:] = block(number, cause)
            os.pwrite(fd, buffer, number % SLOTS * BLOCK)
        other.sendall(struct.pack("<Q", number))


class Broken(AssertionError):
    pass


def read_copy(path):
    """{slot: (number, cause)} of one volume's copy; raises on a block that nobody wrote."""
    found = {}
    with open(path, "rb") as f:
        for slot in range(SLOTS):
            data = f.read(BLOCK)
            if data == bytes(BLOCK):
                continue
            magic, number, cause = HEADER.unpack_from(data)
            if magic != MAGIC or number % SLOTS != slot or data != block(number, cause):
                raise Broken(f"{path}: slot {slot} holds a block that was never written")
            found[slot] = (number, cause)
    return found


def check_volume(path, found):
    """The copy must be all writes through some number and none after it; returns that number."""
    last = max((number for number, _ in found.values()), default=0)
    for number in range(max(1, last - SLOTS + 1), last + 1):
        here = found.get(number % SLOTS, (0, 0))[0]
        if here != number:
            raise Broken(f"{path}: holds write {last} but slot {number % SLOTS} has {here}, "
                         f"wanted {number}")
    return last


def check_copies(path_a, path_b):
    """Both copies together must be one consistent point; returns the last number of each."""
    copies = [read_copy(p) for p in (path_a, path_b)]
    last = [check_volume(p, c) for p, c in zip((path_a, path_b), copies)]
    for own, other, path in ((0, 1, path_a), (1, 0, path_b)):
        cause = max((c for _, c in copies[own].values()), default=0)
        if cause > last[other]:
            raise Broken(f"{path}: holds a write caused by write {cause} of the other volume, which "
                         f"ends at {last[other]}")
    return tuple(last)


if __name__ == "__main__":
    if sys.argv[1] == "check":
        print(*check_copies(*sys.argv[2:]))
    else:
        main()
