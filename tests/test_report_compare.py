"""The join of several runs: sums per flow, outcomes, groups, differences."""

import csv
import weakref
from pathlib import Path

import fake
import numpy as np
import pytest
from frames import dns, ethernet, icmp_error, ip, tcp, udp

from fwcore import policy
from fwcore._layout import SESSION_DTYPE, EndCause, Reason
from fwcore.capture import Chunk
from fwcore.counters import key_text
from fwcore.errors import FwcoreError, LawBroken
from fwcore.replay import Judged, replay
from fwcore.replay.beside import replay_beside
from fwcore.report import compare, compare_page, compare_text, text
from fwcore.report.flow_ledger import FlowLedger
from fwcore.result import Result
from fwcore.settings import load

F, I, B, D = 0, 1, 2, 3  # forward, inspect, bypass, drop  # noqa: E741


def ledger(flow, verdict, length=None, chunk=3, reasons=None):
    made = FlowLedger()
    outcome = np.zeros((len(flow), 2), np.uint8)
    outcome[:, 0] = verdict
    for at, reason in (reasons or {}).items():
        outcome[at, 1] = reason
    length = np.full(len(flow), 100) if length is None else np.array(length)
    for at in range(0, len(flow), chunk):
        part = slice(at, at + chunk)
        own = np.array(flow[part], np.uint64)
        place, _ = made.traffic.add(own, np.arange(at + 1, at + 1 + len(own)), length[part])
        made.add(place, outcome[part], length[part], own, np.zeros(len(own)))
    return made


def by_flow(table, name):
    return dict(zip(table["flow"].tolist(), table[name].tolist(), strict=True))


def test_sums_per_flow_by_hand():
    #          packet  1  2  3  4  5  6  7
    made = ledger([9, 5, 0, 9, 5, 5, 9], [F, D, F, B, F, D, I], [10, 20, 30, 40, 50, 60, 70])
    table = made.table()
    assert table["flow"].tolist() == [9, 5], "in the order of their first packets"
    assert by_flow(table, "first_packet") == {9: 1, 5: 2}
    assert by_flow(table, "packets") == {9: 3, 5: 3}
    assert by_flow(table, "bytes") == {9: 120, 5: 130}
    assert by_flow(table, "dropped") == {9: 0, 5: 2}
    assert by_flow(table, "dropped_bytes") == {9: 0, 5: 80}
    assert by_flow(table, "bypassed_bytes") == {9: 40, 5: 0}


@pytest.mark.parametrize("chunk", [1, 7, 4096])
def test_chunks_do_not_matter(chunk):
    random = np.random.default_rng(4)
    flow, verdict = random.integers(0, 40, 900), random.integers(0, 4, 900)
    length = random.integers(60, 1500, 900)
    made = ledger(flow, verdict, length, chunk).table()
    whole = ledger(flow, verdict, length, 900).table()
    assert made.flows.tobytes() == whole.flows.tobytes()
    assert made.fates.tobytes() == whole.fates.tobytes()
    for at, number in enumerate(made["flow"].tolist()):
        own = flow == number
        assert made["packets"][at] == own.sum()
        assert made["dropped_bytes"][at] == length[own & (verdict == D)].sum()
        assert made["first_packet"][at] == np.flatnonzero(own)[0] + 1


def ended(*flows, cause=EndCause.EVICTED):
    rows = np.zeros(len(flows), dtype=SESSION_DTYPE)
    rows["flow"], rows["cause"] = flows, cause
    return rows


def test_a_session_taken_counts_for_its_flow_and_no_other_end_does():
    made = ledger([7, 8, 7, 0], [F, F, F, F])
    made.take(ended(7, 8, 7))
    made.take(ended(8, cause=EndCause.CLOSED))
    table = made.table()
    assert by_flow(table, "taken") == {7: 2, 8: 1}
    assert by_flow(table, "first_packet") == {7: 1, 8: 2}


def flood(syns):
    """One SYN each of many hosts, a session of a web client in between."""
    frames = [ethernet(ip(f"10.{n >> 8}.{n & 255}.1", "192.0.2.1", 6, tcp(1000, 80, "S")))
              for n in range(syns)]
    return Chunk.from_frames(frames, [n * 1000 for n in range(syns)])


@pytest.mark.parametrize("many", [1, 2])
@pytest.mark.parametrize("when_full", ["tension", "bucket", "replace_oldest"])
def test_what_the_ring_of_victims_forgot_is_counted_all_the_same(when_full, many):
    settings = {"max_connections": 64, "when_full": when_full, "victims_max": 3}
    named = {"small": load("plain", **settings), "large": load("plain", max_connections=600)}
    made = compare.run([flood(500)], named, replay_beside, many)
    small, large = made.harm()
    counted = sum(made.results[0][f"sessions.ended.{name}"] for name in ("evicted", "tension"))
    assert counted > 400 and made.results[0]["victims_forgotten"] == counted - 3
    assert small["flows"]["taken"] == small["sessions_taken"] == counted
    assert large["flows"]["taken"] == large["sessions_taken"] == 0
    assert (made.net()[0]["lost"], made.net()[0]["sessions_taken"]) == (0, -counted)
    top = made.results[0]["top"]
    assert (sum(row["taken"] for row in top["policies"]), top["forgotten_sessions"]) == (counted, 0)


def test_runs_whose_flows_and_counters_disagree_are_a_defect():
    made = comparison()
    made.flows[0].fates["taken"][0] = 1
    with pytest.raises(LawBroken, match="sessions taken"):
        compare.Comparison(made.names, made.results, made.flows)


def test_the_worst_outcome_wins():
    #  flow 1 lived, 2 uninspected, 3 dropped in part, 4 taken and dropped, 5 refused
    made = ledger([1, 1, 2, 2, 3, 3, 4, 4, 5, 5], [F, I, F, B, B, D, F, D, D, D])
    made.take(ended(4))
    found = compare.outcomes(made.table())
    assert [compare.OUTCOMES[at] for at in found] == [
        "lived", "uninspected", "dropped", "taken", "refused"]  # fmt: skip


def nothing_taken():
    data = fake.make(victims=0)
    data["sessions"]["ended"] |= {"evicted": 0, "tension": 0, "killed": 0}
    return data


def comparison():
    data = [nothing_taken() for _ in range(2)]
    flow = [1, 1, 2, 2, 3, 3, 4, 4]
    tables = (
        ledger(flow, [F, F, D, D, F, F, F, D]).table(),
        ledger(flow, [F, F, B, B, F, B, D, D]).table(),
    )
    return compare.Comparison(("off", "pass"), tuple(map(Result, data)), tables)


def test_groups_harm_and_net_by_hand():
    made = comparison()
    groups = {compare.sentence(made.names, row["outcomes"]): row for row in made.groups()}
    assert set(groups) == {
        "lived under both", "refused under off, uninspected under pass",
        "uninspected only under pass", "dropped under off, refused under pass"}  # fmt: skip
    assert groups["uninspected only under pass"]["first_packets"] == [5]
    assert groups["lived under both"]["bytes"] == 200
    off, passed = made.harm()
    assert off["flows"] == {"lived": 2, "denied": 0, "uninspected": 0, "dropped": 1, "taken": 0,
                            "refused": 1}
    assert (off["dropped_bytes"], passed["dropped_bytes"]) == (300, 200)
    (net,) = made.net()
    assert (net["harmed"], net["lost"], net["uninspected"]) == (1, -1, 2)
    assert (net["dropped_bytes"], net["uninspected_bytes"]) == (-100, 300)


def test_what_passed_unscanned_counts_though_something_worse_became_of_its_flow():
    """And what no policy accepts is nobody's loss, nor a session that was taken of a flow all of
    whose packets passed."""
    made = ledger([1, 1, 2, 2, 3, 4, 4], [B, D, B, B, F, D, D],
                  reasons={5: Reason.DENIED, 6: Reason.DENIED})
    made.take(ended(2, 3))
    data = nothing_taken()
    data["sessions"]["ended"]["evicted"] = 2
    (row,) = compare.Comparison(("a",), (Result(data),), (made.table(),)).harm()
    assert row["flows"] == {"lived": 0, "denied": 1, "uninspected": 0, "dropped": 1, "taken": 2,
                            "refused": 0}
    assert (row["harmed"], row["lost"], row["uninspected"], row["sessions_taken"]) == (3, 1, 2, 2)
    assert (row["dropped_packets"], row["denied_packets"], row["uninspected_packets"]) == (1, 2, 3)


def test_runs_of_other_traffic_are_refused():
    data = Result(nothing_taken())
    with pytest.raises(FwcoreError, match="not one capture"):
        compare.Comparison(("a", "b"), (data, data),
                           (ledger([1], [F]).table(), ledger([2], [F]).table()))  # fmt: skip


@pytest.mark.parametrize("other", [
    {"seed": 7}, {"zone": "vlan"}, {"tracker": "linux"}, {"tracker": "linux", "seed": 7},
])
def test_flows_join_whatever_a_setting_makes_of_their_numbers(other):
    """A run's own numbers depend on seed, zone and tracker, what Linux does not track has none."""
    error = icmp_error(ip("10.0.0.1", "192.0.2.1", 17, udp(1, 2)))
    frames = [ethernet(packet, *vlans) for vlans in ((), (5,)) for packet in (
        ip("10.0.0.1", "192.0.2.1", 17, udp(1, 2)), ip("10.0.0.1", "192.0.2.1", 17, udp(1, 2)),
        ip("2001:db8::1", "2001:db8::2", 58, bytes([135, 0, 0, 0, 0, 0, 0, 0])),
        ip("192.0.2.1", "10.0.0.1", 1, error),
        ip("10.0.0.2", "192.0.2.1", 1, bytes([13, 0, 0, 0, 0, 9, 0, 1])),
        ip("192.0.2.1", "10.0.0.2", 1, bytes([14, 0, 0, 0, 0, 9, 0, 1])))]
    chunk = Chunk.from_frames(frames, range(len(frames)))
    small = {"max_connections": 2, "when_full": "bucket"}
    made = compare.run([chunk], {"one": load("plain", **small),
                                 "other": load("plain", **small, **other)},
                       replay_beside, 2)
    one, two = made.flows
    assert one["packets"].tolist() == two["packets"].tolist()
    assert one["packets"].sum() == len(frames) and one["taken"].sum() > 0


def test_on_a_terminal():
    written = compare_text.show(comparison().to_dict(), text.Style(unicode=False))
    assert "4 flows" in written and "refused under off, uninspected under pass" in written
    assert "off costs 1 flow more than pass (+100 B dropped)" in written
    assert max(map(len, written.splitlines())) <= 80


def test_long_names_become_letters():
    made = comparison()
    names = tuple(f"fortios-7,memory_use_threshold_red={red},zone={zone}-of-the-whole-firewall"
                  for red, zone in ((80, "vlan"), (90, "none")))
    written = compare_text.show(compare.Comparison(names, made.results, made.flows).to_dict())
    assert "A = fortios-7,memory_use_threshold_red=80,zone=vlan" in written
    assert "uninspected only under B" in written
    assert max(map(len, written.splitlines())) <= 80


@pytest.mark.parametrize("many", [1, 2, 3])
def test_run_replays_under_so_many_settings_at_once(many):
    asked, taken = [], ended(2)

    def replay(paths, settings, flows, ended, seen):
        asked.append((paths, settings))
        own, found = np.array([1, 2], np.uint64), []
        for which, told, gone in zip(settings, flows, ended, strict=True):
            told(Judged(flood(2), np.array([[F, 0], [which, 0]], np.uint8), own,
                        np.zeros(2, np.uint8)))
            data = nothing_taken()
            if which == D:
                gone(taken)
                data["sessions"]["ended"]["evicted"] = 1
            found.append(Result(data))
        return found

    made = compare.run(["x"], {"a": B, "b": D}, replay, many)
    assert asked == ([(["x"], [B]), (["x"], [D])] if many == 1 else [(["x"], [B, D])])
    assert [row["sessions_taken"] for row in made.harm()] == [0, 1]
    assert len(made.to_dict()["results"]) == 2


# --- who and how much ---

PCAPS = Path(__file__).parent.parent / "pcaps"


@pytest.fixture(scope="module")
def failopen():
    """conserve.pcap with av-failopen pass and off, under its own policies, named."""
    rows = [dict(row) for row in load(file=PCAPS / "conserve.toml").policies]
    rows[0]["name"] = "web out"
    named = {f"av_failopen={value}": load(file=PCAPS / "conserve.toml", av_failopen=value,
                                          policies=rows) for value in ("pass", "off")}
    return compare.run([PCAPS / "conserve.pcap"], named, replay_beside, 2)


def test_every_flow_has_a_name_and_the_policy_that_took_it(failopen):
    """Addresses, ports and policy of a flow are those of its sessions, where it had any."""
    sessions = {}
    settings = load(file=PCAPS / "conserve.toml", av_failopen="pass")
    made = replay(PCAPS / "conserve.pcap", settings)
    for row in made.array("sessions"):
        sessions[key_text(row)] = int(row["policy"])
    flows = failopen.named(np.arange(len(failopen.flows[0])))
    named = {row["flow"]: row["policy"] for row in flows}
    assert len(named) == len(flows) and sessions
    assert {key: named[key] for key in sessions} == sessions


def test_hosts_and_policies_add_up_to_the_harm(failopen):
    for rows in (failopen.hosts(), failopen.by_policy()):
        for each in failopen.harm():
            for key in compare.COST:
                assert sum(row["cost"][each["name"]][key] for row in rows) == each[key]
    assert {row["policy_name"] for row in failopen.by_policy()} >= {"web out"}
    worst = failopen.hosts()[0]["cost"]
    assert worst["av_failopen=off"]["lost"] > worst["av_failopen=pass"]["lost"]


def test_the_answer_names_whom_it_cost_most(failopen):
    written = compare_text.show(failopen.to_dict(), text.Style(unicode=False))
    pass_, off = failopen.harm()
    host = failopen.hosts()[0]
    assert f"off costs {off['lost'] - pass_['lost']} flows more than pass" in written
    assert host["host"] in written and "web out" in written
    assert max(map(len, written.splitlines())) <= 80


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_every_flow_in_a_file(failopen, tmp_path, monkeypatch, ending):
    monkeypatch.setattr(compare, "BLOCK", 100)
    path = tmp_path / f"flows.{ending}"
    failopen.write_flows(str(path))
    if ending == "csv":
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file))
    else:
        rows = pytest.importorskip("pyarrow.parquet").read_table(path).to_pylist()
    assert len(rows) == len(failopen.flows[0])
    for each in failopen.harm():
        name = each["name"]
        kinds = [row[f"{name}: outcome"] for row in rows]
        assert {kind: kinds.count(kind) for kind in compare.OUTCOMES} == each["flows"]
        assert sum(int(row[f"{name}: bytes dropped"]) for row in rows) == (
            each["dropped_bytes"] + each["denied_bytes"])
    lost = [row for row in rows if row["av_failopen=off: outcome"] == "refused"]
    assert lost and all(row["initiator"] in row["flow"] for row in lost)


def test_what_labels_have_in_common_is_left_out():
    short = compare_text.short_names
    assert short(["av_failopen=pass", "av_failopen=off"]) == ["pass", "off"]
    assert short(["fortios-7,seed=1", "fortios-7,seed=2"]) == ["1", "2"]
    assert short(["fortios-7", "fortios-5"]) == ["fortios-7", "fortios-5"]
    assert short(["a.toml,seed=1", "a.toml,midstream=drop"]) == ["seed=1", "midstream=drop"]
    assert short(["x" * 40, "y" * 40]) == ["A", "B"]
    assert len(set(short([f"{'x' * 40}{n}" for n in range(60)]))) == 60


def test_more_than_four_settings_stand_under_one_another():
    named = {f"max_connections={n}": load("plain", max_connections=n, when_full="bucket")
             for n in (600, 64, 32, 16, 8)}
    made = compare.run([flood(200)], named, replay_beside)
    written = compare_text.show(made.to_dict())
    assert max(map(len, written.splitlines())) <= 80
    table = written.split("unscanned\n")[1].splitlines()[:5]
    assert [line.split()[0] for line in table] == ["600", "64", "32", "16", "8"]
    pytest.importorskip("bokeh")
    page = compare_page.render(made)
    assert "--heat:100%" in page and "The same traffic under 5 settings" in page


def test_a_policy_of_a_zone_takes_flows_of_that_zone():
    frames = [ethernet(ip("10.0.0.1", "192.0.2.1", 17, udp(1, 2)), vlan) for vlan in (5, 6)]
    rows = [{"id": 7, "zone": 6}, {"id": 8}]
    named = {str(seed): load("plain", zone="vlan", seed=seed, policies=rows) for seed in (1, 2)}
    made = compare.run([Chunk.from_frames(frames, [0, 1])], named, replay_beside)
    assert made.policy_ids.tolist() == [[8], [8]]        # one flow of the frames: its first packet


def test_a_refused_flow_that_the_other_end_begins_anew_is_not_said_to_be_scanned():
    """Its policy asks for inspection; midstream in the grace it passes under another's."""
    policies = [{"id": 1, "protocol": "tcp", "ports": [8080], "inspection": "proxy"}, {"id": 2}]
    frames = [dns(), ethernet(ip("10.0.0.9", "192.0.2.1", 6, tcp(40000, 8080, "S"))),
              *[ethernet(ip("192.0.2.1", "10.0.0.9", 6, tcp(8080, 40000, "A", 900)))] * 3]
    chunk = Chunk.from_frames(frames, [at * 10**9 for at in range(len(frames))])
    settings = load("fortios-7", policies=policies, av_failopen="off", ram_bytes=64 << 20,
                    max_connections=1024, pressure=[{"at_s": 0, "add_bytes": 19 << 20}])
    sums = FlowLedger()
    result = replay([chunk], settings, flows=sums.packets, ended=sums.take)
    joined = compare.Comparison(("a", "b"), (result, result), (sums.table(),) * 2,
                                (policy.parse(policies),) * 2)
    (row, _) = joined.harm()
    assert row["uninspected_bytes"] == 0
    assert row["turned"] == {"flows": 1, "bytes": sum(map(len, frames[2:]))}
    told = " ".join(compare_text.sentences(joined.to_dict(), ["a", "b"]))
    assert "2.79 KiB of 1 flow unscanned since the other end began it anew" in told
    assert "none unscanned" not in told


def test_an_address_is_shown_whole():
    """A part of one reads like another."""
    ends = "fe80::c50d:519f:96a4:e108", "ff02::1:2"
    frames = [ethernet(ip(*ends, 17, udp(port, 547))) for port in range(1000, 1009)]
    named = {str(size): load("plain", max_connections=size, when_full="refuse") for size in (2, 64)}
    made = compare.run([Chunk.from_frames(frames, range(9))], named, replay_beside)
    lines = compare_text.show(made.to_dict()).splitlines()
    assert any(line.split()[:2] == ["hosts", "host"] for line in lines)
    assert any(line.split()[:1] == [ends[0]] for line in lines)
    flows = [line for line in lines if line.lstrip().startswith("[fe80") and "frame" not in line]
    assert {len(line) - len(line.lstrip()) for line in flows} <= {18}
    assert "conserve" not in "\n".join(lines) and "policy 0 (" not in "\n".join(lines)


def test_a_long_name_leaves_its_figures_their_room(failopen):
    made = failopen.to_dict()
    name = "Headquarters LAN to Internet with full inspection of what it is"
    for row in made["policies"]:
        row["policy_name"] = name if row["policy_name"] == "web out" else row["policy_name"]
    lines = compare_text.show(made).splitlines()
    at = next(number for number, line in enumerate(lines) if line.strip() == name)
    assert "lost pass" in "\n".join(lines[:at]).rsplit("policies", 1)[1]
    assert len(lines[at + 1].split()) >= 4 and max(map(len, lines)) <= 80


def widened(made, settings):
    """A comparison under so many settings: each costs what the first did, of every kind."""
    made = dict(made)
    first = made["settings"][0]
    made["settings"] = [f"seed={n}" for n in range(settings)]
    made["results"] = [made["results"][0]] * settings
    made["harm"] = [dict(made["harm"][0], name=name) for name in made["settings"]]
    made["groups"] = []
    for title in ("hosts", "policies"):
        made[title] = [dict(row, cost={name: dict(row["cost"][first], lost=1_000,
                                                  dropped_bytes=123 << 30, sessions_taken=4_000,
                                                  uninspected_bytes=456 << 30)
                                       for name in made["settings"]}) for row in made[title]]
    return made


@pytest.mark.parametrize("settings", [2, 4, 6, 12])
def test_no_figure_is_left_out_in_silence(failopen, settings):
    """Of four figures under four settings 80 columns have room for some: the others stand below."""
    lines = compare_text.show(widened(failopen.to_dict(), settings)).splitlines()
    assert max(map(len, lines)) <= 80
    told = "\n".join(lines)
    for title in ("\n  hosts ", "\n  policies "):
        part = told.partition(title)[2].partition("\n\n")[0]
        for word in ("lost", "dropped", "taken", "unscanned"):
            heads = [f"{word} {short}" in part
                     for short in compare_text.short_names([f"seed={n}" for n in range(settings)])]
            missing = word in part.partition("no room for ")[2]
            assert all(heads) != missing and any(heads) != missing


def test_settings_that_cost_alike_are_told_once():
    frames = [ethernet(ip("10.0.0.1", "192.0.2.1", 17, udp(port, 53))) for port in range(1, 9)]
    named = {f"plain,seed={seed}": load("plain", seed=seed) for seed in range(5)}
    made = compare.run([Chunk.from_frames(frames, range(8))], named, replay_beside).to_dict()
    told = compare_text.sentences(made, compare_text.short_names(made["settings"]))
    assert len(told) == len(set(told)) == 2


@pytest.mark.parametrize("many", [1, 2])
def test_no_engine_stays_of_a_run_that_is_done(many):
    """Of ten settings ten tables would stand side by side."""
    engines, standing = [], []

    def watched(*given, **more):
        standing.append(sum(engine() is not None for engine in engines))
        results = replay_beside(*given, **more)
        engines.extend(weakref.ref(result._tables["sessions"].whole.__self__.engine)
                       for result in results)
        return results

    frames = [ethernet(ip("10.0.0.1", "192.0.2.1", 17, udp(port, 53))) for port in range(1, 9)]
    named = {str(seed): load("plain", seed=seed) for seed in range(3)}
    made = compare.run([Chunk.from_frames(frames, range(8))], named, watched, many)
    assert len(made.results) == len(engines) == 3
    assert standing == [0] * (3 if many == 1 else 2)
