"""Sums by key: the same whatever the blocks, and bounded by who came first."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, strategies as st

from fwcore._layout import SESSION_DTYPE, EndCause, TcpState
from fwcore._tally import Tally, kinds, taken
from fwcore.counters import host_words
from fwcore.errors import DataError

rows = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2), st.integers(0, 2**40)), max_size=60)


@given(rows, st.integers(0, 12), st.integers(1, 7))
def test_sums_are_those_of_a_dictionary_that_keeps_who_came_first(rows, room, size):
    found = Tally(2, 1, room)
    kept: Counter[tuple[int, int]] = Counter()
    forgotten = 0
    for begin in range(0, len(rows), size):
        part = np.array(rows[begin:begin + size], np.uint64).reshape(-1, 3)
        found.add((part[:, 0], part[:, 1]), (part[:, 2],))
        for high, low, amount in part.tolist():
            if (high, low) in kept or len(kept) < room:
                kept[high, low] += amount
            else:
                forgotten += amount
    assert [(key, sums[0]) for key, sums in found.items()] == list(kept.items())
    assert (found.forgotten(), len(found)) == ([forgotten], len(kept))
    order = list(kept)
    keys = np.array([row[:2] for row in rows], np.uint64).reshape(-1, 2)
    assert found.places(keys.T).tolist() == [
        order.index(key) if key in kept else -1 for key in map(tuple, keys.tolist())]


def test_a_table_grows_to_as_many_keys_as_come():
    found, keys = Tally(1, 1, 1 << 32), np.arange(10_000, dtype=np.uint64) << np.uint64(20)
    for part in np.split(keys, 10):
        twice = np.repeat(part, 2)
        assert found.add((twice,), (twice * np.uint64(0),)).tolist() == list(range(0, 2000, 2))
        found.add((part,), (part + np.uint64(1),))
    assert found.add((keys,), (keys,)).tolist() == []
    assert found.table()[0][:, 0].tolist() == keys.tolist()
    assert found.table()[1][:, 0].tolist() == (2 * keys + np.uint64(1)).tolist()


def test_what_fits_no_tally_is_refused():
    one = np.ones(2, np.uint64)
    for words, sums in ((0, 1), (5, 1), (1, 0)):
        with pytest.raises(DataError):
            Tally(words, sums, 10)
    tally = Tally(2, 1, 10)
    for keys, amounts in (((one,), (one,)), ((one, one), ()), ((one, one[:1]), (one,)),
                          ((one, one), (one[:1],))):
        with pytest.raises(DataError, match="tally"):
            tally.add(keys, amounts)
    with pytest.raises(DataError):
        taken(np.zeros(1, SESSION_DTYPE), tally, Tally(1, 2, 10), np.arange(4, dtype=np.int64))
    with pytest.raises(DataError):
        taken(np.zeros(1, SESSION_DTYPE), Tally(3, 2, 9), Tally(1, 2, 9), np.arange(3))


@given(st.integers(0, 2**32 - 1), st.integers(0, 60))
def test_who_was_taken_is_what_columns_say(seed, count):
    random = np.random.default_rng(seed)
    rows = np.zeros(count, SESSION_DTYPE)
    rows["initiator"] = random.integers(0, 2, (count, 16))
    rows["family"] = random.choice([4, 6], count)
    rows["cause"] = random.choice([*map(int, EndCause), 255], count)
    rows["state"] = random.choice(list(map(int, TcpState)), count)
    rows["policy"] = random.integers(0, 3, count)
    rows["bytes"] = random.integers(0, 2**40, (count, 2))
    rows["last_seen_ns"] = random.integers(0, 50, count)
    rows["ended_ns"] = rows["last_seen_ns"] + random.integers(0, 50, count)
    bounds = np.array([1, 10, 20, 40], np.int64)
    hosts, policies = Tally(3, 2, 1000), Tally(1, 2, 1000)
    found = taken(rows, hosts, policies, bounds)
    gone = rows[np.isin(rows["cause"], (EndCause.EVICTED, EndCause.TENSION, EndCause.KILLED))]
    lost = gone["bytes"].sum(axis=1)
    idle = np.searchsorted(bounds, gone["ended_ns"] - gone["last_seen_ns"], side="right")
    assert found == (len(gone), int(lost.sum()),
                     int((gone["state"] == TcpState.ESTABLISHED).sum()),
                     np.bincount(idle, minlength=5).tolist())
    for tally, keys in ((hosts, host_words(gone)), (policies, (gone["policy"],))):
        same = Tally(len(keys), 2, 1000)
        same.add(keys, (np.ones(len(gone), np.uint64), lost))
        assert list(tally.items()) == list(same.items())


@given(st.lists(st.tuples(st.integers(0, 255), st.integers(0, 255)), max_size=30))
def test_kinds_are_those_that_occur(pairs):
    assert kinds(np.array(pairs, np.uint8).reshape(-1, 2)) == frozenset(pairs)
