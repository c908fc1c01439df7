# SPDX-License-Identifier: GPL-2.0-or-later
"""Bad input to the cascade: one clear line, non-zero exit, nothing changed, the rest untouched."""
import signal

from tests.lab import image
from tests.lab.cascade import CONFIG, GROUP, MiB
from tests.lab.lab import wait_until
from tests.system.test_cascade_basics import fio_on_both

DAEMON = "timeout 20 {}/daemon/dmcascaded"
FRAMES = f"/usr/bin/python3 -S -E {image.TOP}/tests/lab/bad_frames.py"


def test_bad_frames_are_refused_and_nobody_is_disturbed(cascade):
    """Short, oversize, wrong magic, version, checksum, stranger: a line each, while writes go on."""
    cascade.up()
    before = cascade.status("H")["journal"]["received_seq"]
    out = cascade.g["P1"].run(f"{FRAMES} {cascade.g['H'].address} 7420 {GROUP}").out
    for line in out.splitlines():
        assert ": refused: " in line or ": closed" in line, out
    for word in ("magic", "checksum", "version", "claims a body", "takes no part", "belongs to"):
        assert word in out, f"{word} is missing in:\n{out}"
    assert cascade.status("H")["journal"]["received_seq"] == before
    fio_on_both(cascade, io="256k")
    cascade.wait_drained()
    cascade.compare()
    cascade.down()


def refused_start(cascade, node, words, exit_code=None):
    result = cascade.g[node].run(f"{DAEMON.format(image.TOP + '/build/release')}", check=False)
    text = result.err.strip()
    assert result.rc not in (0, 124) and words in text, result
    assert exit_code is None or result.rc == exit_code, result
    assert len(text.splitlines()) <= 3 and "terminate" not in text, text


def group_reason(cascade, node, words):
    cascade.start_daemon(node)
    wait_until(lambda: cascade.opened(node), 20, "the daemon answers")
    journal = wait_until(lambda: (lambda j: j if j["state"] == "failed" else None)
                         (cascade.journal_at(node)), 20, "the group says that it failed")
    assert words in journal["reason"], journal
    cascade.stop_daemon(node)


def test_bad_configuration_is_refused_with_its_place(cascade):
    cascade.configure()
    guest = cascade.g["H"]
    good = guest.run(f"cat {CONFIG}").out
    for change, words in (("s/^hub = .*/hub = \"nobody\"/", "names node 'nobody'"),
                          ("s/^ship = .*/shipp = \"stored\"/", "did you mean 'ship'"),
                          ("s/^uuid = .*/uuid = 12/", "must be text"),
                          ("s/^version = 1/version = [/", f"{CONFIG}:3:")):
        guest.write_file(CONFIG, good)
        guest.run(f"sed -i '{change}' {CONFIG}")
        refused_start(cascade, "H", words, exit_code=8)
        check = cascade.tool("H", "config check", check=False)
        assert check.rc == 8 and words in check.err and f"{CONFIG}:" in check.err, check
    guest.write_file(CONFIG, good)
    assert cascade.tool("H", "config check").rc == 0
    refused = guest.run(f"{image.TOP}/build/release/daemon/dmcascaded --node x", check=False)
    assert refused.rc == 8 and "no node 'x'" in refused.err, refused


def test_bad_journals_are_refused_and_left_as_they_are(cascade):
    """Not a journal, another group's, truncated, damaged: said in status, nothing written."""
    cascade.configure()
    guest, disk = cascade.g["H"], "/dev/lab/journal"
    guest.run(f"blkdiscard -z {disk}")
    group_reason(cascade, "H", "is not a journal; run 'dmcascade journal format'")
    cascade.format_journals()
    again = cascade.tool("H", "journal format shop", check=False)
    assert again.rc == 5 and "already is a journal" in again.err, again
    guest.run(f"sed -i 's/{GROUP}/{GROUP[:-1]}9/' {CONFIG}")
    group_reason(cascade, "H", "is the journal of group")
    cascade.configure()
    for offset in (0, 262144):
        guest.run(f"dd if=/dev/urandom of={disk} bs=1 seek={offset + 100} count=8 conv=notrunc")
    before = guest.run(f"md5sum {disk}").out
    group_reason(cascade, "H", "superblock are unusable")
    assert guest.run(f"md5sum {disk}").out == before
    small = cascade.tool("H", "journal format shop --force --size 64Q", check=False)
    assert small.rc != 0 and "write a size like" in small.err, small


def test_damage_in_the_middle_of_a_journal_stops_the_hub(cascade):
    """I4: damage with valid batches behind it is no torn tail; the node says so and changes nothing."""
    cascade.up()
    cascade.lab.links["H-R"].cut()
    fio_on_both(cascade, io="1M")
    cascade.stop_daemon("H", signal.SIGKILL)
    guest = cascade.g["H"]
    guest.run(f"dd if=/dev/urandom of=/dev/lab/journal bs=512 seek={(MiB + 65536) // 512} count=8 "
              "conv=notrunc")
    group_reason(cascade, "H", "the journal is damaged at batch")
    cascade.lab.links["H-R"].heal()
    for name, primary in (("orders", "P1"), ("ledger", "P2")):
        cascade.tool(primary, f"remove {name}")
    cascade.stop_daemons()


def test_commands_say_what_is_wrong(cascade):
    cascade.configure()
    for node, words, code in (("P1 create nothing", "no such volume", 4),
                              ("P1 create ledger", "its primary is p2", 5),
                              ("P1 create", "name a VOLUME or --all", 2),
                              ("P1 frobnicate", "", 2),
                              ("P1 journal format", "keeps no journal", 5),
                              ("H journal format nothing", "no such group", 4),
                              ("P1 --config /nowhere status", "/nowhere", 8)):
        where, _, command = node.partition(" ")
        result = cascade.tool(where, command, check=False)
        assert result.rc == code and words in result.err, (command, result)
    result = cascade.tool("P1", "--json create nothing", check=False)
    assert '"schema":"dmcascade.error/1"' in result.out, result
