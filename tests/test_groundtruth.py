"""Decode figures against an independent tool's, on real captures that nobody here made.

The figures (tshark 4.0, capinfos) stand beside the captures, in groundtruth.tsv; what counts is the
outermost IP header. ``DIFFERENCES`` says where and why fwcore's differ; everything else is equal.
"""

from __future__ import annotations

import csv
import os
from pathlib import Path

import numpy as np
import pytest

from fwcore.capture import open_capture
from fwcore.engine import Engine

HERE = Path(__file__).resolve().parent.parent
FOLDER = Path(os.environ.get("FWCORE_CAPTURES", HERE.parent / "shared" / "pcaps"))
TABLE = FOLDER / "groundtruth.tsv"
LONG = {f"{name}_s": 10**6 for name in (
    "tcp", "tcp_halfopen", "tcp_halfclose", "tcp_timewait", "tcp_rst", "udp", "icmp", "other")}

# file -> {figure: fwcore's}, why
DIFFERENCES = {
    "80211http.pcap": (
        {"tcp_packets": 0, "tcp_flows": 0}, "IEEE 802.11: a link type fwcore does not read"),
    "hdlc-http_1tx.pcap": (
        {"tcp_packets": 0, "tcp_flows": 0}, "Cisco HDLC: a link type fwcore does not read"),
    "wpa2-psk-linksys.cap": ({}, "IEEE 802.11, encrypted"),
    "bug-6875-01__fuzz.pcap": (
        {"packets": 1}, "one packet and then a record of 1.4 GB, which capinfos refuses to count"),
    "fuzz-2006-06-26-2594.pcap": (
        {"tcp_packets": 47, "udp_packets": 502, "tcp_flows": 20, "udp_flows": 219},
        "bits flipped: lengths that contradict the wire are malformed here, a guess in tshark"),
    "ip_fragmented_garbage.pcap": (
        {"tcp_packets": 2, "tcp_flows": 2},
        "two first fragments say a TCP header of 16 and 8 bytes: below 20 is malformed"),
    "ipv6_ext_headers.pcap": (
        {"udp_packets": 0, "udp_flows": 0}, "100 extension headers: more than 8 are malformed"),
    "tcp-session-decode-malformed-ipv4__input.pcap": (
        {"tcp_packets": 11}, "an IP option of zero length: options are stepped over, not read"),
}


def rows():
    if not TABLE.is_file():
        return []
    with TABLE.open() as lines:
        return list(csv.DictReader((s for s in lines if not s.startswith("#")), delimiter="\t"))


def figures(path):
    """packets, packets with ports and distinct flows by protocol, as fwcore finds them."""
    engine = Engine(log=True, max_connections=4096, seed=0, **LONG)
    with open_capture(str(path)) as reader:
        for chunk in reader:
            engine.process(chunk)
    ended = [*engine.collect_ended(), engine.sessions()]
    sessions = np.concatenate(ended)
    decode = engine.counters()["decode"]
    assert all(engine.laws().values())
    return {
        "packets": engine.counters()["packets"],
        "tcp_packets": decode["tcp"], "udp_packets": decode["udp"],
        "tcp_flows": len(np.unique(sessions["flow"][sessions["protocol"] == 6])),
        "udp_flows": len(np.unique(sessions["flow"][sessions["protocol"] == 17])),
    }


def wanted(row):
    columns = {
        "packets": "packets_capinfos", "tcp_packets": "outer_tcp_packets_with_ports",
        "udp_packets": "outer_udp_packets_with_ports", "tcp_flows": "outer_tcp_5tuples",
        "udp_flows": "outer_udp_5tuples"}
    found = {name: int(row[column]) for name, column in columns.items() if row[column] != "-"}
    return found | DIFFERENCES.get(row["file"], ({}, ""))[0]


@pytest.mark.skipif(not TABLE.is_file(), reason="no real captures with figures (FWCORE_CAPTURES)")
@pytest.mark.parametrize("row", rows(), ids=lambda row: row["file"])
def test_figures_agree(row):
    found = figures(FOLDER / row["file"])
    assert {name: found[name] for name in wanted(row)} == wanted(row)
