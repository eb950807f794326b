"""Pages of a live run by HTTP: what any server of one needs, and the page for people.

Each server is a thread that shows what the loop told last; nobody who asks makes the loop wait.
"""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from typing import Any

from fwcore.errors import LiveError
from fwcore.live.view import address
from fwcore.result import plain
from fwcore.units import PAGE_BYTES

PAGE_PORT = 8080
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
                if self.command != "HEAD":
                    self.wfile.write(body)

            do_HEAD = do_GET    # monitors ask so

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
