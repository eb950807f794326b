"""Text, JSON, page and tables agree: every figure that is shown is one of the result's.

A result is flattened to its numbers; what is shown is taken apart into figures; each figure has to
be the way in which one of those numbers, or a sum that has a name, is written. So nothing is shown
that was reckoned anew somewhere, from rows that a ring forgot or from a thinned timeline.
"""

import csv
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from frames import ethernet, ip, tcp

from fwcore import units
from fwcore.capture import Chunk
from fwcore.replay import replay
from fwcore.report import answer, html, text
from fwcore.settings import load

PCAPS = Path(__file__).parent.parent / "pcaps"
FIGURE = re.compile(
    r"\b\d+ [dhm] \d+ [hms]\b|(?<![\w.])\d+(?: \d{3})*(?:\.\d+)?"
    r"(?: (?:[KMGT]iB|[kMG]\b|B\b|%|ms\b|us\b|s\b))?")
NO_FIGURE = re.compile(       # addresses with ports, settings' percentages, times of day, versions
    r"\d{4}-\d\d-\d\d [\d:.]+|\b\d+\.\d+\.\d+\.\d+(?::\d+)?|\b[0-9a-f]*:[0-9a-f:]+\b"
    r"|fwcore \d[\d.]*|below_?\s?\d+s|from_?\s?\d+s|\b\w+-\d+\b")
SHOWN = ("td", "b", "p", "h1")


class Pieces(HTMLParser):
    """The text of cells, tiles and sentences of a page, a piece each."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.pieces: list[str] = []
        self._open: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        if tag in SHOWN:
            self._open.append(tag)
            self.pieces.append("")

    def handle_endtag(self, tag):
        if self._open and tag == self._open[-1]:
            self._open.pop()

    def handle_data(self, data):
        if self._open:
            self.pieces[-1] += data


def numbers(value):
    """Every number of the result, and the lengths of its lists."""
    if isinstance(value, dict):
        for each in value.values():
            yield from numbers(each)
    elif isinstance(value, list):
        yield len(value)
        for each in value:
            yield from numbers(each)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield value


def ways(result) -> set[str]:
    """Every way in which a figure of the result may stand."""
    data = json.loads(result.to_json())
    for name in ("timeline", "trail"):
        data.pop(name, None)
    memory, conserve = data["memory"], data["conserve"]
    spent = [value for mode, value in conserve["seconds"].items() if mode != "off"]
    first = result["timeline"]["time_ns"][0]
    sums = [answer.taken(result), answer.refused(result), sum(spent), len(data["laws"])]
    found = set()
    for number in {*numbers(data), *sums, 0}:
        whole = int(number)
        found |= {units.count(whole), str(whole), units.short(whole), units.size(whole),
                  units.seconds(number), units.seconds(whole / 1e9), f"{number:.3g}",
                  units.seconds((whole - first) / 1e9), f"{(whole - first) / 1e9:.3f} s",
                  f"{whole / 1e9:.3f}", f"{(whole - first) / 1e9:.3f}", units.size(4096 * whole),
                  units.count(round(number)), str(round(number, 1))}
        for of in (data["packets"], memory["total_pages"]):
            found |= {units.share(whole, of), units.share(whole, of).replace(" %", "")}
    return found


def strange(shown: str, allowed: set[str]) -> list[str]:
    """Figures of a text that are none of the result's."""
    shown = NO_FIGURE.sub("", shown.replace("\xa0", " "))
    return [found for found in FIGURE.findall(shown)
            if found not in allowed]


def flood(count):
    """SYNs of as many hosts after one connection that was established."""
    ends = ip("10.9.9.9", "192.0.2.1", 6, tcp(1000, 443, "A", 10))
    frames = [ethernet(ip("10.9.9.9", "192.0.2.1", 6, tcp(1000, 443, "S"))),
              ethernet(ip("192.0.2.1", "10.9.9.9", 6, tcp(443, 1000, "SA"))), ethernet(ends)]
    frames += [ethernet(ip(f"11.{n >> 16}.{n >> 8 & 255}.{n & 255}", "192.0.2.1", 6,
                           tcp(2000, 443, "S"))) for n in range(count)]
    return Chunk.from_frames(frames, [10**18 + n * 10**5 for n in range(len(frames))])


def made(name):
    if name == "conserve":
        return replay(PCAPS / "conserve.pcap", load(file=PCAPS / "conserve.toml"), lru=True)
    personality, more = {"fortios": ("fortios-7", {}), "linux": ("linux-conntrack", {}),
                         "cos": ("cos-core", {}), "rings": ("plain", {"victims_max": 7})}[name]
    return replay(flood(6000), load(personality, max_connections=700, buckets=100, **more))


@pytest.fixture(scope="module", params=["conserve", "fortios", "linux", "cos", "rings"])
def result(request):
    return made(request.param)


def test_every_figure_of_the_summary(result):
    allowed = ways(result)
    for block in text.summary(result).split("\n\n"):
        if block.split()[0] in ("speed", "fwcore"):    # a version; rounded to less than is kept
            continue
        lines = block.splitlines()      # without the graph and its scale
        shown = "\n".join(line for line in lines if not set(line) & set("\u2508\u2588\u2591"))
        assert strange(shown, allowed) == [], block


@pytest.mark.parametrize("name", ["conserve", "rings"])
def test_every_figure_of_the_page(name):
    result = made(name)
    allowed = ways(result)
    pieces = Pieces(html.render(result)).pieces
    assert len(pieces) > 60
    told = {row["text"] for row in result["events"]}       # in the vendor's words
    told |= {row.get("why") for row in result["settings"].values()}
    for piece in pieces:
        if piece not in told and not piece.startswith("Source: "):
            assert strange(piece, allowed) == [], piece


def test_tables_have_the_same_rows(result, tmp_path):
    from fwcore import rows

    path = tmp_path / "victims.csv"
    rows.write(result.array("victims"), str(path))
    with path.open() as file:
        table = list(csv.DictReader(file))
    assert [(int(row["packet"]), row["cause"]) for row in table] == [
        (row["packet"], row["cause"]) for row in result["victims"]]
    taken = result["taken"]["sessions"]
    assert len(table) + result["victims_forgotten"] == taken == answer.taken(result)
    assert sum(result["taken"]["idle"].values()) == taken
    line = result["timeline"]
    for verdict, packets in result["verdicts"].items():
        assert line["verdicts"].get(verdict, [0])[-1] == packets
    assert line["live"][-1] == result["sessions.live"]


def test_a_figure_that_is_not_so_is_found():
    result = made("rings")
    assert strange("5 301 sessions", ways(result)) == []
    # more than any time that was measured comes to in some unit
    assert strange("6 234 sessions, 9876 TiB", ways(result)) == ["6 234", "9876 TiB"]
