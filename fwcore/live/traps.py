"""SNMP traps of the appliance, v2c by UDP, by pysnmp.

    enter conserve mode   1.3.6.1.4.1.12356.101.2.0.605      IPS fail-open   ...101.2.0.506
    AV bypass             1.3.6.1.4.1.12356.101.2.0.606      memory threshold  ...100.1.3.0.102

There is no trap for leaving. With a trap go the scalars of the appliance's MIB: memory in percent
and KiB, sessions.
"""

from __future__ import annotations

import asyncio
import queue
import socket
import threading
from contextlib import suppress
from importlib import import_module
from typing import Any

from fwcore.errors import LiveError, MissingExtra
from fwcore.live.view import address

TRAP_PORT = 162
CONSERVE = "1.3.6.1.4.1.12356.101.2.0.605"
AV_BYPASS = "1.3.6.1.4.1.12356.101.2.0.606"
IPS_FAIL_OPEN = "1.3.6.1.4.1.12356.101.2.0.506"
MEMORY = "1.3.6.1.4.1.12356.100.1.3.0.102"
SCALAR = "1.3.6.1.4.1.12356.101.4.1.{}.0"       # 4 memory %, 5 memory KiB, 8 sessions
OF_EVENT = {"conserve_entered": CONSERVE, "ips_fail_open_entered": IPS_FAIL_OPEN,
            "memory_warning": MEMORY}
WAITING_MAX = 100                               # traps; the network may be slow or gone


class Traps:
    """Sends traps in a thread of its own; what cannot be sent is counted in ``lost``. Raises
    MissingExtra, LiveError."""

    option = "--traps"

    def __init__(self, where: str, community: str) -> None:
        try:
            snmp = import_module("pysnmp.hlapi.v3arch.asyncio")     # which has no types
        except ImportError:
            raise MissingExtra("--traps needs pysnmp: pip install 'fwcore[live]'") from None
        host, port = address(where, TRAP_PORT, "--traps")
        if not host:
            raise LiveError(f"--traps {where!r}: which host?")
        try:
            socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
        except OSError as error:
            raise LiveError(f"--traps {where}: {error.strerror or error}") from None
        self._snmp, self._to, self._community = snmp, (host, port), community
        self._waiting: queue.Queue[tuple[str, dict[str, int]] | None] = queue.Queue(WAITING_MAX)
        self._exposed, self._told = 0, False    # since a mode was entered
        self.lost = 0
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._send_all()), name="traps", daemon=True)
        self._thread.start()

    def tick(self, figures: dict[str, Any], events: list[dict[str, Any]]) -> None:
        found = [OF_EVENT[event["kind"]] for event in events if event["kind"] in OF_EVENT]
        exposed = figures["exposure"]["sessions"]
        if figures["mode"] == "off":        # what is exposed now is so for another reason
            self._exposed, self._told = exposed, False
        elif exposed > self._exposed and not self._told:        # from here on AV is bypassed
            found.append(AV_BYPASS)
            self._told = True
        memory = figures["memory"]
        used, total = memory["now"]["used"], memory["total_pages"]
        scalars = {SCALAR.format(4): 100 * used // max(1, total), SCALAR.format(5): total * 4,
                   SCALAR.format(8): figures["sessions"]["live"]}
        for trap in found:
            try:
                self._waiting.put_nowait((trap, scalars))
            except queue.Full:
                self.lost += 1

    async def _send_all(self) -> None:
        snmp = self._snmp
        engine = snmp.SnmpEngine()
        try:
            while True:
                job = await asyncio.to_thread(self._waiting.get)
                if job is None:
                    return
                trap, scalars = job
                values = [(oid, snmp.Gauge32(min(value, 2**32 - 1)))
                          for oid, value in scalars.items()]
                notification = snmp.NotificationType(snmp.ObjectIdentity(trap))
                notification.add_varbinds(*values)
                try:
                    target = await snmp.UdpTransportTarget.create(self._to)
                    failed, *_ = await snmp.send_notification(
                        engine, snmp.CommunityData(self._community, mpModel=1), target,
                        snmp.ContextData(), "trap", notification)
                    self.lost += failed is not None
                except Exception:                   # of pysnmp or the network: a trap is lost
                    self.lost += 1
        finally:
            engine.close_dispatcher()

    def close(self) -> None:
        """Sends what waits."""
        with suppress(queue.Full):          # nobody takes them: the thread ends with the program
            self._waiting.put(None, timeout=1)
            self._thread.join(5)
