"""Pages of a live run by HTTP: /metrics for Prometheus, / for people.

Each server is a thread that shows what the loop told last; nobody who asks makes the loop wait.
"""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from typing import Any

from fwcore._rings import COUNTERS
from fwcore.errors import LiveError, MissingExtra
from fwcore.glossary import BY_NAME, find
from fwcore.live.view import address
from fwcore.result import plain
from fwcore.units import PAGE_BYTES
from fwcore.words import MODES

METRICS_PORT, PAGE_PORT = 9108, 8080
SAMPLES = 600                   # of the page's charts: ten minutes
EVENTS = 200
POLICY = ("default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self';"
          " img-src data:")


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A reader that goes away is nobody's trouble."""


class _Server6(_Server):
    address_family = socket.AF_INET6


class Site:
    """An HTTP server with a few pages: path -> (content type, what makes the bytes)."""

    def __init__(self, where: str, port: int, option: str,
                 pages: Mapping[str, tuple[str, Callable[[], bytes]]]) -> None:
        host, number = address(where, port, option)

        class Handler(BaseHTTPRequestHandler):
            timeout = 10
            server_version, sys_version = "fwcore", ""

            def do_GET(self) -> None:
                kind, make = pages.get(self.path.partition("?")[0], ("", bytes))
                code, body = (200, b"") if kind else (404, b"not found\n")
                try:
                    body = make() or body
                except Exception as error:      # who asks is told; the run goes on
                    code, kind, body = 500, "text/plain", f"{error!r}\n".encode()
                self.send_response(code)
                self.send_header("Content-Type", kind or "text/plain")
                self.send_header("Content-Length", str(len(body)))
                self.send_header("Content-Security-Policy", POLICY)
                self.send_header("X-Content-Type-Options", "nosniff")
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name
                """Nothing is said of who asks."""

        try:
            server = _Server6 if ":" in host else _Server
            self._server = server((host or "127.0.0.1", number), Handler)
        except OSError as error:
            raise LiveError(
                f"{option} {host or '127.0.0.1'}:{number}: {error.strerror or error}") from None
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


# --- metrics --------------------------------------------------------------------------------------

# Family of metrics: (path in the figures, label, whether it only grows). A path that ends in a
# dictionary gives a sample a key; the label's name says what the key is.
FAMILIES = (
    ("packets", "", True), ("bytes", "", True), ("verdicts", "verdict", True),
    ("reasons", "reason", True), ("decode", "kind", True),
    ("sessions.created", "", True), ("sessions.live", "", False), ("sessions.peak", "", False),
    ("sessions.reborn", "", True), ("sessions.ended", "cause", True), ("memory_tension", "", True),
    ("stampede.passes", "", True), ("exposure.sessions", "", True), ("exposure.packets", "", True),
    ("exposure.bytes", "", True), ("proxy.sessions", "", False), ("proxy.objects", "", True),
    ("ips.full_count", "", True), ("time_reversed", "", True), ("flaps", "", True),
)
GAUGES = {
    "mode": "conserve mode: 0 off, 1 on, 2 extreme",
    "up_seconds": "seconds since the run began",
    "delay_seconds": "how long frames were here from arrival to sent, by quantile",
    "interface_up": "1 where the interface is up",
    "waiting_frames": "frames that links hold back",
}


def samples(figures: Mapping[str, Any]) -> Iterable[tuple[str, str, bool, str, dict[str, float]]]:
    """(name, help, whether it only grows, label's name, value by label) of every metric."""
    for path, label, grows in FAMILIES:
        value: Any = figures
        for part in path.split("."):
            value = value[part]
        entry = find(path)
        text = entry.meaning if entry is not None and entry.name == path else f"{path}, by {label}"
        by = value if isinstance(value, Mapping) else {"": value}
        yield path.replace(".", "_"), text, grows, label, dict(by)
    memory = figures["memory"]
    yield ("memory_bytes", "simulated memory by owner, free and used", False, "owner",
           {name: pages * PAGE_BYTES for name, pages in memory["now"].items()})
    yield ("memory_total_bytes", "simulated memory in all", False, "",
           {"": memory["total_pages"] * PAGE_BYTES})
    yield "conserve_seconds", "seconds spent in each mode", True, "mode", figures["mode_seconds"]
    yield "mode", GAUGES["mode"], False, "", {"": MODES.index(figures["mode"])}
    yield "up_seconds", GAUGES["up_seconds"], False, "", {"": figures["up_s"]}
    yield ("delay_seconds", GAUGES["delay_seconds"], False, "quantile",
           {"0.5": figures["delay"]["p50_ns"] / 1e9, "0.99": figures["delay"]["p99_ns"] / 1e9})
    yield "waiting_frames", GAUGES["waiting_frames"], False, "", {"": figures["waiting"]}
    ports = figures["interfaces"]
    yield ("interface_up", GAUGES["interface_up"], False, "interface",
           {name: float(row["state"] == "up") for name, row in ports.items()})
    for counter in COUNTERS:
        text = BY_NAME[f"live.interfaces.{counter}"].meaning
        unit = "" if counter.endswith("bytes") else "_frames"
        yield (f"interface_{counter}{unit}", text, True, "interface",
               {name: row[counter] for name, row in ports.items()})


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
        for name, text, grows, label, by in samples(figures):
            family = self._kinds[grows](f"fwcore_{name}", text, labels=[label] if label else [])
            for key, value in by.items():
                family.add_metric([str(key)] if label else [], value)
            yield family

    def tick(self, figures: dict[str, Any], events: list[dict[str, Any]]) -> None:
        self._figures = figures

    def close(self) -> None:
        self.site.close()


# --- the page -------------------------------------------------------------------------------------


class Page:
    """The live page: charts that move, the banner of conserve mode, interfaces and events."""

    def __init__(self, where: str) -> None:
        self._samples: list[dict[str, Any]] = []
        self._events: list[dict[str, Any]] = []
        self._lock = threading.Lock()
        folder = resources.files("fwcore.live")
        files = {name: (folder / name).read_bytes()
                 for name in ("page.html", "page.css", "page.js")}
        self.site = Site(where, PAGE_PORT, "--page", {
            "/": ("text/html; charset=utf-8", lambda: files["page.html"]),
            "/page.css": ("text/css", lambda: files["page.css"]),
            "/page.js": ("text/javascript", lambda: files["page.js"]),
            "/data": ("application/json", self._data)})

    def _data(self) -> bytes:
        with self._lock:
            return json.dumps({"samples": self._samples, "events": self._events},
                              default=plain).encode()

    def tick(self, figures: dict[str, Any], events: list[dict[str, Any]]) -> None:
        memory = figures["memory"]
        thresholds = figures["thresholds"].get("unified") or {}
        row = {
            "time_ms": figures["time_ns"] // 1_000_000, "mode": figures["mode"],
            "label": figures["label"], "personality": figures["personality"],
            "rates": figures["rates"], "live": figures["sessions"]["live"],
            "verdicts": figures["verdicts"], "total": memory["total_pages"] * PAGE_BYTES,
            "memory": {name: pages * PAGE_BYTES for name, pages in memory["now"].items()},
            "thresholds": {name: pages * PAGE_BYTES for name, pages in thresholds.items()},
            "interfaces": figures["interfaces"], "delay": figures["delay"]}
        with self._lock:
            self._samples = [*self._samples, row][-SAMPLES:]
            self._events = [*self._events, *events][-EVENTS:]

    def close(self) -> None:
        self.site.close()
