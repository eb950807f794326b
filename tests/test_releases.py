"""What leaves links in files: frames at their release, rows with their fate, departures; told."""

import csv
import json

import numpy as np
import pytest
from frames import ethernet, icmp_error, ip, tcp, udp
from hypothesis import given, settings as hypothesis_settings, strategies as st

from fwcore import _shaper, units
from fwcore._columns import mark_frames
from fwcore.capture import Chunk, open_capture
from fwcore.engine import Engine
from fwcore.errors import DataError, FrameError
from fwcore.flow import parse as flow_of
from fwcore.replay import replay
from fwcore.replay.beside import replay_beside
from fwcore.replay.releases import FATE, UNDECIDED, Spool, packed
from fwcore.report import compare, compare_text, explain, html, shaping, text
from fwcore.result import Result
from fwcore.settings import load

MS = 10**6
START = 10**18
HOSTS = ("10.0.0.1", "10.0.0.2")
SIX = ("2001:db8::1", "2001:db8::2")
WAYS = {"IPv4": ({}, 0), "IPv6": ({}, 0), "DSCP": ({"dscp": 46}, 46)}
# A line of 1 Mbit/s: a frame of 1000 bytes takes 8 ms. Port 53 goes before the rest.
LINES = {
    "links": [{"name": "w", "rate": "1Mbit"}],
    "classes": [{"link": "w", "id": 1, "priority": 1, "limit_packets": 3},
                {"link": "w", "id": 2, "priority": 0}],
    "meters": [{"name": "m", "rungs": [{"rate": "8Mbit", "depth": 2000, "dscp": 46},
                                       {"rate": "8Mbit", "depth": 5000}]}],
    "shapings": [{"id": 1, "ports": [53], "protocol": "udp", "meters": ["m"], "link": "w",
                  "class": 2}, {"id": 2, "protocol": "udp", "link": "w", "class": 1}]}


def frame(port, size=1000):
    return ethernet(ip(*HOSTS, 17, udp(1000, port, size - 42)))


def chunk():
    """Eight packets: four of class 1, two of class 2, one that nothing shapes, one too many."""
    ports = (80, 80, 53, 53, 80, 80, 80)
    frames = [frame(port) for port in ports] + [ethernet(ip(*HOSTS, 6, tcp(1, 2, "S")))]
    return Chunk.from_frames(frames, [START] * 7 + [START + 20 * MS])


def run(cut, tmp_path, **files):
    """A replay in pieces, with files by name."""
    whole = chunk()
    parts = [whole.slice(at, min(len(whole), at + cut)) for at in range(0, len(whole), cut)]
    paths = {name: str(tmp_path / f"{cut}.{file}") for name, file in files.items()}
    return replay(parts, load(seed=1, max_connections=64, **LINES), **paths), paths


@pytest.mark.parametrize("cut", [1, 3, 8])
def test_frames_are_written_when_they_leave_and_in_that_order(cut, tmp_path):
    """On the line at 0: packet 1, then by priority 3 and 4, then 2, 5, 6; the seventh found three
    waiting. Packet 8 passes at 20 ms between the releases of 16 and 24."""
    _, paths = run(cut, tmp_path, write="w.pcap", departures="d.csv")
    with open_capture(paths["write"]) as reader:
        (left,) = list(reader)
    assert (left.time_ns - START).tolist() == [
        8 * MS, 16 * MS, 20 * MS, 24 * MS, 32 * MS, 40 * MS, 48 * MS]
    ports = [int.from_bytes(left.frame(at)[36:38], "big") for at in range(len(left))]
    assert ports == [80, 53, 2, 53, 80, 80, 80]
    marks = [left.frame(at)[15] >> 2 for at in range(len(left))]
    assert marks == [0, 46, 0, 46, 0, 0, 0]
    with open(paths["departures"]) as file:
        rows = list(csv.DictReader(file))
    assert [(row["packet"], row["class"], row["fate"], row["dscp"]) for row in rows] == [
        ("1", "1", "sent", ""), ("3", "2", "sent", "46"), ("4", "2", "sent", "46"),
        *((number, "1", "sent", "") for number in "256")]


@pytest.mark.parametrize("way", [*WAYS])
def test_what_codel_tells_of_is_written_as_congestion_experienced(way, tmp_path):
    """A packet each 8 ms: the 15th is the first that stood above the target for 100 ms."""
    mark, dscp = WAYS[way]
    whole = ethernet(ip(*(HOSTS if way != "IPv6" else SIX), 17, udp(1, 2, 938)))[:1000]
    whole = bytearray(whole.ljust(1000, b"\0"))
    whole[15] |= 0x20 if way == "IPv6" else 2               # ECT(0)
    settings = load(seed=1, max_connections=64, links=[LINES["links"][0]], meters=[
        {"name": "m", "rungs": [{"rate": "1Gbit", "depth": 10**6} | mark]}], classes=[
        {"link": "w", "id": 1, "discard": "codel", "ecn": True}],
        shapings=[{"meters": ["m"], "link": "w"}])
    paths = {name: str(tmp_path / name) for name in ("write", "departures")}
    replay([Chunk.from_frames([bytes(whole)] * 40, [START] * 40)], settings, **paths)
    with open_capture(paths["write"]) as reader:
        (left,) = list(reader)
    words = [int.from_bytes(left.frame(at)[14:16], "big") for at in range(40)]
    bits = [word >> 4 & 255 if way == "IPv6" else word & 255 for word in words]
    assert [at + 1 for at, each in enumerate(bits) if each & 3 == 3] == [15, 28, 37]
    assert {each & 3 for each in bits} == {2, 3} and {each >> 2 for each in bits} == {dscp}
    with open(paths["departures"]) as file:
        rows = list(csv.DictReader(file))
    assert [row["packet"] for row in rows if row["ce"] == "1"] == ["15", "28", "37"]
    assert {row["dscp"] for row in rows} == {str(mark.get("dscp", ""))}
    ends = "[{}]:1-[{}]:2/udp".format(*SIX) if way == "IPv6" else "{}:1-{}:2/udp".format(*HOSTS)
    life = explain.run([Chunk.from_frames([bytes(whole)] * 40, [START] * 40)], Engine(
        settings, log=True, departures=True, arrivals=True), flow_of(ends))
    assert [row["packet"] for row in life["rows"] if row["met"].get("ce")] == [15, 28, 37]
    assert " ".join(explain.show(life).split()).count("after 120 ms, told of congestion (CE)") == 1


@pytest.mark.parametrize("cut", [1, 3, 8])
def test_rows_of_verdicts_have_their_fate(cut, tmp_path):
    _, paths = run(cut, tmp_path, verdicts="v.csv")
    with open(paths["verdicts"]) as file:
        rows = list(csv.DictReader(file))
    assert [row["packet"] for row in rows] == [*"12345678"]
    assert [row["wait_ns"] and int(row["wait_ns"]) // MS for row in rows] == [
        8, 32, 16, 24, 40, 48, "", 0]
    assert [row["fate"] for row in rows] == ["sent"] * 6 + ["", ""]
    assert [row["reason"] for row in rows][6] == "queue_full"
    assert [row["class"] for row in rows] == ["1", "1", "2", "2", "1", "1", "1", ""]
    assert [(row["meter"], row["colour"], row["dscp"]) for row in rows[2:5]] == [
        ("m", "0", "46"), ("m", "0", "46"), ("", "", "")]
    assert int(rows[7]["release_ns"]) == START + 20 * MS


def test_rows_of_verdicts_as_parquet_have_empty_cells(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    _, paths = run(8, tmp_path, verdicts="v.parquet")
    table = parquet.read_table(paths["verdicts"])
    assert table["wait_ns"].null_count == 1
    assert table["dscp"].to_pylist() == [None, None, 46, 46, None, None, None, None]


def test_without_rows_of_shaping_files_are_what_they_were(tmp_path):
    settings = load(seed=1, max_connections=64)
    paths = {name: str(tmp_path / name) for name in ("write", "verdicts", "departures")}
    replay([chunk()], settings, **paths)
    with open_capture(paths["write"]) as reader:
        (left,) = list(reader)
    assert len(left) == 8
    assert "release_ns" not in (tmp_path / "verdicts").read_text()
    assert (tmp_path / "departures").read_text() == "packet,time_ns,link,class,fate,dscp,ce\n"


# --- told -----------------------------------------------------------------------------------------


def test_the_result_says_what_links_and_meters_did(tmp_path):
    result, _ = run(8, tmp_path)
    found = result.data["shaping"]
    (link,), (meter,) = found["links"], found["meters"]
    assert (link["name"], link["packets"], link["busy_ns"]) == ("w", 6, 48 * MS)
    assert (meter["name"], meter["passed"]["packets"], meter["by_colour"]) == ("m", 2, [2, 0, 0])
    assert found["drain_ns"] == 28 * MS
    assert found["classes"][0]["delay_ns"]["max"] == 48 * MS
    assert 16 * MS <= found["classes"][1]["delay_ns"]["p50"] <= 17 * MS
    assert found["open_loop"] == {"tcp_share_of_bytes": 0.0, "flows_hit": 1}
    told = text.summary(result)
    assert all(len(line) <= 80 for line in told.splitlines())
    assert "w:1" in told and "Open loop" in told and "Shaping dropped 1 packet" in told
    page = html.render(result)
    assert "<h2>Shaping" in page and "w:2" in page
    for sent, said in ((0, "Open loop: 0.0 %"), (6, "Live: 0.0 %")):    # a tap shapes nobody
        result.data["live"] = {"interfaces": {"a": {"sent": 0}, "b": {"sent": sent}}}
        assert said in shaping.open_loop(result)
    del result.data["live"]
    result.to_json(str(tmp_path / "r.json"))
    again = Result.load(str(tmp_path / "r.json"))
    assert text.summary(again) == told


def test_what_could_never_leave_is_named(tmp_path):
    """Frames of 1000 bytes at a bucket of 600 that must hold a packet; those of 500 leave."""
    tight = {"links": [{"name": "w"}], "shapings": [{"id": 1, "protocol": "udp", "link": "w"}],
             "classes": [{"link": "w", "id": 7, "ceiling": "1Mbit", "ceiling_burst": 600,
                          "need": "packet"}]}
    frames = [frame(53), frame(53), frame(53, 500), ethernet(ip(*HOSTS, 6, tcp(1, 2, "S")))]
    result = replay([Chunk.from_frames(frames, [START] * 4)],
                    load(seed=1, max_connections=64, **tight))
    (row,) = result.data["shaping"]["classes"]
    assert (row["giants"], row["packets"], row["dropped"]["tail"]) == (2, 1, 2)
    for told in (text.summary(result), html.render(result)):
        told = " ".join(told.split())
        assert ("2 packets larger than what a bucket ever holds (giants): dropped by class w:7"
                in told)
        assert "1 packet met neither meter nor link: no row matched" in told
    assert "giants" not in text.summary(run(8, tmp_path)[0])


def test_two_settings_differ_by_what_they_police_and_delay(tmp_path):
    policed = {**LINES, "shapings": [{"id": 1, "protocol": "udp", "meters": ["n"]}], "meters": [
        {"name": "n", "rungs": [{"rate": "1Mbit", "depth": 3000}]}]}
    made = compare.run([chunk()], {
        "A": load(seed=1, max_connections=64, **policed),
        "B": load(seed=1, max_connections=64, **LINES)}, replay_beside)
    told = " ".join(compare_text.show(made.to_dict()).split())
    assert "4 packets policed" in told
    assert "delayed by 48 ms at p99" in told
    assert told.count("Open loop: 0.0 % of the shaped bytes are TCP") == 1


@pytest.mark.parametrize(("gap", "said"), [(8 * MS, True), (8 * MS - 1, False)])
def test_priorities_of_a_link_that_never_filled_are_said_to_change_nothing(gap, said):
    """A frame takes 8 ms: what comes no closer together never waits behind another one."""
    few = Chunk.from_frames([frame(port) for port in (80, 53, 80)], [START + n * gap
                                                                      for n in range(3)])
    told = " ".join(text.summary(replay([few], load(seed=1, max_connections=64, **LINES))).split())
    assert ("nothing ever waited at link w: its priorities changed nothing" in told) is said


def test_a_drop_after_a_packet_was_let_in_is_told_apart():
    """Its verdict stands, so that its flow is none that lost a packet."""
    lines = {"links": [{"name": "w", "rate": "8kbit"}], "shapings": [{"id": 1, "link": "w"}],
             "classes": [{"link": "w", "id": 1, "discard": "codel"}]}
    frames = Chunk.from_frames([frame(53)] * 5, [START] * 5)
    found = replay([frames], load(seed=1, max_connections=64, **lines)).data["shaping"]
    assert found["classes"][0]["dropped"]["codel"] == 1
    assert "1 packet dropped by queues while waiting, delayed" in shaping.short(found)
    found["classes"][0]["dropped"]["tail"] = 2
    assert "3 packets dropped by queues, 1 of them while waiting, delayed" in shaping.short(found)


def test_delays_of_nothing_are_not_told():
    """Without a line, and within its buckets, a packet leaves as it comes."""
    lines = {"links": [{"name": "w"}], "shapings": [{"id": 1, "link": "w"}]}
    made = replay([Chunk.from_frames([frame(53)] * 2, [START, START + 1])],
                  load(seed=1, max_connections=64, **lines))
    assert shaping.sentence(made.data["shaping"]) == "Shaping dropped 0 packets."


def test_one_and_several_are_told_apart():
    links = [{"name": name, "rate": 1_000_000} for name in ("w", "x")]
    classes = [{"link": name, "id": at, "priority": at} for name in ("w", "x") for at in (1, 2)]
    rows = [{"id": 1, "protocol": "udp", "ports": [53], "link": "x"}, {"id": 2, "link": "w"}]
    made = replay([Chunk.from_frames([frame(53), frame(80)], [START, START + 1])], load(
        seed=1, max_connections=64, links=links, classes=classes, shapings=rows))
    told = " ".join(text.summary(made).split())
    assert "1 packet, 1000 B" in told
    assert "nothing ever waited at links w, x: their priorities changed nothing" in told


def test_a_flows_life_has_its_meters_its_queue_and_its_wait():
    engine = Engine(load(seed=1, max_connections=64, **LINES), log=True, departures=True,
                    arrivals=True)
    life = explain.run([chunk()], engine, flow_of("10.0.0.1:1000-10.0.0.2:53/udp"))
    first, second = (row["met"] for row in life["rows"])
    met = {"name": "m", "colour": 0, "level": 5000, "rungs": 2, "counts": "byte"}
    assert first["meters"] == [met]
    assert second["meters"] == [{**met, "level": 5000 - 986}]
    assert (first["class"], first["waiting"], first["wait_ns"]) == (2, 0, 16 * MS)
    assert (second["waiting"], second["wait_ns"], second["fate"]) == (1, 24 * MS, "sent")
    told = " ".join(explain.show(life).split())
    left = units.count(5000 - 986).split()
    assert (f"m: rung 1 of 2, {' '.join(left)} bytes in the bucket; marked DSCP 46; class w:2"
            " behind 1 packet") in told
    assert json.dumps(life)


@pytest.mark.parametrize(("colour", "rungs", "said"), [
    (0, 1, "meter m: 1 byte in the bucket;"), (1, 1, "meter m: too much, 1 byte in the bucket;"),
    (2, 2, "meter m: beyond its 2 rungs, 1 byte in the bucket;"),
    (1, 2, "meter m: rung 2 of 2, 1 byte in the bucket;")])
def test_a_flows_life_says_which_rung_a_packet_is_of(colour, rungs, said):
    met = {"name": "m", "colour": colour, "level": 1, "rungs": rungs, "counts": "byte"}
    assert explain.shaped_text({"meters": [met], "dscp": 3}).startswith(said)


# --- parts ----------------------------------------------------------------------------------------


def checksum(header):
    total = sum(int.from_bytes(header[at:at + 2], "big") for at in range(0, len(header), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


@hypothesis_settings(max_examples=60)
@given(st.integers(0, 128), st.integers(0, 255), st.integers(0, 65535))
def test_a_mark_leaves_the_checksum_right(mark, before, identifier):
    packet = bytearray(ip(*HOSTS, 17, udp(1, 2, 8), identifier=identifier))
    packet[1] = before
    packet[10:12] = b"\0\0"
    packet[10:12] = (0xFFFF - checksum(packet[:20])).to_bytes(2, "big")
    six = bytearray(ip("2001:db8::1", "2001:db8::2", 17, udp(1, 2, 8)))
    six[0], six[1] = 0x60 | before >> 4, (before & 15) << 4 | 5
    made = Chunk.from_frames([ethernet(bytes(packet)), ethernet(bytes(six)), b"\0" * 60], [0] * 3)
    mark_frames(made, np.full(3, mark, np.uint8))
    dscp = before >> 2 if mark == _shaper.MARKED_CE_ALONE else mark % _shaper.MARKED_CE
    ecn = before & 3 if mark < _shaper.MARKED_CE else 3
    header = made.frame(0)[14:34]
    assert checksum(header) == 0xFFFF
    assert (header[1] >> 2, header[1] & 3) == (dscp, ecn)
    word = int.from_bytes(made.frame(1)[14:16], "big")
    assert (word >> 12, word >> 6 & 63, word >> 4 & 3, word & 15) == (6, dscp, ecn, 5)
    assert made.frame(2) == b"\0" * 60


def test_a_mark_that_is_none_is_refused():
    made = Chunk.from_frames([frame(53)], [0])
    with pytest.raises(DataError, match="mark 129"):
        mark_frames(made, np.full(1, 129, np.uint8))
    mark_frames(made, np.full(1, 255, np.uint8))


def test_marks_of_frames_that_are_not_there_are_refused():
    made = Chunk.from_frames([frame(53)], [0])
    with pytest.raises(DataError, match="2 marks for 1 frames"):
        mark_frames(made, np.zeros(2, np.uint8))
    far = Chunk(made.data.copy(), np.full(1, 2**64 - 10, np.uint64), made.captured, made.length,
                made.time_ns, made.link)
    with pytest.raises(FrameError, match="frame 0 reaches past the data"):
        mark_frames(far, np.zeros(1, np.uint8))
    given = iter([np.zeros(1, np.uint8), made.data])

    class Changing:
        offset, captured, length, link = made.offset, made.captured, made.length, made.link
        data = property(lambda self: next(given))

    with pytest.raises(FrameError, match="two lengths"):
        mark_frames(Changing(), np.zeros(1, np.uint8))


def test_chosen_frames_are_copied_side_by_side():
    whole = chunk()
    made = packed(whole, np.array([5, 0, 7]))
    assert [made.frame(at) for at in range(3)] == [whole.frame(at) for at in (5, 0, 7)]
    assert made.time_ns.tolist() == whole.time_ns[[5, 0, 7]].tolist()
    assert len(packed(whole, np.zeros(0, np.int64))) == 0


def test_rows_wait_until_all_of_a_chunk_have_their_fate():
    spool, fates = Spool(), np.zeros(2, FATE)
    fates["fate"] = UNDECIDED
    sent = np.zeros(1, FATE)
    for turn in range(2):     # the spool begins anew when it is empty
        spool.put(1, "first", fates)
        spool.put(3, "second", np.zeros(1, FATE))
        spool.put(4, "third", fates)
        assert list(spool.ready()) == []
        for packet in (2, 5, 4):
            sent["release_ns"] = packet + turn
            spool.note(np.array([packet], np.uint64), sent)
            assert list(spool.ready()) == []
        sent["release_ns"] = 1
        spool.note(np.array([1], np.uint64), sent)
        found = [(name, rows["release_ns"].tolist()) for name, rows in spool.ready()]
        assert found == [("first", [1, 2 + turn]), ("second", [0]), ("third", [4 + turn, 5 + turn])]
    spool.close()


def test_rows_that_wait_again_where_more_did_before_are_not_those_of_before():
    """The spool's file is longer than what waits in it now: each row goes to its own place."""
    spool, waits, known = Spool(), np.zeros(1, FATE), np.zeros(3, FATE)
    waits["fate"] = UNDECIDED
    sent = np.zeros(1, FATE)
    for turn in range(1, 3):
        known["release_ns"] = turn
        spool.put(1, "first", waits)
        spool.put(2, "second", waits)
        spool.note(np.array([2], np.uint64), sent)
        spool.put(3, "third", known)
        assert list(spool.ready()) == []
        spool.note(np.array([1], np.uint64), sent)
        found = [(name, rows["release_ns"].tolist()) for name, rows in spool.ready()]
        assert found == [("first", [0]), ("second", [0]), ("third", [turn] * 3)]
    spool.close()


def test_an_errors_frame_meets_no_meter_and_says_so():
    quoted = ip(*HOSTS, 17, udp(1000, 53))
    error = ethernet(ip(*HOSTS[::-1], 1, icmp_error(quoted, 3)))
    engine = Engine(load(seed=1, max_connections=64, **LINES), departures=True, arrivals=True)
    engine.process(Chunk.from_frames([frame(53), error], [START] * 2))
    rows = engine.arrivals()
    assert (rows["meter"][:, 0] == [0, _shaper.NO_METER]).all()
    assert rows["link"].tolist() == [0, _shaper.NO_LINK]


def test_who_listens_is_told_what_left():
    heard = []
    engine = Engine(load(seed=1, max_connections=64, **LINES))
    end = engine.on("departure", lambda batch: heard.append((batch.rows["packet"].tolist(),
                                                             batch.lost)))
    engine.process(chunk())
    engine.drain()
    assert heard == [([1, 3], 0), ([4, 2, 5, 6], 0)]
    assert len(engine.departures()) == 0      # they are kept for who asked for them
    end()
    engine.process(chunk())
    engine.drain()
    assert len(heard) == 2


def test_a_link_that_comes_while_somebody_listens_is_heard():
    heard = []
    engine = Engine(load(seed=1, max_connections=64))
    engine.on("departure", lambda batch: heard.extend(batch.rows["packet"].tolist()))
    engine.process(chunk())
    engine.configure(**LINES)
    engine.process(chunk())
    engine.drain()
    assert heard == []     # the sessions were made under no row, and keep that
    engine.clear()
    engine.process(chunk())
    engine.drain()
    assert sorted(heard) == [17, 18, 19, 20, 21, 22]
