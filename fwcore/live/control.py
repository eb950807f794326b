"""The control socket: a line of JSON in, a line of JSON out; ``fwcore ask`` is its other end.

    {"do": "figures"}
    {"do": "sessions", "where": {"host": "10.0.0.5"}, "limit": 10}
    {"do": "end", "flows": ["10.0.0.5:4321-203.0.113.9:443/tcp"]}      or "where"
    {"do": "configure", "settings": {"av_failopen": "off"}}
    {"do": "take", "owner": "base", "amount": "64MiB"}                 and "give"
    {"do": "force", "mode": "on"}                                      null: no longer

The socket is a file of mode 0600: who may open it is who may ask. Answers are {"ok": ...} or
{"error": "..."}. Requests are carried out by the loop, between two batches.
"""

from __future__ import annotations

import inspect
import json
import os
import socket
import stat
import struct
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from fwcore.counters import key_text, state_name
from fwcore.errors import LiveError
from fwcore.live.run import Live
from fwcore.result import plain
from fwcore.words import CLASSES

REQUEST_MAX = 1 << 16           # bytes of a request: the wire waits while it is carried out
SESSIONS_MAX = 10_000           # of an answer
PATIENCE_S = 10
RETRY_S = 0.1                   # where nobody can be accepted
LINE_S = 2                      # until a request is here
CLIENTS = 32                    # asked at once
PART_BYTES = 1 << 16


class ControlSocket:
    """Listens on a Unix socket, in a thread of its own."""

    def __init__(self, live: Live, path: str) -> None:
        self._live = live
        self._path = path
        self._socket = _bound(path)
        self._places = threading.Semaphore(CLIENTS)
        self._unsaid: dict[socket.socket, None] = {}    # whose request is not whole, oldest first
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="control", daemon=True)
        self._thread.start()

    def tick(self, figures: dict[str, Any], events: list[dict[str, Any]]) -> None:
        """Nothing: who asks is answered at once."""

    def close(self) -> None:
        self._closed.set()
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        with suppress(OSError):
            os.unlink(self._path)

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:         # closed; or no file is to be had now, and later there may be
                if self._closed.wait(RETRY_S):
                    return
                continue
            if not self._places.acquire(blocking=False):
                self._make_room()
                self._places.acquire()
            with self._lock:
                self._unsaid[connection] = None
            try:
                threading.Thread(
                    target=self._hear, args=(connection,), name="asked", daemon=True).start()
            except RuntimeError:    # no thread is to be had: one after the other, then
                self._hear(connection)

    def _make_room(self) -> None:
        """Who has been longest about a request goes, so that the next one is heard at once."""
        with self._lock, suppress(StopIteration, OSError):
            slowest = next(iter(self._unsaid))
            del self._unsaid[slowest]
            slowest.shutdown(socket.SHUT_RD)

    def _hear(self, connection: socket.socket) -> None:
        """One who asks."""
        try:
            with connection, suppress(OSError):
                connection.sendall(self._answer(connection))
        finally:
            self._places.release()

    def _heard(self, connection: socket.socket) -> bytes:
        """The request; once it is here it makes room for nobody."""
        try:
            return _line(connection)
        finally:
            with self._lock:
                if connection not in self._unsaid:
                    raise LiveError(f"more than {CLIENTS} ask at once, and this request was the"
                                    " longest without its end: ask again")
                del self._unsaid[connection]

    def _answer(self, connection: socket.socket) -> bytes:
        try:
            try:
                request = json.loads(self._heard(connection))
            except ValueError as error:
                raise LiveError(f"a request is a line of JSON: {error}") from None
            name = request.get("do") if isinstance(request, dict) else None
            if not isinstance(name, str) or name not in DEEDS:
                raise LiveError(f"do: one of {', '.join(DEEDS)} is asked for")
            do = _deed(request)
            answer = {"ok": self._live.ask(lambda: do(self._live), PATIENCE_S)}
            return json.dumps(answer, default=plain).encode() + b"\n"
        except Exception as error:      # whatever was sent: who asks is told, and the next is heard
            answer = {"error": str(error) or type(error).__name__}
            return json.dumps(answer).encode() + b"\n"


def _bound(path: str) -> socket.socket:
    """A listening socket of mode 0600; LiveError when another listens there, or cannot be had."""
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if os.path.exists(path):
            if not stat.S_ISSOCK(os.stat(path).st_mode):
                raise LiveError(f"--control {path}: exists and is no socket")
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as other:
                if other.connect_ex(path) == 0:
                    raise LiveError(f"--control {path}: in use: another fwcore live listens there")
            os.unlink(path)           # left behind by one that was killed
        before = os.umask(0o177)
        try:
            made.bind(path)
        finally:
            os.umask(before)
        made.listen(4 * CLIENTS)
    except OSError as error:
        made.close()
        raise LiveError(f"--control {path}: {error.strerror or error}") from None
    except LiveError:
        made.close()
        raise
    return made


def _line(connection: socket.socket) -> bytes:
    """A request. Of one that is too long the rest is read, too: with bytes unread the kernel would
    answer by a reset, and nobody would learn why."""
    data = part = b""
    length, end = 0, time.monotonic() + LINE_S
    while b"\n" not in part:
        connection.settimeout(max(0.001, end - time.monotonic()))
        try:
            part = connection.recv(PART_BYTES)
        except TimeoutError:
            raise LiveError(f"the request was not whole within {LINE_S} s") from None
        if not part:
            break
        length += len(part)
        data = data[-REQUEST_MAX:] + part
    connection.settimeout(PATIENCE_S)
    if length > REQUEST_MAX:
        raise LiveError(f"a request of {length} bytes: {REQUEST_MAX} at most")
    return data


# --- what may be asked for ------------------------------------------------------------------------


def _figures(live: Live) -> Any:
    return live.figures()


def _where(value: Any) -> Mapping[str, Any] | None:
    if value is not None and not isinstance(value, dict):
        raise LiveError("where: a dictionary of field and value is asked for")
    return value


def _sessions(live: Live, where: Any = None, limit: int = 20) -> Any:
    if not isinstance(limit, int) or not 0 <= limit <= SESSIONS_MAX:
        raise LiveError(f"limit: 0 to {SESSIONS_MAX}")
    now = live.engine.fastpath.now_ns
    return [{
        "flow": key_text(row), "state": state_name(int(row["state"])),
        "policy": int(row["policy"]), "inspection": CLASSES[row["inspection"]],
        "age_ns": now - int(row["created_ns"]), "idle_ns": now - int(row["last_seen_ns"]),
        "packets": row["packets"].tolist(), "bytes": row["bytes"].tolist(),
    } for row in live.engine.sessions(_where(where), limit)]


def _end(live: Live, flows: Any = (), where: Any = None) -> Any:
    if not isinstance(flows, list | tuple):
        raise LiveError("flows: a list is asked for")
    chosen = list(flows)
    if where is not None:
        chosen += list(live.engine.sessions(_where(where)))
    return {"ended": live.engine.end(*chosen)}


def _configure(live: Live, settings: Any) -> Any:
    if not isinstance(settings, dict):
        raise LiveError("settings: a dictionary of name and value is asked for")
    live.configure(**settings)
    return {"changed": sorted(settings)}


def _take(live: Live, owner: str, amount: Any) -> Any:
    return {"pages": live.engine.take(owner, amount)}


def _give(live: Live, owner: str, amount: Any) -> Any:
    return {"pages": live.engine.give(owner, amount)}


def _force(live: Live, mode: Any = None) -> Any:
    live.engine.force(mode)
    return {"mode": live.engine.mode}


DEEDS: Mapping[str, Callable[..., Any]] = {
    "figures": _figures, "sessions": _sessions, "end": _end, "configure": _configure,
    "take": _take, "give": _give, "force": _force,
}


def _deed(request: dict[str, Any]) -> Callable[[Live], Any]:
    """What is asked for, with its figures; LiveError where they are others'."""
    name = request.pop("do")
    takes = inspect.signature(DEEDS[name])
    try:
        takes.bind(None, **request)
    except TypeError:
        known = ", ".join([*takes.parameters][1:]) or "nothing else"
        raise LiveError(f"{name}: {known}: that is asked for, and {', '.join(request) or 'nothing'}"
                        " was given") from None
    return lambda live: DEEDS[name](live, **request)


def ask(path: str, request: dict[str, Any]) -> Any:
    """Asks the live run that listens at ``path``; what it answers. Raises LiveError."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as made:
        # Not settimeout, by which connect would end at once where others are before us.
        made.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", PATIENCE_S, 0))
        try:
            made.connect(path)
            made.settimeout(PATIENCE_S + 5)
            made.sendall(json.dumps(request).encode() + b"\n")
            data = b""
            while part := made.recv(1 << 16):
                data += part
        except OSError as error:
            raise LiveError(f"{path}: nobody answers: {error.strerror or error}") from None
    try:
        answer = json.loads(data)
    except ValueError:
        raise LiveError(f"{path}: the answer is cut off") from None
    if "error" in answer:
        raise LiveError(answer["error"])
    return answer["ok"]
