"""Sums by key: the same whatever the blocks, and bounded by who came first."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, strategies as st

from fwcore._layout import SESSION_DTYPE, EndCause, Reason, TcpState, Verdict
from fwcore._tally import FATE_DTYPE, FLOW_DTYPE, Fates, Flows, Tally, kinds, taken
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
def test_flows_and_their_fates_are_those_of_a_dictionary(rows, size):
    flows, fates, kept, named, first_named = Flows(), Fates(), {}, {}, []
    for begin in range(0, len(rows), size):
        part = rows[begin:begin + size]
        known = len(kept)
        keys, own, number, outcome, length, from_b = columns_of(part, begin + 1)
        place, new = flows.add(keys, number, length)
        names = fates.add(place, own, outcome, length, from_b)
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
            turned = verdict == Verdict.FORWARD and from_b != sums["from_b"]
            sums["turned"] += turned * length
            sums["fate"] += dropped or verdict == Verdict.BYPASS or turned
            if own:
                named.setdefault(own, flow)
        assert [part[at][0] for at in new.tolist()] == list(kept)[known:]
        order = {flow: at + 1 for at, flow in enumerate(kept)}
        assert place.tolist() == [order.get(row[0], 0) for row in part]
        first_named += [part[at][:2] for at in names.tolist()]
    table, found = flows.table(), fates.table()
    assert len(flows) == len(kept)
    for name in FLOW_DTYPE.names:
        assert table[name].tolist() == [sums[name] for sums in kept.values()], name
    assert fates.begun().tolist() == [sums["from_b"] == 1 for sums in kept.values()]
    harmed = [(at, sums) for at, sums in enumerate(kept.values()) if sums["fate"]]
    assert found["place"].tolist() == [at for at, _ in harmed]
    for name in FATE_DTYPE.names[1:]:
        assert found[name].tolist() == [sums[name] for _, sums in harmed], name
    assert {own: flow for flow, own in reversed(first_named)} == named


def block(first, many, verdict=Verdict.FORWARD):
    """Packets of flows of their own: what `Flows.add` and `Fates.add` take of them."""
    number = np.arange(first, first + many, dtype=np.uint64)
    zero = np.zeros(many, np.uint8)
    length, outcome = np.full(many, 9, np.uint32), np.zeros((many, 2), np.uint8)
    outcome[:, 0] = verdict
    return (number * np.uint64(1 << 33), number, length), (number, outcome, length, zero)


def test_a_table_of_flows_stays_as_it_was_given():
    found = Flows()
    for begin in range(1, 5001, 500):
        found.add(*block(begin, 500)[0])
    table = found.table()
    before = table.copy()
    found.add(*block(1, 5000)[0])
    assert table.tobytes() == before.tobytes()
    assert found.table()["packets"].tolist() == [2] * 5000


def test_fates_grow_and_sessions_taken_are_theirs():
    flows, fates = Flows(), Fates()
    for begin in range(1, 5001, 500):
        seen, met = block(begin, 500, Verdict.DROP if begin > 2500 else Verdict.FORWARD)
        fates.add(flows.add(*seen)[0], *met)
    fates.take(np.array([4, 5000, 4], np.uint32))
    table = fates.table()
    assert table["place"].tolist() == [3, *range(2500, 5000)]
    assert table["taken"].tolist() == [2, *[0] * 2499, 1]
    assert table["dropped_bytes"].tolist() == [0, *[9] * 2500]


def test_what_fits_no_flows_is_refused():
    flows, fates = Flows(), Fates()
    seen, met = block(1, 1)
    for at in range(len(seen)):
        with pytest.raises(DataError, match="a row a packet"):
            flows.add(*seen[:at], np.repeat(seen[at], 2, axis=0), *seen[at + 1:])
    place, _ = flows.add(*seen)
    given = (place, *met)
    for at in range(len(given)):
        with pytest.raises(DataError, match="a row a packet"):
            fates.add(*given[:at], np.repeat(given[at], 2, axis=0), *given[at + 1:])
    with pytest.raises(DataError, match="two bytes"):
        fates.add(place, met[0], np.zeros((1, 3), np.uint8), *met[2:])
    with pytest.raises(DataError, match="in order"):
        fates.add(place + np.uint32(1), *met)
    fates.add(*given)
    for wrong in (0, 2, 2**32 - 1):
        with pytest.raises(DataError, match="no packet"):
            fates.take(np.array([1, wrong], np.uint32))
    assert len(fates.table()) == 0
