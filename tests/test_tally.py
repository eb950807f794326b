"""Sums by key: the same whatever the blocks, and bounded by who came first."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, strategies as st

from fwcore._layout import SESSION_DTYPE, EndCause, Reason, TcpState, Verdict
from fwcore._tally import FLOW_DTYPE, Flows, Tally, kinds, taken
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


# --- flows ----------------------------------------------------------------------------------------

packets = st.lists(st.tuples(
    st.sampled_from([0, 1, 2, 3, 5, 2**64 - 1]), st.sampled_from([0, 7, 8, 2**63]),
    st.sampled_from(Verdict), st.sampled_from([Reason.HIT, Reason.DENIED]),
    st.integers(0, 2**32 - 1), st.integers(0, 1)), max_size=120)


def columns_of(part, first):
    flow, own, verdict, reason, length, from_b = (zip(*part, strict=True) if part else [()] * 6)
    return (np.array(flow, np.uint64), np.array(own, np.uint64),
            np.arange(first, first + len(part), dtype=np.uint64),
            np.array([verdict, reason], np.uint8).T.copy().reshape(-1, 2),
            np.array(length, np.uint32), np.array(from_b, np.uint8))


@given(packets, st.integers(1, 70))
def test_flows_are_those_of_a_dictionary(rows, size):
    found, kept, named, first_named = Flows(), {}, {}, []
    for begin in range(0, len(rows), size):
        part = rows[begin:begin + size]
        known = len(kept)
        new, names = found.add(*columns_of(part, begin + 1))
        for at, (flow, own, verdict, reason, length, from_b) in enumerate(part):
            if not flow:
                continue
            sums = kept.setdefault(flow, Counter(
                {"flow": flow, "first_packet": begin + at + 1, "from_b": from_b}))
            dropped, denied = verdict == Verdict.DROP, reason == Reason.DENIED
            for name, holds in (("packets", True), ("dropped", dropped),
                                ("denied", dropped and denied),
                                ("bypassed", verdict == Verdict.BYPASS)):
                sums[name] += holds
                sums["bytes" if name == "packets" else f"{name}_bytes"] += holds * length
            sums["forwarded_b" if from_b else "forwarded_a"] += (
                verdict == Verdict.FORWARD) * length
            if own:
                named.setdefault(own, flow)
        assert [part[at][0] for at in new.tolist()] == list(kept)[known:]
        first_named += [part[at][:2] for at in names.tolist()]
    table = found.table()
    for name in FLOW_DTYPE.names:
        if name not in ("own", "key"):
            assert table[name].tolist() == [sums[name] for sums in kept.values()], name
    assert {own: flow for flow, own in reversed(first_named)} == named


def test_a_table_of_flows_stays_as_it_was_given():
    found, flow = Flows(), np.arange(1, 5001, dtype=np.uint64) * np.uint64(1 << 33)
    zero = np.zeros(5000, np.uint64)
    rest = (zero, zero, np.zeros((5000, 2), np.uint8), zero.astype(np.uint32),
            zero.astype(np.uint8))
    for begin in range(0, 5000, 500):
        part = slice(begin, begin + 500)
        found.add(flow[part], *(each[part] for each in rest))
    found.set_keys(4998, np.arange(10, dtype=np.uint64).reshape(2, 5))
    table = found.table()
    before = table.copy()
    found.add(flow, *rest)
    found.take(flow[:2])
    found.set_keys(0, np.ones((1, 5), np.uint64))
    assert table.tobytes() == before.tobytes()
    assert table["key"][-1].tolist() == [5, 6, 7, 8, 9]
    assert found.table()["packets"].tolist() == [2] * 5000
    assert found.table()["taken"].tolist() == [1, 1] + [0] * 4998


def test_what_fits_no_flows_is_refused():
    found, one = Flows(), np.ones(1, np.uint64)
    row = one, one, one, np.zeros((1, 2), np.uint8), one.astype(np.uint32), one.astype(np.uint8)
    for at in range(len(row)):
        with pytest.raises(DataError, match="a row a packet"):
            found.add(*row[:at], np.repeat(row[at], 2, axis=0), *row[at + 1:])
    with pytest.raises(DataError, match="two bytes"):
        found.add(*row[:3], np.zeros((1, 3), np.uint8), *row[4:])
    found.add(*row)
    with pytest.raises(DataError, match="no packet"):
        found.take(one + one)
    for begin, key in ((1, np.zeros((1, 5), np.uint64)), (0, np.zeros((1, 4), np.uint64)),
                       (2**64 - 1, np.zeros((1, 5), np.uint64))):
        with pytest.raises(DataError, match="as many keys"):
            found.set_keys(begin, key)
