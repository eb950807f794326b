"""Meters against DPDK's rte_meter: whole sequences of colours by RFC 2697, 2698 and 4115.

Its check functions are in a header and take the time and a plain profile: one C file, no DPDK
running. It refills in whole periods and forgets what part of a period a full bucket was, so that
profiles here have periods of whole nanoseconds and packets come at common multiples of them.
"""

import random
import shutil
import subprocess
from math import lcm

import pytest

from fwcore.reference.meter import Account
from fwcore.reference.rows import MeterRow, RungRow

SEQUENCES = 60
PACKETS = 400
PERIODS = (8, 100, 250, 1000, 1250, 4000, 10_000)
"""Nanoseconds; each divides 8 * 10^9, so that k bytes a period are whole bit/s."""

SOURCE = r"""
#include <stdio.h>
#include <stdint.h>
#include <inttypes.h>
#include <rte_meter.h>

/* ALGORITHM CBS SECOND PERIOD BYTES PERIOD BYTES PACKETS, then TIME LENGTH ... -> colours */
int main(void)
{
    int algorithm;
    uint64_t cbs, second, p1, b1, p2, b2, time;
    uint32_t n, length;
    while (scanf("%d %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64
                 " %" SCNu32, &algorithm, &cbs, &second, &p1, &b1, &p2, &b2, &n) == 8) {
        struct rte_meter_srtcm_profile sp = {cbs, second, p1, b1};
        struct rte_meter_trtcm_profile tp = {cbs, second, p1, b1, p2, b2};
        struct rte_meter_trtcm_rfc4115_profile fp = {cbs, second, p1, b1, p2, b2};
        struct rte_meter_srtcm s = {0, cbs, second};
        struct rte_meter_trtcm t = {0, 0, cbs, second};
        struct rte_meter_trtcm_rfc4115 f = {0, 0, cbs, second};
        while (n--) {
            if (scanf("%" SCNu64 " %" SCNu32, &time, &length) != 2)
                return 1;
            int colour =
                algorithm == 2697 ? rte_meter_srtcm_color_blind_check(&s, &sp, time, length)
                : algorithm == 2698 ? rte_meter_trtcm_color_blind_check(&t, &tp, time, length)
                : rte_meter_trtcm_rfc4115_color_blind_check(&f, &fp, time, length);
            putchar('0' + colour);
        }
        putchar('\n');
    }
    return 0;
}
"""


@pytest.fixture(scope="module")
def rte(tmp_path_factory):
    """The program that colours with rte_meter."""
    compiler = shutil.which("cc")
    if not compiler or not shutil.which("pkg-config"):
        pytest.skip("no C compiler or no pkg-config")
    flags = subprocess.run(["pkg-config", "--cflags", "libdpdk"], capture_output=True, text=True)
    if flags.returncode:
        pytest.skip("libdpdk-dev is not installed")
    folder = tmp_path_factory.mktemp("rte")
    (folder / "colour.c").write_text(SOURCE)
    subprocess.run([compiler, "-O1", *flags.stdout.split(), str(folder / "colour.c"), "-o",
                    str(folder / "colour")], check=True)
    return str(folder / "colour")


def sequence(draw, algorithm):
    """A profile and packets: (row, line for the program, [(time, bytes)])."""
    p1, p2 = draw.choice(PERIODS), draw.choice(PERIODS)
    b1, b2 = draw.randrange(1, 2000), draw.randrange(1, 4000)
    depth1, depth2 = draw.randrange(1, 20_000), draw.randrange(1, 40_000)
    step = p1 if algorithm == "rfc2697" else lcm(p1, p2)
    rates = b1 * 8 * 10**9 // p1, 0 if algorithm == "rfc2697" else b2 * 8 * 10**9 // p2
    row = MeterRow("m", (RungRow(rates[0], depth1), RungRow(rates[1], depth2)), algorithm)
    # Packets come about as fast as both rates together let through, so that all colours occur.
    pace = max(1, 700 * p1 * p2 // (b1 * p2 + b2 * p1) // step)
    time, packets = 0, []
    for _ in range(PACKETS):
        packets.append((time, draw.choice((draw.randrange(1, 1501), depth1, depth2, 1))))
        time += step * (0 if draw.random() < 0.3 else draw.randrange(0, 3 * pace + 1))
    head = (algorithm[3:], depth1, depth2, p1, b1, p2, b2, len(packets))
    text = " ".join(map(str, head)) + "\n" + "\n".join(f"{t} {n}" for t, n in packets)
    return row, text, packets


@pytest.mark.parametrize("algorithm", ["rfc2697", "rfc2698", "rfc4115"])
def test_whole_sequences_of_colours_are_those_of_rte_meter(rte, algorithm):
    draw = random.Random(algorithm)
    drawn = [sequence(draw, algorithm) for _ in range(SEQUENCES)]
    done = subprocess.run([rte], input="\n".join(text for _, text, _ in drawn), text=True,
                          capture_output=True, check=True, timeout=60)
    told = done.stdout.split()
    seen = set()
    for (row, _, packets), colours in zip(drawn, told, strict=True):
        account, mine = Account(row), ""
        for time, size in packets:
            colour = account.colour(time, size)
            mine += str(colour)
            if colour < 2:
                account.debit(time, size, colour)
        assert mine == colours, row
        seen |= set(mine)
    assert seen == {"0", "1", "2"}
