"""Memory source ``host``: what this machine has and has left, as the appliance's memory.

    /proc/meminfo       MemTotal, MemAvailable
    cgroup v2           memory.max, memory.current, inactive_file of memory.stat
    cgroup v1           memory.limit_in_bytes, memory.usage_in_bytes, total_inactive_file
    /proc/pressure      PSI: share of the last 10 s in which somebody waited for memory

The appliance's RAM is the smallest of machine, cgroup and the cgroups around it; its base is what
others than the simulated sessions and buffers have of it, followed once a second by ``take`` and
``give``. So conserve mode is entered when this machine, or this container, runs out of memory.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from fwcore.engine import Engine
from fwcore.errors import LiveError
from fwcore.settings import Settings
from fwcore.units import PAGE_BYTES

KIB = 1024
NO_LIMIT = 1 << 60             # cgroup v1 says so with 2**63 - 1, rounded down to pages


class Reading(NamedTuple):
    """Memory at one moment, bytes; ``pressure``: PSI's some avg10, percent, -1: not known."""

    total: int
    available: int
    pressure: float


class HostMemory:
    """What the machine says; ``root``: where / is, for tests."""

    def __init__(self, root: str = "/") -> None:
        self._root = Path(root)
        self._group = self._find_group()
        self.reading = self.read()

    # --- reading ---

    def read(self) -> Reading:
        """Total and available memory, the cgroup's where that is less. Raises LiveError."""
        try:
            return self._read()
        except (OSError, ValueError) as error:
            raise LiveError(f"memory of this machine cannot be read: {error}") from None

    def _read(self) -> Reading:
        fields = {}
        for line in self._text("proc/meminfo").splitlines():
            name, _, value = line.partition(":")
            number = value.split()
            if number and number[0].isdigit():
                fields[name] = int(number[0]) * KIB
        try:
            total, available = fields["MemTotal"], fields["MemAvailable"]
        except KeyError as missing:
            raise LiveError(f"/proc/meminfo: no {missing}: memory source host needs it") from None
        limit, left = self._limits()
        if limit < total:
            total, available = limit, min(available, left)
        return Reading(total, min(available, total), self._pressure())

    def _text(self, path: str) -> str:
        try:
            return (self._root / path).read_text()
        except OSError as error:
            raise LiveError(f"/{path}: cannot be read: {error.strerror}") from None

    def _find_group(self) -> tuple[Path, str, str, str] | None:
        """Folder of our memory cgroup and the names of limit, use and cached bytes."""
        try:
            lines = self._text("proc/self/cgroup").splitlines()
        except LiveError:
            return None
        found = None
        for line in lines:
            _, controllers, path = line.split(":", 2)
            if "memory" in controllers.split(","):
                return self._folder("sys/fs/cgroup/memory", path, (
                    "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"))
            if controllers == "":
                found = self._folder("sys/fs/cgroup", path, (
                    "memory.max", "memory.current", "inactive_file"))
        return found

    def _folder(
        self, base: str, path: str, names: tuple[str, str, str],
    ) -> tuple[Path, str, str, str] | None:
        """Within a container the path may be the host's: then the root of what is mounted."""
        for folder in (self._root / base / path.lstrip("/"), self._root / base):
            if (folder / names[0]).exists():
                return (folder, *names)
        return None

    @property
    def limits_hidden(self) -> bool:
        """Whether the kernel has cgroups and nothing of them is to be seen here: ``ip netns exec``
        mounts a /sys of its own over theirs."""
        try:
            return bool(self._text("proc/self/cgroup")) and not any(
                (self._root / "sys/fs/cgroup").iterdir())
        except FileNotFoundError:     # no such folder
            return True
        except (LiveError, OSError):
            return False

    def _limits(self) -> tuple[int, int]:
        """(least limit, least that is left below one) of the cgroup and of those it stands in,
        a slice or a container's; no limit is NO_LIMIT. Raises LiveError for one that cannot be
        read."""
        if self._group is None:
            return NO_LIMIT, NO_LIMIT
        if not (self._group[0] / self._group[1]).exists():      # we were moved, or it is unmounted
            mounted = (self._root / "sys/fs/cgroup/cgroup.procs").exists()
            self._group = self._find_group() or (None if mounted else self._group)
            if self._group is None:
                return NO_LIMIT, NO_LIMIT
        folder, *names = self._group
        found = [self._limit(folder, *names)]
        while (folder.parent / names[0]).exists():
            folder = folder.parent
            found.append(self._limit(folder, *names))
        limits, left = zip(*found, strict=True)
        return min(limits), min(left)

    def _limit(self, folder: Path, limit_name: str, used_name: str, cached_name: str,
               ) -> tuple[int, int]:
        """(limit, what is left below it, with what can be dropped) of one cgroup."""
        limit, used, stat = (self._text(str((folder / name).relative_to(self._root)))
                             for name in (limit_name, used_name, "memory.stat"))
        cached = dict(line.split(maxsplit=1) for line in stat.splitlines()).get(cached_name, "0")
        limit = limit.strip()
        if not limit.isdigit() or int(limit) >= NO_LIMIT:
            return NO_LIMIT, NO_LIMIT
        return int(limit), max(0, int(limit) - max(0, int(used) - int(cached)))

    def _pressure(self) -> float:
        try:
            text = (self._root / "proc/pressure/memory").read_text()
            return float(text.partition("some avg10=")[2].split()[0])
        except (OSError, ValueError, IndexError):
            return -1.0

    # --- the appliance's ---

    def settings(self, settings: Settings) -> Settings:
        """The same settings with this machine's memory; the model's size follows, too."""
        total = self.reading.total // PAGE_BYTES * PAGE_BYTES
        used = total - self.reading.available
        sessions = settings.replace(ram_bytes=total, base_bytes=0).preallocated_pages * PAGE_BYTES
        return settings.replace(
            ram_bytes=total, base_bytes=max(0, min(used - sessions, total - sessions)))

    @property
    def figures(self) -> dict[str, float]:
        """The last reading by name."""
        return {"total_bytes": self.reading.total, "available_bytes": self.reading.available,
                "pressure_percent": self.reading.pressure}

    def follow(self, engine: Engine) -> int:
        """Moves the base to where this machine's use is; pages taken (negative: given back).

        What is left counts, of the RAM that the appliance began with: a limit may be lowered.
        """
        self.reading = now = self.read()
        owners = engine.owners()
        used = engine.settings.ram_bytes - min(now.available, engine.settings.ram_bytes)
        wanted = used // PAGE_BYTES - (owners["used"] - owners["base"])
        step = max(0, wanted) - owners["base"]
        if step > 0:
            step = engine.take("base", min(step, owners["free"]) * PAGE_BYTES) \
                if owners["free"] else 0
        elif step < 0:
            step = -engine.give("base", -step * PAGE_BYTES)
        return step
