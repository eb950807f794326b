"""The thin ways into scan.pxd: what they refuse, and walks that are resumed."""

import numpy as np
import pytest
from test_capture import FRAMES, pcap, small_pcapng

from fwcore._capture import ScanStatus, capture_pack, capture_scan_pcap, capture_scan_pcapng

DATA = np.frombuffer(pcap(FRAMES), np.uint8)


def arrays(n):
    return [np.zeros(n, dtype) for dtype in (np.uint64, np.uint32, np.uint32, np.int64)]


def test_resumed_walk_is_the_whole_walk():
    whole = arrays(10)
    count, end, status = capture_scan_pcap(
        DATA, 24, len(DATA), False, 16, 1000, 262_144, *whole)
    assert (count, end, status) == (len(FRAMES), len(DATA), ScanStatus.END)
    position = 24
    for i in range(len(FRAMES)):
        one = arrays(1)
        count, position, status = capture_scan_pcap(
            DATA, position, len(DATA), False, 16, 1000, 262_144, *one)
        assert (count, status) == (1, ScanStatus.ROOM)
        assert [a[0] for a in one] == [a[i] for a in whole]
    assert position == len(DATA)


def test_no_room_and_no_bytes():
    assert capture_scan_pcap(DATA, 24, len(DATA), False, 16, 1, 9, *arrays(0)) == (
        0, 24, ScanStatus.ROOM)
    assert capture_scan_pcap(DATA, 24, 24, False, 16, 1, 9, *arrays(2)) == (0, 24, ScanStatus.END)


@pytest.mark.parametrize(("begin", "end"), [(5, 4), (0, len(DATA) + 1), (len(DATA) + 1,) * 2])
def test_spans_are_checked(begin, end):
    with pytest.raises(ValueError, match="not within"):
        capture_scan_pcap(DATA, begin, end, False, 16, 1, 9, *arrays(2))
    with pytest.raises(ValueError, match="not within"):
        capture_scan_pcapng(DATA, begin, end, False, np.zeros((0, 7), np.uint64), 0, *arrays(2),
                            np.zeros(2, np.uint16))


def test_arrays_are_checked():
    four = arrays(2)
    with pytest.raises(ValueError, match="16 or 24"):
        capture_scan_pcap(DATA, 24, len(DATA), False, 17, 1, 9, *four)
    with pytest.raises(ValueError, match="one length"):
        capture_scan_pcap(DATA, 24, len(DATA), False, 16, 1, 9, *four[:3], np.zeros(3, np.int64))
    none = np.zeros((0, 7), np.uint64)
    with pytest.raises(ValueError, match="one length"):
        capture_scan_pcapng(DATA, 0, 9, False, none, 0, *four, np.zeros(3, np.uint16))
    with pytest.raises(ValueError, match="7 columns"):
        capture_scan_pcapng(DATA, 0, 9, False, none[:, :6].copy(), 0, *four,
                            np.zeros(2, np.uint16))
    with pytest.raises(ValueError, match="one length"):
        capture_pack(DATA, *four[:3], np.zeros(3, np.int64), np.zeros(1, np.int64),
                     np.zeros(99, np.uint8))


def test_control_blocks_are_left_to_the_caller():
    data = np.frombuffer(small_pcapng()[0], np.uint8)
    count, position, status, *_ = capture_scan_pcapng(
        data, 0, len(data), True, np.zeros((0, 7), np.uint64), 0, *arrays(4),
        np.zeros(4, np.uint16))
    assert (count, position, status) == (0, 0, ScanStatus.CONTROL)


def test_pack_checks_every_bound():
    offset, captured, length, time_ns = arrays(2)
    captured[:] = 4
    data = np.arange(8, dtype=np.uint8)
    out = np.zeros(40, np.uint8)
    both = np.array([1, 0])
    assert capture_pack(data, offset, captured, length, time_ns, both, out) == 40
    for chosen in ([2], [-1]):
        with pytest.raises(ValueError, match="cannot be written"):
            capture_pack(data, offset, captured, length, time_ns, np.array(chosen), out)
    with pytest.raises(ValueError, match="frame 0"):
        capture_pack(data, offset, captured, length, time_ns, both, out[:39])
    for bad in (5, 9, 2**64 - 1):
        offset[1] = bad
        with pytest.raises(ValueError, match="frame 1"):
            capture_pack(data, offset, captured, length, time_ns, both, out)
