"""The committed captures: what they are, and that what must come out of each does."""

import importlib.util
import tomllib
from pathlib import Path

import pytest
from frames import ethernet, ip, udp
from scapy.all import RawPcapNgReader, RawPcapReader
from twin import run_twin

from fwcore._layout import Reason
from fwcore.capture import Chunk, load as load_chunk, open_capture
from fwcore.replay import replay
from fwcore.settings import load

FOLDER = Path(__file__).parent.parent / "pcaps"
EXPECTED = tomllib.loads((FOLDER / "expected.toml").read_text())["run"]
FILES = sorted(p.name for p in FOLDER.iterdir() if p.suffix in (".pcap", ".pcapng"))
RUNS = [pytest.param(run, id=f"{run['file']}-{n}") for n, run in enumerate(EXPECTED, 1)]


@pytest.fixture(scope="module")
def make():
    spec = importlib.util.spec_from_file_location("pcaps_make", FOLDER / "make.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def packets_of(name):
    """(frame, time_ns, wire length, link) of each packet, as Scapy reads the file."""
    path = str(FOLDER / name)
    if name.endswith("ng"):
        with RawPcapNgReader(path) as reader:
            for frame, m in reader:
                ticks = (m.tshigh << 32) + m.tslow
                yield frame, ticks * 10**9 // m.tsresol, m.wirelen, m.linktype
        return
    with RawPcapReader(path) as reader:
        for frame, m in reader:
            yield frame, m.sec * 10**9 + m.usec, m.wirelen, reader.linktype


def reasons_of(run):
    """``"new hit*3"`` -> ["new", "hit", "hit", "hit"]."""
    reasons = []
    for word in run["reasons"].split():
        name, _, times = word.partition("*")
        reasons += [name] * int(times or 1)
    return reasons


def settings_of(run):
    if "settings_file" in run:
        return (FOLDER / run["settings_file"]).read_text()
    return run["settings"]


def test_all_captures_together_are_small():
    assert sum((FOLDER / name).stat().st_size for name in FILES) <= 3_000_000


def test_every_capture_is_made_expected_and_listed(make):
    readme = (FOLDER / "README.md").read_text()
    assert set(make.STORIES) == set(FILES) == {run["file"] for run in EXPECTED}
    assert all(f"`{name}`" in readme for name in FILES)


@pytest.mark.parametrize("name", FILES)
def test_make_writes_the_committed_bytes(name, make, tmp_path):
    write = make.write_pcapng if name.endswith("ng") else make.write_pcap
    write(tmp_path / name, make.STORIES[name]())
    assert (tmp_path / name).read_bytes() == (FOLDER / name).read_bytes()


@pytest.mark.parametrize("name", FILES)
def test_times_ascend_and_frames_are_not_longer_than_on_the_wire(name):
    packets = list(packets_of(name))
    times = [time_ns for _, time_ns, _, _ in packets]
    assert times == sorted(times)
    assert all(len(frame) <= wire for frame, _, wire, _ in packets)


@pytest.mark.parametrize("run", RUNS)
def test_expectations_agree_with_the_capture_and_with_themselves(run):
    packets = list(packets_of(run["file"]))
    expect = run["expect"]
    assert expect.get("packets", len(packets)) == len(packets)
    assert expect.get("bytes") in (None, sum(wire for _, _, wire, _ in packets))
    start_ns = packets[0][1]
    assert expect.get("duration_ns", 0) in (0, packets[-1][1] - start_ns)
    if "times" in run:
        assert [time_ns - start_ns for _, time_ns, _, _ in packets] == run["times"]
    if "reasons" in run:
        assert len(reasons_of(run)) == len(packets)
    verdicts = [expect.get(f"verdicts.{v}") for v in ("forward", "inspect", "bypass", "drop")]
    if None not in verdicts:
        assert sum(verdicts) == len(packets)
    for number, at_ns, *_ in run.get("transitions", ()):
        first = next(n for n, p in enumerate(packets, 1) if p[1] - start_ns >= at_ns)
        assert number == first  # what is due is done when the first packet at or after arrives
    tomllib.loads(settings_of(run))


def figure(result, path):
    for name in path.split("."):
        result = result[name]
    return result


def loaded(run, tmp_path):
    (tmp_path / "settings.toml").write_text(settings_of(run))
    return load(file=tmp_path / "settings.toml")


def judged_by_engine(run, tmp_path):
    """(verdict, reason) of each packet and the result, as ``fwcore replay`` gives it."""
    rows = []
    result = replay(
        FOLDER / run["file"], loaded(run, tmp_path),
        flows=lambda judged: rows.extend(judged.outcome.tolist()))
    assert result.exit_code == 0
    return [tuple(row) for row in rows], result.data


def twin_result(firewall):
    """The twin's figures in the form of a result."""
    victims = [{"created_packet": row["created_packet"], "packet": row["ended_packet"],
                "cause": row["cause"]} for row in firewall.victims]
    return firewall.counters() | {
        "duration_ns": firewall.now - firewall.t0,
        "conserve": {"transitions": firewall.transitions, "flaps": firewall.flaps},
        "victims": victims, "events": firewall.events,
        "idledrop": {"hosts": firewall.idledrop_hosts}, "outcome": firewall.outcome()}


@pytest.mark.parametrize("run", RUNS)
def test_the_engine_says_what_is_expected(run, tmp_path):
    judged, result = judged_by_engine(run, tmp_path)
    check(run, judged, first_ns(run), result)
    assert result["outcome"] == run["outcome"]


@pytest.mark.parametrize("run", RUNS)
def test_the_twin_says_what_is_expected(run, tmp_path):
    with open_capture(FOLDER / run["file"]) as reader:
        judged, firewall = run_twin(loaded(run, tmp_path), list(reader))
    check(run, [row[:2] for row in judged], first_ns(run), twin_result(firewall))
    assert firewall.outcome() == run["outcome"]


def first_ns(run):
    """Time of the first packet."""
    return next(packets_of(run["file"]))[1]


def test_one_flipped_verdict_is_another_outcome(tmp_path):
    """A denied packet in place of a hit, and everything else as it was."""
    run = next(run for run in EXPECTED if run["file"] == "tags.pcap")
    with open_capture(FOLDER / run["file"]) as reader:
        chunk = load_chunk(reader)
    frames = [chunk.frame(i) for i in range(len(chunk))]
    times = chunk.time_ns.tolist()
    settings = loaded(run, tmp_path)
    same = Chunk.from_frames(frames, times, chunk.length.tolist())
    assert replay([same], settings)["outcome"] == run["outcome"]
    frames[1] = frames[1][:12] + b"\x08\x06" + frames[1][14:]  # now ARP: forwarded, but not a hit
    other = Chunk.from_frames(frames, times, chunk.length.tolist())
    assert replay([other], settings)["outcome"] != run["outcome"]
    (_, firewall), (_, twin) = run_twin(settings, [same]), run_twin(settings, [other])
    assert firewall.outcome() == run["outcome"] != twin.outcome()


def test_the_digest_is_over_every_verdict(tmp_path):
    """Two packets trade their verdicts: all counters agree, the outcome does not."""
    row = {"id": 1, "source": "any", "destination": "any", "protocol": "udp", "ports": [53],
           "action": "accept"}
    settings = load("plain", policies=[row])
    good, bad = (ethernet(ip("10.0.0.1", "192.0.2.1", 17, udp(1000, port))) for port in (53, 54))
    one = replay([Chunk.from_frames([good, bad], [5, 5])], settings)
    other = replay([Chunk.from_frames([bad, good], [5, 5])], settings)
    assert one["verdicts"].drop == other["verdicts"].drop == 1
    assert one["reasons"]["denied"] == other["reasons"]["denied"] == 1
    assert one["outcome"] != other["outcome"]


def check(run, judged, start_ns, result):
    """``judged``: (verdict, reason) of each packet; ``result``: as in the contract."""
    if "reasons" in run:
        got = [Reason(int(reason)).name.lower() for _, reason in judged]
        assert list(enumerate(got, 1)) == list(enumerate(reasons_of(run), 1))
    for path, value in run["expect"].items():
        assert (path, figure(result, path)) == (path, value)
    for path, (low, high) in run.get("between", {}).items():
        assert low <= figure(result, path) <= high, path
    if "transitions" in run:
        names = ("packet", "time_ns", "cause", "machine", "from", "to")
        rows = [[t[name] for name in names] for t in result["conserve"]["transitions"]]
        assert [[r[0], r[1] - start_ns, *r[2:]] for r in rows] == run["transitions"]
    victims = [[v["created_packet"], v["packet"], v["cause"]] for v in result["victims"]]
    if "victims" in run:
        assert victims == run["victims"]
    if "first_victims" in run:
        assert victims[:len(run["first_victims"])] == run["first_victims"]
    if "hosts" in run:
        rows = [[h["host"], h["sessions"]] for h in result["idledrop"]["hosts"]]
        assert rows == run["hosts"]
