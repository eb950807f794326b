"""Metrics for Prometheus: every counter is there, under a name and with a meaning of its own."""

import json
import os
import re
from itertools import count
from pathlib import Path

import pytest
from test_live import fetch

from fwcore import Engine, glossary, load
from fwcore._rings import COUNTERS
from fwcore.counters import counters
from fwcore.live import Live, metrics
from fwcore.live.view import Syslog
from fwcore.units import PAGE_BYTES

SHAPED = {
    "meters": [{"name": "m", "rungs": [{"rate": "1Mbit", "depth": 10_000}]}],
    "links": [{"name": "wan:1", "rate": "10Mbit"}],
    "classes": [{"link": "wan:1", "id": 7, "guarantee": "1Mbit"}],
    "shapings": [{"meters": ["m"], "link": "wan:1", "class": 7}]}


@pytest.fixture(scope="module")
def figures():
    """Of a run with everything that a run can have."""
    if os.geteuid() != 0:
        pytest.skip("needs root for packet sockets")
    run = Live(["lo"], load("fortios-7", **SHAPED), memory="host", ring_bytes=1 << 20, quiet=True)
    run.watchers = [Syslog("127.0.0.1:9")]
    run.watchers[0].lost = 3
    run.host.reading = run.host.reading._replace(pressure=12.5)
    yield run.figures()
    run.close()


def by_name(families):
    found = {family.name: family for family in families}
    assert len(found) == len(families)
    return found


def numbered(tree, numbers):
    """The same tree with another number at each place."""
    if isinstance(tree, dict):
        return {name: numbered(below, numbers) for name, below in tree.items()}
    return [numbered(each, numbers) for each in tree] if isinstance(tree, list) else next(numbers)


def test_every_counter_of_an_engine_is_there_once():
    with Engine(load("fortios-7", **SHAPED)) as engine:
        numbers = count(1)
        tree = numbered(counters(engine), numbers)
    assert tree.keys() <= metrics.SECTIONS          # what a run's figures are searched for
    families = metrics.counted(tree)
    scales = {"memory_bytes": PAGE_BYTES, "memory_peak_bytes": PAGE_BYTES,
              "memory_total_bytes": PAGE_BYTES}
    found = [round(figure / (1e-9 if each.name.endswith("_seconds") else scales.get(each.name, 1)))
             for each in families for _, figure in each.samples]
    assert sorted(found) == list(range(1, next(numbers)))
    assert all(len({values for values, _ in each.samples}) == len(each.samples)
               for each in families)


def test_a_counter_that_is_added_is_there_with_its_meaning(monkeypatch):
    entry = glossary.Entry("proxy.turned_away", "objects turned away")
    monkeypatch.setitem(glossary.BY_NAME, entry.name, entry)
    (family,) = metrics.counted({"proxy": {"turned_away": 5}})
    assert family == ("proxy_turned_away", "objects turned away", True, (), [((), 5)])


def test_names_are_labels_and_meanings_are_the_glossarys(figures):
    found = by_name(metrics.families(figures))

    def labels(name):
        return [dict(zip(found[name].labels, values, strict=True))
                for values, _ in found[name].samples]

    assert {"cause": "ips"} in labels("exposure_by_cause_packets")
    assert {"owner": "base"} in labels("memory_peak_bytes")
    assert labels("shaping_meters_passed_bytes") == [{"meter": "m"}]
    assert labels("shaping_meters_by_colour") == [{"meter": "m", "rung": str(n)} for n in (0, 1)]
    assert labels("shaping_links_busy_seconds") == [{"link": "wan:1"}]
    assert labels("shaping_classes_packets") == [{"link": "wan:1", "class": "7"}]
    assert {"link": "wan:1", "class": "7", "why": "codel"} in labels("shaping_classes_dropped")
    assert {"machine": "unified", "level": "red"} in labels("memory_threshold_bytes")
    assert labels("shaping_classes_delay_seconds") == [
        {"link": "wan:1", "class": "7", "quantile": each} for each in ("0.5", "0.95", "0.99")]
    assert found["refused"].grows
    meaning = glossary.BY_NAME["shaping.links.busy_ns"].meaning
    assert found["shaping_links_busy_seconds"].meaning == meaning
    assert f"drop: {glossary.BY_NAME['verdicts.drop'].meaning}" in found["verdicts"].meaning
    assert found["victims_forgotten"].grows and found["events_forgotten"].grows
    assert not found["sessions_half_open"].grows and not found["proxy_peak"].grows
    assert not [name for name, each in found.items() if len(each.meaning) < 9]
    assert {f"interface_{name}" for name in COUNTERS} <= {
        name.removesuffix("_frames") for name in found}


def test_the_machine_and_what_was_lost_on_the_way_are_there(figures):
    found = by_name(metrics.families(figures))
    assert found["host_memory_pressure_ratio"].samples == [((), 0.125)]
    assert found["host_memory_available_bytes"].samples[0][1] > 0
    assert found["messages_lost"].samples == [(("syslog",), 3)]
    without = {**figures, "host": {}, "messages_lost": {}}
    gone = found.keys() - by_name(metrics.families(without)).keys()
    assert gone == {"messages_lost", "host_memory_total_bytes", "host_memory_available_bytes",
                    "host_memory_pressure_ratio"}


def test_metrics_are_what_prometheus_reads(figures):
    parser = pytest.importorskip("prometheus_client.parser")
    served = metrics.Metrics(":0")
    try:
        assert fetch(served.site.port, "/metrics")[1].strip() == ""
        served.tick(figures, [])
        families = {each.name: each for each in parser.text_string_to_metric_families(
            fetch(served.site.port, "/metrics")[1])}
    finally:
        served.close()
    assert families["fwcore_verdicts"].type == "counter"
    assert families["fwcore_verdicts"].samples[0].name == "fwcore_verdicts_total"
    assert families["fwcore_sessions_live"].type == "gauge"
    assert families["fwcore_memory_bytes"].samples[0].labels == {"owner": "base"}
    assert families["fwcore_interface_lost_frames"].samples[0].labels == {"interface": "lo"}
    assert len(families) == len(metrics.families(figures))
    assert all(re.fullmatch(r"fwcore_[a-z][a-z0-9_]*", name) for name in families)
    panels = json.loads(Path("docs/grafana.json").read_text())["panels"]
    asked = {name for panel in panels for target in panel.get("targets", ())
             for name in re.findall(r"fwcore_\w+", target["expr"])}
    there = {sample.name for each in families.values() for sample in each.samples}
    assert asked <= there and len(asked) > 15
    assert len({panel["id"] for panel in panels}) == len(panels)
