# SPDX-License-Identifier: GPL-2.0-or-later
"""Guests with Debian's kernels, their disks, and links between them that can be cut."""
