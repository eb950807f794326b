"""fwcore: what a stateful firewall does when memory runs out.

    import fwcore
    from fwcore.replay import replay

    settings = fwcore.load("fortios-7", assignments=["ram_bytes=512MiB"])
    result = replay("traffic.pcap", settings)

Names are loaded when they are first used, so that ``import fwcore`` costs nothing.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False  # as of typing, whose import would be most of ours

if TYPE_CHECKING:  # the same names as in _HOME, for whoever reads and does not run
    from fwcore._layout import (
        Answer,
        EndCause,
        Exposure,
        GateAction,
        Gauge,
        Midstream,
        ObjectAction,
        PolicyAction,
        Reason,
        TcpState,
        Tracker,
        Verdict,
        WhenFull,
    )
    from fwcore.capture import Chunk, Fault, Reader, open_capture
    from fwcore.engine import Engine
    from fwcore.engine_hooks import Batch, Decision
    from fwcore.errors import (
        CaptureError,
        ConfigFrozen,
        DataError,
        EngineBusy,
        EngineClosed,
        FlowError,
        FrameError,
        FwcoreError,
        LawBroken,
        LiveError,
        MissingExtra,
        MissingName,
        OutputError,
        PipeClosed,
        SettingsError,
        StateError,
    )
    from fwcore.events import Event, Transition
    from fwcore.flow import Flow
    from fwcore.result import Result
    from fwcore.settings import Settings, Timeouts, load

if TYPE_CHECKING:
    from typing import Any, NoReturn

__version__ = "0.1.0"


def get_include() -> str:
    """The folder of ``fwcore.h``, for compilers: the firewall in C, or in Cython by
    ``fwcore.fastpath``."""
    return f"{__path__[0]}/include"



__all__ = [
    "Engine", "Settings", "Timeouts", "load", "Chunk", "Fault", "Reader", "open_capture", "Result",
    "Event", "Transition", "Batch", "Flow",
    "Answer", "Decision", "Verdict", "Reason", "EndCause", "Exposure", "GateAction", "Gauge",
    "Midstream", "ObjectAction", "PolicyAction", "TcpState", "Tracker", "WhenFull",
    "FwcoreError", "CaptureError", "ConfigFrozen", "DataError", "EngineBusy", "EngineClosed",
    "FlowError", "FrameError", "LawBroken", "MissingExtra", "MissingName", "OutputError",
    "PipeClosed", "SettingsError", "StateError", "LiveError",
    "__version__", "get_include",
]  # fmt: skip
_ROOMS = {
    "fwcore._layout": "Answer Verdict Reason EndCause Exposure GateAction Gauge Midstream"
                      " ObjectAction PolicyAction TcpState Tracker WhenFull",
    "fwcore.capture": "Chunk Fault Reader open_capture",
    "fwcore.engine": "Engine",
    "fwcore.engine_hooks": "Batch Decision",
    "fwcore.errors": "FwcoreError CaptureError ConfigFrozen DataError EngineBusy EngineClosed"
                     " FlowError FrameError LawBroken MissingExtra MissingName OutputError"
                     " PipeClosed SettingsError StateError LiveError",
    "fwcore.events": "Event Transition",
    "fwcore.flow": "Flow",
    "fwcore.result": "Result",
    "fwcore.settings": "Settings Timeouts load",
}
_HOME = {name: room for room, names in _ROOMS.items() for name in names.split()}


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
    "fwcore._layout", "fwcore._pack", "fwcore._parsed", "fwcore._chunk", "fwcore._memory",
    "fwcore._policies", "fwcore._shaper_plan", "fwcore._shaper_change", "fwcore._shaper_written",
    "fwcore._shaper_state", "fwcore._shaper", "fwcore._fastpath_control",
    "fwcore._fastpath_questions", "fwcore._fastpath_state", "fwcore._fastpath", "fwcore._capture",
    "fwcore._columns", "fwcore._demand", "fwcore._bare", "fwcore._rings", "fwcore._capi",
    "fwcore._tally", "fwcore._use", "fwcore._inspector",
    "fwcore._decider")
sys.meta_path.append(_Unbuilt)  # type: ignore[arg-type, unused-ignore]

if not TYPE_CHECKING:  # or a name that is not there would be Any

    def __getattr__(name: str) -> Any:
        if name not in _HOME:
            raise AttributeError(f"module 'fwcore' has no attribute {name!r}")
        from importlib import import_module

        return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
