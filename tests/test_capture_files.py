"""Captures that nobody here made: counts of capinfos, and Scapy against the native readers.

They are looked for in FWCORE_CAPTURES, or shared/pcaps beside the checkout.
"""

import logging
import os
from pathlib import Path

import pytest

from fwcore.capture import CaptureError, open_capture

FOUND = next((path for path in (
    Path(os.environ.get("FWCORE_CAPTURES", "/nonexistent")),
    Path(__file__).resolve().parents[2] / "shared" / "pcaps",
) if (path / "groundtruth.tsv").is_file()), None)

pytestmark = pytest.mark.skipif(
    FOUND is None, reason="no captures: neither FWCORE_CAPTURES nor ../shared/pcaps has them")


def truth():
    """Rows of groundtruth.tsv by file name."""
    if FOUND is None:
        return {}
    lines = [line.split("\t") for line in (FOUND / "groundtruth.tsv").read_text().splitlines()
             if not line.startswith("#")]
    return {row[0]: dict(zip(lines[0], row, strict=False)) for row in lines[1:]}


TRUTH = truth()
FAULTS = {"bug-6875-01__fuzz.pcap": ("1", "pcap", 228)}
"""What capinfos refuses: packets, format, byte of the fault (a record of 1.4 GB)."""
NOT_BY_SCAPY = {"modified-format.pcap"}


def rows(reader):
    return [(chunk.frame(i), int(chunk.length[i]), int(chunk.time_ns[i]), int(chunk.link[i]))
            for chunk in reader for i in range(len(chunk))]


@pytest.mark.parametrize("name", sorted(TRUTH))
def test_count_is_that_of_capinfos(name):
    row = TRUTH[name]
    packets, form, fault = FAULTS.get(name, (row["packets_capinfos"], row["file_type"], None))
    for chunk_size in (1, 7, 1 << 30):
        with open_capture(str(FOUND / name), chunk_size=chunk_size) as reader:
            assert sum(len(chunk) for chunk in reader) == int(packets)
            assert reader.format == form
            assert (reader.fault and reader.fault.byte_offset) == fault


@pytest.mark.parametrize("reader", ["RawPcapReader", "PcapReader"])
@pytest.mark.parametrize("name", sorted(TRUTH))
def test_scapy_reads_the_same(name, reader):
    logging.getLogger("scapy").setLevel(logging.CRITICAL)
    path = str(FOUND / name)
    if name in NOT_BY_SCAPY:
        with pytest.raises(CaptureError, match="--reader native"):
            open_capture(path, reader=reader)
        return
    native, scapy = open_capture(path), open_capture(path, reader=reader)
    assert rows(scapy) == rows(native)
    assert (scapy.packets, scapy.format) == (native.packets, native.format)
    assert scapy.reader == reader.replace("Pcap", "PcapNg" if native.format == "pcapng" else "Pcap")
    assert (scapy.fault and scapy.fault.byte_offset) == (native.fault and native.fault.byte_offset)
