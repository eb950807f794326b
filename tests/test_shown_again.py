"""What is saved is shown again; a flow by its packet, a host's flows; addresses beside verdicts."""

import csv
import json
from pathlib import Path

import pytest

from fwcore import cli
from fwcore.errors import FwcoreError
from fwcore.flow import parse
from fwcore.replay import replay
from fwcore.report import saved
from fwcore.report.text import Style
from fwcore.settings import load

PCAPS = Path(__file__).parent.parent / "pcaps"
CONSERVE = [str(PCAPS / "conserve.pcap"), "--settings", str(PCAPS / "conserve.toml")]


EXPLAINED = {"explain": ("--packet", "97"), "host": ("--host", "10.1.1.39")}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """compare.json and explain.json, with what the commands said."""
    folder = tmp_path_factory.mktemp("saved")
    assert cli.main(["compare", *CONSERVE, "--with", "av-failopen=pass", "--with",
                     "av-failopen=off", "-q", "--json", str(folder / "compare.json")]) == 0
    for kind, given in EXPLAINED.items():
        assert cli.main(["explain", *CONSERVE, *given, "--json", str(folder / f"{kind}.json")]) == 0
    return folder


@pytest.mark.parametrize("kind", ["compare", "explain", "host"])
def test_report_shows_what_the_command_showed(folder, capfd, kind):
    path = folder / f"{kind}.json"
    assert cli.main(["report", str(path)]) == 0
    shown = capfd.readouterr().out
    if kind in EXPLAINED:
        assert cli.main(["explain", *CONSERVE, *EXPLAINED[kind]]) == 0
    else:
        assert cli.main(["compare", *CONSERVE, "--with", "av-failopen=pass", "--with",
                         "av-failopen=off"]) == 0
    assert shown == capfd.readouterr().out
    assert cli.main(["report", str(path), "--html", str(folder / "x.html")]) == 2
    assert f"of a saved {kind} there is only the text" in capfd.readouterr().err


@pytest.mark.parametrize("kind", ["compare", "explain", "host"])
def test_every_part_that_is_missing_is_named(folder, tmp_path, kind):
    data = json.loads((folder / f"{kind}.json").read_text())
    path = tmp_path / "damaged.json"
    needed = [key for key in saved.SCHEMAS[kind] if not key.endswith("?")]
    for key in needed:
        path.write_text(json.dumps({name: each for name, each in data.items() if name != key}))
        with pytest.raises(FwcoreError, match=f"not a whole {kind}: .*{key}"):
            saved.read(str(path))
    if kind == "compare":
        for results in ([], data["results"][:1], [{}, {}], [None, None]):
            path.write_text(json.dumps(data | {"results": results}))
            assert cli.main(["report", str(path)]) == 2
        path.write_text(json.dumps(data | {"settings": ["a", "b"]}))
        with pytest.raises(FwcoreError, match="not of the settings named"):
            saved.read(str(path))


ODD = (None, True, -1, 0, 2**63 - 1, 10**400, -1e29, float("nan"), "", "\x1b[2J", "\ud800", [],
       [1, "x"], {}, {"a": {"b": []}})


@pytest.mark.parametrize("kind", ["explain", "host"])
def test_another_value_at_any_place_is_shown_or_refused(folder, tmp_path, kind):
    data, path = json.loads((folder / f"{kind}.json").read_text()), tmp_path / "forged.json"
    for place in places(data):
        *way, last = place
        at = data
        for key in way:
            at = at[key]
        before = at[last]
        for at[last] in ODD:
            path.write_text(json.dumps(data))
            said = told(path)
            assert "\x1b" not in said
            said.encode()
        at[last] = before


def places(value, path=()):
    """Every place in a tree but its root; of lists the first."""
    if path:
        yield path
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value[:1])):
            yield from places(value[key], (*path, key))


def told(path):
    """What a saved file shows; nothing, where it is refused, or is none of these."""
    try:
        made = saved.read(str(path))
        return "" if made is None else saved.render(made, Style(colour=False, unicode=True))
    except FwcoreError:
        return ""


def test_a_flow_by_a_packet_of_it(folder, capfd):
    life = json.loads((folder / "explain.json").read_text())
    assert 97 in [row["packet"] for row in life["rows"]]
    assert cli.main(["explain", *CONSERVE, "--packet", "105"]) == 0
    other = capfd.readouterr().out
    assert "frame.number in {97, 105, " in other
    for wrong, said in (("4000", "the capture has 3941"), ("0", "x>=1")):
        assert cli.main(["explain", *CONSERVE, "--packet", wrong]) == 2
        assert said in capfd.readouterr().err
    assert cli.main(["explain", *CONSERVE]) == 2
    assert "one of --flow, --packet and --host" in capfd.readouterr().err


def test_the_flows_of_a_host_are_those_of_its_sessions(tmp_path, capfd):
    out = tmp_path / "host.json"
    assert cli.main(["explain", *CONSERVE, "--host", "10.1.1.39", "--json", str(out)]) == 0
    assert "frame.number==1666" in capfd.readouterr().out
    made = json.loads(out.read_text())
    settings = load(file=PCAPS / "conserve.toml")
    replay(CONSERVE[0], settings, sessions=str(tmp_path / "s.csv"), focus="host 10.1.1.39",
           verdicts=str(tmp_path / "v.csv"))
    with (tmp_path / "s.csv").open(newline="") as file:
        keys = {parse(row["key"]).key for row in csv.DictReader(file)}
    assert keys <= {parse(row["flow"]).key for row in made["flows"]}
    with (tmp_path / "v.csv").open(newline="") as file:
        verdicts = [row["verdict"] for row in csv.DictReader(file)]
    assert sum(row["packets"] for row in made["flows"]) == len(verdicts)
    assert sum(row["dropped_packets"] for row in made["flows"]) == verdicts.count("drop")
    assert sum(row["uninspected_packets"] for row in made["flows"]) == verdicts.count("bypass")


def test_verdicts_with_addresses(tmp_path):
    path = tmp_path / "v.csv"
    replay(CONSERVE[0], load("plain"), verdicts=str(path), addresses=True, limit=200)
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    plain = tmp_path / "p.csv"
    replay(CONSERVE[0], load("plain"), verdicts=str(plain), limit=200)
    with plain.open(newline="") as file:
        for row, other in zip(rows, csv.DictReader(file), strict=True):
            assert other.items() <= row.items() and len(row) == len(other) + 5
    first = rows[96]
    assert (first["source"], first["source_port"], first["destination_port"]) == (
        "10.1.1.17", "31008", "443")
