"""--expect names what differs: the setting, the figure, where in the capture."""

import json
from pathlib import Path

from fwcore import cli
from fwcore.replay import replay
from fwcore.report import expect
from fwcore.settings import load

PCAPS = Path(__file__).parent.parent / "pcaps"
CONSERVE = [str(PCAPS / "conserve.pcap"), "--settings", str(PCAPS / "conserve.toml")]


def test_the_first_setting_figure_and_packet(tmp_path, capfd):
    saved = tmp_path / "r.json"
    assert cli.main(["replay", *CONSERVE, "-q", "--json", str(saved)]) == 0
    assert cli.main(["replay", *CONSERVE, "-q", "--expect", str(saved)]) == 0
    capfd.readouterr()
    code = cli.main(["replay", *CONSERVE, "-q", "--set", "av-failopen=off", "--expect",
                     str(saved)])
    said = capfd.readouterr().err
    assert code == 4
    assert "setting av_failopen: off, expected pass" in said
    assert "verdicts.inspect: " in said or "verdicts.bypass: 0, expected 482" in said
    assert "the first packet that differs is of 16" in said
    assert cli.main(["replay", *CONSERVE, "-q", "--expect", str(tmp_path / "no.json")]) == 2
    assert cli.main(["replay", *CONSERVE, "-q", "--expect", ""]) == 2
    assert cli.main(["replay", *CONSERVE, "-q", "--expect-outcome", ""]) == 2


def test_the_packet_lies_where_it_is_said_to():
    """Against each packet's verdict of both runs."""
    verdicts, results = [], []
    for choice in ("pass", "off"):
        seen = []
        results.append(replay(CONSERVE[0], load(file=CONSERVE[2], av_failopen=choice),
                              flows=lambda judged, seen=seen: seen.extend(
                                  judged.outcome.tolist())))
        verdicts.append(seen)
    first = next(at for at, (a, b) in enumerate(zip(*verdicts, strict=True), 1) if a != b)
    line = expect.differences(*results)[-1]
    low, high = (int(line.split()[at].rstrip(":")) for at in (7, 9))
    assert low <= first <= high and json.dumps(line)
