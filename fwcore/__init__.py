"""fwcore: what a stateful firewall does when memory runs out.

    import fwcore
    from fwcore.replay import replay

    settings = fwcore.load("fortios-7", assignments=["ram_bytes=512MiB"])
    result = replay("traffic.pcap", settings)

Names are loaded when they are first used, so that ``import fwcore`` costs nothing.
"""

from typing import Any

__version__ = "0.1.0"

_HOME = {
    "Engine": "fwcore.engine", "load": "fwcore.settings", "Settings": "fwcore.settings",
    "Chunk": "fwcore.capture", "open_capture": "fwcore.capture", "Result": "fwcore.result",
    "Verdict": "fwcore._fastpath", "Reason": "fwcore._fastpath",
    "FwcoreError": "fwcore.errors",
}
__all__ = [*_HOME, "__version__"]  # noqa: PLE0604 - strings all the same


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'fwcore' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
