"""fwcore: what a stateful firewall does when memory runs out.

    import fwcore
    from fwcore.replay import replay

    settings = fwcore.load("fortios-7", assignments=["ram_bytes=512MiB"])
    result = replay("traffic.pcap", settings)

Names are loaded when they are first used, so that ``import fwcore`` costs nothing.
"""

import sys
from typing import Any, NoReturn

__version__ = "0.1.0"

_HOME = {
    "Engine": "fwcore.engine", "load": "fwcore.settings", "Settings": "fwcore.settings",
    "Chunk": "fwcore.capture", "open_capture": "fwcore.capture", "Result": "fwcore.result",
    "Verdict": "fwcore._fastpath", "Reason": "fwcore._fastpath",
    "FwcoreError": "fwcore.errors",
}
__all__ = [*_HOME, "__version__"]  # noqa: PLE0604 - strings all the same


class _Unbuilt:
    """Asked last of all finders, so that a checkout that was not built says what it is."""

    @staticmethod
    def find_spec(name: str, path: Any = None, _target: Any = None) -> None:
        """Raises ImportError for our own extension modules: nobody before found them."""
        if path is not None and name in EXTENSIONS:
            _refuse(name)


def _refuse(name: str) -> NoReturn:
    raise ImportError(
        f"{name} is not built in {__path__[0]}: this is a checkout. Build it (pip install"
        " --editable .), or start elsewhere to use the fwcore that is installed", name=name)


EXTENSIONS = (
    "fwcore._fastpath", "fwcore._capture", "fwcore._columns", "fwcore._demand", "fwcore._bare")
sys.meta_path.append(_Unbuilt)  # type: ignore[arg-type]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'fwcore' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
