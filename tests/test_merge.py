"""Several captures: by time as one (--merge), or a run for each (--each)."""

import json

import pytest
from frames import ethernet, ip, udp
from hypothesis import given, strategies as st

from fwcore import cli
from fwcore.capture import Chunk, PcapWriter, open_captures
from fwcore.replay import replay
from fwcore.settings import load

S = 10**9


def frame(source: int) -> bytes:
    return ethernet(ip("10.0.0.1", "192.0.2.1", 17, udp(source, 53)))


def write(path, times_ns, source) -> str:
    file = PcapWriter(str(path))
    file.write(Chunk.from_frames([frame(source + at) for at in range(len(times_ns))], times_ns))
    file.close()
    return str(path)


def merged(paths, chunk_size):
    """(time, frame) of each frame, as read."""
    with open_captures(paths, chunk_size=chunk_size, merge=True) as reader:
        rows = [(int(chunk.time_ns[at]), chunk.frame(at))
                for chunk in reader for at in range(len(chunk))]
        assert reader.packets == len(rows)
        for count in (0, len(rows)):
            assert sum(reader.judged_of(count)) >= count
        assert reader.judged_of(len(rows)) == [part.packets for part in reader.parts]
    return rows


def by_hand(files):
    """The rule, a frame at a time: the file whose next frame counts as earliest, first named."""
    left, floors, order = [list(rows) for rows in files], [0] * len(files), []
    while any(left):
        at = min((at for at in range(len(left)) if left[at]),
                 key=lambda at: (max(floors[at], left[at][0][0]), at))
        floors[at] = max(floors[at], left[at][0][0])
        order.append(left[at].pop(0))
    return order


@given(files=st.lists(st.lists(st.integers(0, 9), max_size=12), min_size=2, max_size=3),
       chunk_size=st.integers(1, 5))
def test_the_order_is_that_of_the_rule(tmp_path_factory, files, chunk_size):
    folder = tmp_path_factory.mktemp("merge")
    paths = [write(folder / f"{at}", times, 1000 * (at + 1)) for at, times in enumerate(files)]
    wanted = [[(time, frame(1000 * (at + 1) + n)) for n, time in enumerate(times)]
              for at, times in enumerate(files)]
    assert merged(paths, chunk_size) == by_hand(wanted)


def test_inputs_say_how_many_packets_are_of_whom(tmp_path):
    paths = [write(tmp_path / "a.pcap", [0, 2 * S, 4 * S], 1),
             write(tmp_path / "b.pcap", [S, S], 9)]
    whole = replay(paths, load("plain"), merge=True)
    assert [row["packets"] for row in whole["inputs"]] == [3, 2]
    assert whole["time_reversed"] == 0 and whole["duration_ns"] == 4 * S
    cut = replay(paths, load("plain"), merge=True, limit=2)
    assert [row["packets"] for row in cut["inputs"]] == [1, 1]


def test_a_refusal_says_what_to_do(tmp_path, capfd):
    paths = [write(tmp_path / "a.pcap", [0, 2 * S], 1), write(tmp_path / "b.pcap", [S, S], 9)]
    assert cli.main(["replay", *paths, "-q"]) == 2
    assert "--merge" in (said := capfd.readouterr().err) and "--each" in said
    assert cli.main(["replay", *paths, "-q", "--merge"]) == 0
    assert cli.main(["top", *paths, "--merge"]) == 0


def test_a_run_for_each(tmp_path, capfd):
    paths = [write(tmp_path / "a.pcap.cap", [0, 2 * S], 1), write(tmp_path / "b.pcap", [S], 9)]
    missing = str(tmp_path / "missing.pcap")
    code = cli.main(["replay", *paths, missing, "--each", "--json", str(tmp_path / "{name}.json")])
    said = capfd.readouterr()
    assert code == 2 and "missing.pcap" in said.err
    assert [json.loads((tmp_path / f"{name}.json").read_text())["packets"]
            for name in "ab"] == [2, 1]
    table = said.out.splitlines()[-4:]
    assert table[0].split()[:2] == ["capture", "packets"]
    assert [row.split()[-1] for row in table[1:]] == ["0", "0", "2"]
    saved = str(tmp_path / "{name}.json")
    assert cli.main(["replay", *paths, "--each", "-q", "--expect", saved]) == 0
    assert cli.main(["replay", *paths, "--each", "-q", "--expect", saved, "--set",
                     "non_ip=drop", "--set", "max_connections=1"]) in (0, 4)


@pytest.mark.parametrize(("given", "said"), [
    (["--json", "one.json"], "put {name}"), (["--merge"], "use one of them"),
    (["--expect-outcome", "1:00"], "of its own"), (["--write", "-"], "only JSON")])
def test_what_several_runs_cannot_share(tmp_path, capfd, given, said):
    paths = [write(tmp_path / f"{name}.pcap", [0], 1) for name in "ab"]
    assert cli.main(["replay", *paths, "--each", *given]) == 2
    assert said in capfd.readouterr().err


def test_two_captures_of_one_name_are_told_apart(tmp_path, capfd):
    (tmp_path / "x").mkdir()
    paths = [write(tmp_path / "a.pcap", [0], 1), write(tmp_path / "x" / "a.pcap", [0], 1)]
    assert cli.main(["replay", *paths, "--each", "--json", str(tmp_path / "{name}.json")]) == 2
    assert "would both write" in capfd.readouterr().err
