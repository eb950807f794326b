"""Metrics of a live run for Prometheus: every counter of the engine, under names made of its path.

    verdicts.drop                   fwcore_verdicts_total{verdict="drop"}
    exposure.by_cause.ips.packets   fwcore_exposure_by_cause_packets_total{cause="ips"}
    memory.now.base, pages          fwcore_memory_bytes{owner="base"}
    shaping.links.wan.busy_ns       fwcore_shaping_links_busy_seconds_total{link="wan"}

What is counted is found in the figures, and what it means in the glossary: a counter that is added
there is here. A part of a path that is somebody's name is a label (``LABELS``). What only grows is
a counter, what rises and falls, or is a peak, a gauge.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from fwcore import glossary
from fwcore._rings import COUNTERS
from fwcore.errors import MissingExtra
from fwcore.live.serve import Site
from fwcore.units import PAGE_BYTES
from fwcore.words import MODES

METRICS_PORT = 9108
# Below this path stand names, which are values of these labels; "*" is such a name. Two labels: the
# name is both, with a colon between.
LABELS = {
    "verdicts": ("verdict",), "reasons": ("reason",), "decode": ("kind",),
    "sessions.ended": ("cause",), "exposure.by_cause": ("cause",), "memory.now": ("owner",),
    "memory.peak": ("owner",), "shaping.meters": ("meter",), "shaping.links": ("link",),
    "shaping.meters.*.by_colour": ("rung",), "shaping.classes": ("link", "class"),
    "shaping.classes.*.dropped": ("why",),
}
# Ends of a name: what stands there instead, and by how much figures are multiplied.
UNITS = {"_ns": ("_seconds", 1e-9), "memory_now": ("memory_bytes", PAGE_BYTES),
         "memory_peak": ("memory_peak_bytes", PAGE_BYTES),
         "memory_total_pages": ("memory_total_bytes", PAGE_BYTES),
         "delay_max": ("delay_max_seconds", 1e-9)}
GAUGES = {
    "mode": "conserve mode: 0 off, 1 on, 2 extreme",
    "up_seconds": "seconds since the run began",
    "shaping_classes_delay_seconds": "arrival to release of what left a class, by quantile",
    "delay_seconds": "how long frames were here from arrival to sent, by quantile",
    "interface_up": "1 where the interface is up",
    "waiting_frames": "frames that links hold back",
    "memory_threshold_bytes": "levels of each machine",
    "host_memory_total_bytes": "memory of this machine, or its cgroup's limit",
    "host_memory_available_bytes": "what is left of it",
    "host_memory_pressure_ratio": "PSI: share of the last 10 s in which somebody waited for memory",
}
LOST = "events and traps that could not be sent, by where they were to go"
# Where counters stand in a run's figures, beside what is none.
SECTIONS = {entry.name.partition(".")[0] for entry in glossary.ENTRIES}


class Family(NamedTuple):
    """A metric: ``samples`` are (values of its labels, figure)."""

    name: str
    meaning: str
    grows: bool
    labels: tuple[str, ...]
    samples: list[tuple[tuple[str, ...], float]]


def _leaves(tree: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], int]]:
    """Every figure with its path; of a list, its number there."""
    if isinstance(tree, int):
        yield path, tree
        return
    items = tree.items() if isinstance(tree, Mapping) else enumerate(tree)
    for name, below in items:
        yield from _leaves(below, (*path, str(name)))


def _split(path: tuple[str, ...]) -> tuple[list[str], list[str], list[str]]:
    """A path without the names in it, the labels that they are values of, and those values."""
    plain: list[str] = []
    labels: list[str] = []
    values: list[str] = []
    above: list[str] = []
    for part in path:
        named = LABELS.get(".".join(above))
        if named is None:
            plain.append(part)
        else:
            labels += named
            values += part.rsplit(":", len(named) - 1)
        above.append(part if named is None else "*")
    return plain, labels, values


def counted(tree: Mapping[str, Any]) -> list[Family]:
    """The metrics of ``Engine.counters``."""
    found: dict[tuple[str, ...], Family] = {}
    meanings: dict[tuple[str, ...], dict[str, str]] = {}
    for path, figure in _leaves(tree):
        plain, labels, values = _split(path)
        together = glossary.find(".".join(plain))       # what stands for all of these names
        entry = together or glossary.find(".".join(path))
        meaning, reset = (entry.meaning, entry.reset) if entry else (".".join(plain), glossary.NOW)
        name, scale = _unit("_".join(plain))
        key = tuple(plain)
        if key not in found:
            found[key] = Family(name, "", reset == glossary.RUN, tuple(labels), [])
        said = meanings.setdefault(key, {})
        if meaning not in said.values():
            said[values[-1] if values and not together else ""] = meaning
        found[key].samples.append((tuple(values), figure * scale if scale != 1 else figure))
    return [family._replace(meaning="; ".join(
        f"{name}: {meaning}" if name else meaning for name, meaning in meanings[key].items()))
        for key, family in found.items()]


def _unit(name: str) -> tuple[str, float]:
    """A name with the unit that Prometheus asks for, and what figures are multiplied by."""
    for end, (instead, scale) in UNITS.items():
        if name.endswith(end):
            return name.removesuffix(end) + instead, scale
    return name, 1


def families(figures: Mapping[str, Any]) -> list[Family]:
    """Every metric of a run, from ``Live.figures``."""
    tree = {name: below for name, below in figures.items() if name in SECTIONS}
    return [*counted(tree), *_of_mode(figures), *_of_classes(figures), *_of_interfaces(figures),
            *_of_host(figures)]


def _gauge(name: str, samples: Iterable[tuple[tuple[str, ...], float]], *labels: str) -> Family:
    return Family(name, GAUGES[name], False, labels, list(samples))


def _of_mode(figures: Mapping[str, Any]) -> Iterator[Family]:
    yield _gauge("mode", [((), MODES.index(figures["mode"]))])
    yield _gauge("up_seconds", [((), figures["up_s"])])
    yield Family("conserve_seconds", glossary.BY_NAME["conserve.seconds"].meaning, True, ("mode",),
                 [((mode,), seconds) for mode, seconds in figures["mode_seconds"].items()])
    yield _gauge("memory_threshold_bytes", [
        ((machine, level), pages * PAGE_BYTES)
        for machine, levels in figures["thresholds"].items() for level, pages in levels.items()
        if not level.startswith("proxy_sessions")], "machine", "level")


def _of_classes(figures: Mapping[str, Any]) -> Iterator[Family]:
    if figures["class_delays_ns"]:
        yield _gauge("shaping_classes_delay_seconds", [
            ((*name.rsplit(":", 1), f"{int(percent.removeprefix('p')) / 100:g}"), ns / 1e9)
            for name, delays in figures["class_delays_ns"].items()
            for percent, ns in delays.items()], "link", "class", "quantile")


def _of_interfaces(figures: Mapping[str, Any]) -> Iterator[Family]:
    ports, delay = figures["interfaces"], figures["delay"]
    yield _gauge("delay_seconds", [(("0.5",), delay["p50_ns"] / 1e9),
                                   (("0.99",), delay["p99_ns"] / 1e9)], "quantile")
    yield _gauge("waiting_frames", [((), figures["waiting"])])
    yield _gauge("interface_up", [((name,), float(row["state"] == "up"))
                                  for name, row in ports.items()], "interface")
    for counter in COUNTERS:
        unit = "" if counter.endswith("bytes") else "_frames"
        yield Family(f"interface_{counter}{unit}",
                     glossary.BY_NAME[f"live.interfaces.{counter}"].meaning, True, ("interface",),
                     [((name,), row[counter]) for name, row in ports.items()])


def _of_host(figures: Mapping[str, Any]) -> Iterator[Family]:
    """This machine, where its memory is the appliance's; and what did not reach the world."""
    host = figures["host"]
    for name in ("total_bytes", "available_bytes"):
        if host:
            yield _gauge(f"host_memory_{name}", [((), host[name])])
    if host and host["pressure_percent"] >= 0:
        yield _gauge("host_memory_pressure_ratio", [((), host["pressure_percent"] / 100)])
    if figures["messages_lost"]:
        yield Family("messages_lost", LOST, True, ("to",),
                     [((to,), lost) for to, lost in figures["messages_lost"].items()])


class Metrics:
    """/metrics in Prometheus' text format, by prometheus_client. Raises MissingExtra, LiveError."""

    def __init__(self, where: str) -> None:
        try:
            import prometheus_client as prometheus
            from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
        except ImportError:
            raise MissingExtra(
                "--metrics needs prometheus_client: pip install 'fwcore[live]'") from None
        self._kinds = {True: CounterMetricFamily, False: GaugeMetricFamily}
        self._figures: dict[str, Any] | None = None
        self._registry = prometheus.CollectorRegistry(auto_describe=False)
        self._registry.register(self)
        self.site = Site(where, METRICS_PORT, "--metrics", {"/metrics": (
            prometheus.CONTENT_TYPE_LATEST, lambda: prometheus.generate_latest(self._registry))})

    def collect(self) -> Iterable[Any]:
        """What prometheus_client asks for."""
        figures = self._figures
        if figures is None:
            return
        for each in families(figures):
            family = self._kinds[each.grows](
                f"fwcore_{each.name}", each.meaning, labels=each.labels)
            for values, figure in each.samples:
                family.add_metric(values, figure)
            yield family

    def tick(self, figures: dict[str, Any], events: list[dict[str, Any]]) -> None:
        self._figures = figures

    def close(self) -> None:
        self.site.close()
