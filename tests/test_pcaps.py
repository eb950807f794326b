"""The committed captures: what they are, and that what must come out of each does."""

import importlib.util
import tomllib
from pathlib import Path

import pytest
from scapy.all import RawPcapNgReader, RawPcapReader

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


@pytest.mark.parametrize("run", RUNS)
def test_the_twin_says_what_is_expected(run, tmp_path):
    reference = pytest.importorskip("fwcore.reference", reason="the twin is not built yet")
    settings = pytest.importorskip("fwcore.settings", reason="settings are not built yet")
    (tmp_path / "settings.toml").write_text(settings_of(run))
    firewall = reference.Firewall(settings.load(file=tmp_path / "settings.toml"))
    packets = list(packets_of(run["file"]))
    judged = [firewall.packet(frame, time_ns, wire, link)
              for frame, time_ns, wire, link in packets]
    check(run, judged, packets[0][1], firewall.result())


def check(run, judged, start_ns, result):
    """``judged``: (verdict, reason) of each packet; ``result``: as in the contract."""
    from fwcore._fastpath import Reason

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
