"""Engine and twin on captures: golden ones, real ones, and frames with bytes changed or cut off."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from examples import SHARE
from hypothesis import HealthCheck, given, settings as hypothesis_settings, strategies as st
from twin import assert_same

from fwcore.capture import Chunk, open_capture
from fwcore.settings import load

HERE = Path(__file__).resolve().parent.parent
GOLDEN = sorted((HERE / "pcaps").glob("*.pcap*"))
REAL = Path(os.environ.get("FWCORE_CAPTURES", HERE.parent / "shared" / "pcaps"))
CAPTURES = sorted(p for p in REAL.glob("*cap*") if p.suffix != ".tsv") if REAL.is_dir() else []
POLICIES = [
    {"id": 1, "protocol": "tcp", "ports": [80, 25], "action": "accept", "inspection": "proxy"},
    {"id": 2, "protocol": "tcp", "action": "accept", "inspection": "flow+proxy"},
    {"id": 3, "protocol": "udp", "action": "accept", "inspection": "flow"},
    {"id": 4, "action": "accept"},
]
VARIANTS = {
    "plain": {"seed": 3},
    "tension": {"max_connections": 64, "buckets": 5, "when_full": "tension", "zone": "vlan"},
    "linux": {"personality": "linux-conntrack", "max_connections": 16, "buckets": 3},
    "fortios-7": {
        "personality": "fortios-7", "ram_bytes": 150 * 4096, "base_bytes": 100 * 4096,
        "max_connections": 200, "policies": POLICIES, "ips_throughput_bps": 1_000_000,
        "ips_socket_bytes": 20_000},
    "idledrop": {
        "personality": "fortios-5", "ram_bytes": 150 * 4096, "base_bytes": 90 * 4096,
        "max_connections": 200, "policies": POLICIES, "av_failopen": "idledrop",
        "cache_limit_bytes": 0, "midstream": "allow",
        "pressure": [{"at_s": 1.0, "owner": "base", "leak_bytes_per_s": 20_000}]},
}


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.name)
def test_golden_captures(path, variant):
    assert_same(load(**VARIANTS[variant]), list(open_capture(str(path))))


@pytest.mark.skipif(not CAPTURES, reason="no folder of real captures (FWCORE_CAPTURES)")
@pytest.mark.parametrize("variant", ["plain", "fortios-7", "idledrop"])
@pytest.mark.parametrize("path", CAPTURES, ids=lambda path: path.name)
def test_real_captures(path, variant):
    assert_same(load(**VARIANTS[variant]), list(open_capture(str(path))))


def golden_frames():
    """(frame, wire length, link) of every golden capture, once each."""
    found = {}
    for path in GOLDEN:
        for chunk in open_capture(str(path)):
            for i in range(len(chunk)):
                found[chunk.frame(i)[:200], int(chunk.length[i]), int(chunk.link[i])] = None
    return list(found)


FRAMES = golden_frames()
LINKS = (1, 0, 108, 101, 228, 229, 12, 113, 276, 105)
changes = st.lists(st.tuples(st.integers(0, 90), st.integers(0, 255)), max_size=4)
damaged = st.lists(st.tuples(
    st.integers(0, len(FRAMES) - 1), changes, st.one_of(st.none(), st.integers(0, 120)),
    st.one_of(st.none(), st.integers(0, 200)), st.one_of(st.none(), st.sampled_from(LINKS))),
    min_size=1, max_size=12)


def damage(rows):
    """Frames with bytes changed, cut at both lengths, or under another link type."""
    frames, lengths, links = [], [], []
    for which, changed, cut, wire, link in rows:
        frame, length, own = FRAMES[which]
        frame = bytearray(frame)
        for at, value in changed:
            if at < len(frame):
                frame[at] = value
        frames.append(bytes(frame[:cut]))
        lengths.append(length if wire is None else wire)
        links.append(own if link is None else link)
    chunk = Chunk.from_frames(frames, [10**18 + i * 10**6 for i in range(len(rows))], lengths)
    return Chunk(chunk.data, chunk.offset, chunk.captured, chunk.length, chunk.time_ns,
                 np.array(links, dtype=np.uint16))


@hypothesis_settings(
    max_examples=SHARE, deadline=None, report_multiple_bugs=False,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(damaged, st.sampled_from(["none", "vlan"]))
def test_damaged_frames(rows, zone):
    assert_same(load("plain", zone=zone, seed=1, max_connections=64), [damage(rows)])
