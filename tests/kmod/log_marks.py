#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Checks the log of everything that a volume wrote to its device, metadata area included (dm-log-writes),
at each entry as if the power went there:

  a region is marked in the bitmap on disk before anything is written into it, and
  its mark goes only behind a flush that came after the last write there.

  log_marks.py LOG VOLUME-SECTORS BITMAP-SECTOR      the bitmap begins at that sector of the device

What comes before a mark in the log is only read. So whatever a loss of power leaves of the writes that are not flushed, a region that may differ from the
hub's copy is marked. Log format: the kernel's Documentation/admin-guide/device-mapper/log-writes.rst.
"""
import struct
import sys

MAGIC, SECTOR, REGION = 0x6a736677736872, 512, 512
FLUSH, FUA, DISCARD, MARK = 1, 2, 4, 8
BLOCK, HEAD, BITS = 4096, 32, 4064 * 8


def entries(path):
    """(sector, sectors, flags, data)"""
    with open(path, "rb") as log:
        magic, _, count, size = struct.unpack("<QQQI", log.read(28))
        assert magic == MAGIC and size == SECTOR, f"{path} is no log of writes"
        at = size
        for _ in range(count):
            log.seek(at)
            sector, sectors, flags, length = struct.unpack("<QQQQ", log.read(32))
            at += size
            data = b""
            if not flags & DISCARD:
                log.seek(at)
                data = log.read(sectors * SECTOR)
                at += sectors * SECTOR
            yield sector, sectors, flags, data


class Bitmap:
    def __init__(self):
        self.blocks, self.counters = {}, {}

    def write(self, at, data):
        """The log has a FUA write at once and others with the next flush. A disk never puts an older write
        of a block over a newer one, so the block's own counter says which is."""
        for i in range(0, len(data), BLOCK):
            index, counter = (at + i) // BLOCK, struct.unpack_from("<Q", data, i + 16)[0]
            if counter < self.counters.get(index, 0):
                continue
            self.counters[index] = counter
            self.blocks[index] = data[i + HEAD:i + BLOCK]

    def has(self, region):
        bit = region % BITS
        block = self.blocks.get(region // BITS)
        return block is not None and block[bit // 8] >> bit % 8 & 1


def check(path, volume_sectors, bitmap_sector):
    bitmap, unflushed = Bitmap(), set()
    writes = marks = drops = 0
    begun = False
    for n, (sector, sectors, flags, data) in enumerate(entries(path)):
        if flags & FLUSH:
            unflushed.clear()
        if flags & MARK:
            begun = True
            unflushed.clear()
        if not sectors:
            continue
        if sector >= bitmap_sector:
            before = {r for r in unflushed if bitmap.has(r)}
            bitmap.write((sector - bitmap_sector) * SECTOR, data)
            lost = [r for r in before if not bitmap.has(r)]
            assert not begun or not lost, f"entry {n}: regions {lost} lose their mark before they are flushed"
            marks += 1
            drops += not flags & FUA
        elif begun and sector < volume_sectors:
            for region in range(sector // REGION, (sector + sectors - 1) // REGION + 1):
                assert bitmap.has(region), f"entry {n}: region {region} is written without a mark"
                if not flags & FUA:
                    unflushed.add(region)
            writes += 1
    print(writes, marks, drops)


check(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
