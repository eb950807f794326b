"""The view on a terminal: one screen, redrawn once a second; and lines as JSON or syslog."""

from __future__ import annotations

import json
import os
import socket
import sys
from collections import deque
from contextlib import suppress
from datetime import UTC, datetime
from typing import IO, Any

from fwcore.errors import LiveError, OutputError
from fwcore.escape import visible
from fwcore.live.text import screen

HOME, CLEAR_LINE, CLEAR_BELOW = "\x1b[H", "\x1b[K", "\x1b[J"


class View:
    """Redraws on standard error, when that is a terminal."""

    def __init__(self, stream: IO[str] | None = None) -> None:
        self._stream = stream or sys.stderr
        self._events: deque[str] = deque(maxlen=8)
        self._write("\x1b[2J")

    def tick(self, figures: dict[str, Any], events: list[dict[str, Any]]) -> None:
        self._events.extend(event["text"] for event in events)
        try:
            width, height = os.get_terminal_size(self._stream.fileno())
        except OSError:
            width = height = 0
        width, height = width or 100, height or 40      # a terminal may not know its size
        lines = [visible(line)[:width - 1] for line in screen(figures, list(self._events))]
        self._write(HOME + "".join(f"{line}{CLEAR_LINE}\r\n" for line in lines[:height - 1])
                    + CLEAR_BELOW)

    def _write(self, text: str) -> None:
        with suppress(OSError, ValueError):     # a terminal that went away ends nothing else
            self._stream.write(text)
            self._stream.flush()

    def close(self) -> None:
        self._write("\r\n")


class EventLines:
    """Events as they come, a JSON object a line, to a file ("-": standard output)."""

    def __init__(self, path: str) -> None:
        self._path = path
        self.failure = ""
        try:
            self._file = sys.stdout if path == "-" else os.fdopen(
                os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666), "w")
        except OSError as error:
            raise OutputError(f"{path}: cannot be written ({error.strerror})") from None

    def tick(self, figures: dict[str, Any], events: list[dict[str, Any]]) -> None:
        if not events:
            return
        try:
            self._file.writelines(json.dumps(event) + "\n" for event in events)
            self._file.flush()
        except OSError as error:
            self.failure = f"{self._path}: writing failed ({error.strerror})"
            raise OutputError(self.failure) from None

    def close(self) -> None:
        """What could not be written stays unwritten: ``tick`` has said so."""
        if self._path != "-":
            with suppress(OSError):
                self._file.close()


# --- syslog ---------------------------------------------------------------------------------------

SYSLOG_PORT = 514
DAEMON = 3 << 3                 # facility
SEVERITY = {"conserve_entered": 2, "extreme_entered": 1, "ips_fail_open_entered": 2,
            "memory_warning": 4, "table_full": 4}       # others: 5, notice
ENTERPRISE = 32473              # for documentation, RFC 5612: fwcore has no number of its own


def address(text: str, port: int, what: str) -> tuple[str, int]:
    """``host:port``, ``[v6]:port``, ``:port``, a host, or a number alone, which is a port: no host
    is called so. LiveError for a port that is none."""
    host, colon, number = text.rpartition(":")
    without = text.endswith("]") or (":" in host and not host.endswith("]"))    # IPv6, no port
    if without or not (colon or text.isdecimal()):
        host, number = text, str(port)
    if not (number.isascii() and number.isdecimal()) or int(number[:6]) > 65535:
        raise LiveError(f"{what} {text!r}: {number!r} is no port (0 to 65535); like"
                        f" 192.0.2.1:{port}")
    return host.strip("[]"), int(number)


def rfc5424(event: dict[str, Any], host: str) -> bytes:
    """One event as a message of RFC 5424, its figures as structured data."""
    when = datetime.fromtimestamp(event["time_ns"] / 1e9, UTC).isoformat(timespec="microseconds")
    data = "".join(
        f' {name}="{_escaped(str(value))}"' for name, value in event.items()
        if name not in ("text", "kind", "time_ns") and not isinstance(value, dict | list))
    severity = SEVERITY.get(event["kind"], 5)
    return (f"<{DAEMON + severity}>1 {when.replace('+00:00', 'Z')} {host} fwcore {os.getpid()}"
            f" {event['kind']} [event@{ENTERPRISE}{data}] {visible(event['text'])}").encode()


def _escaped(text: str) -> str:
    for each in '\\"]':
        text = text.replace(each, "\\" + each)
    return text


class Syslog:
    """Events to a syslog server by UDP, RFC 5424 and 5426; ``lost``: those it would not take."""

    option = "--syslog"

    def __init__(self, where: str) -> None:
        self._where = where
        self.lost = 0
        host, port = address(where, SYSLOG_PORT, self.option)
        self._host = socket.gethostname()[:255] or "-"
        try:
            family, kind, _, _, to = socket.getaddrinfo(
                host or "127.0.0.1", port, type=socket.SOCK_DGRAM)[0]
            self._socket = socket.socket(family, kind)
            self._socket.connect(to)
            self._socket.setblocking(False)
        except OSError as error:
            raise LiveError(f"--syslog {where}: {error.strerror or error}") from None

    def tick(self, figures: dict[str, Any], events: list[dict[str, Any]]) -> None:
        why = ""
        for event in events:
            try:
                self._socket.send(rfc5424(event, self._host))
            except OSError as error:
                self.lost, why = self.lost + 1, error.strerror or str(error)
        if why:
            raise LiveError(f"--syslog {self._where}: {why}")

    def close(self) -> None:
        self._socket.close()
