"""The fast path: owns the memory, the only loop; run, snapshot, apply."""

from enum import IntEnum

from fwcore._layout cimport (
    END_COUNT, END_NAMES, EXPOSURE_COUNT, EXPOSURE_NAMES, GATE_COUNT, GATE_NAMES, GAUGE_COUNT,
    GAUGE_NAMES, MIDSTREAM_COUNT, MIDSTREAM_NAMES, OBJECT_COUNT, OBJECT_NAMES, POLICY_COUNT,
    POLICY_NAMES, REASON_COUNT, REASON_NAMES, STATE_COUNT, STATE_NAMES, VERDICT_COUNT,
    VERDICT_NAMES, WHEN_FULL_COUNT, WHEN_FULL_NAMES,
)


cdef object _enum(str name, const char **names, int count):
    """An IntEnum from a list of _layout.h."""
    members = {(<bytes>names[i]).decode(): i for i in range(count)}
    return IntEnum(name, members, module=__name__)


Verdict = _enum("Verdict", VERDICT_NAMES, VERDICT_COUNT)
Reason = _enum("Reason", REASON_NAMES, REASON_COUNT)
Exposure = _enum("Exposure", EXPOSURE_NAMES, EXPOSURE_COUNT)
EndCause = _enum("EndCause", END_NAMES, END_COUNT)
TcpState = _enum("TcpState", STATE_NAMES, STATE_COUNT)
WhenFull = _enum("WhenFull", WHEN_FULL_NAMES, WHEN_FULL_COUNT)
Midstream = _enum("Midstream", MIDSTREAM_NAMES, MIDSTREAM_COUNT)
GateAction = _enum("GateAction", GATE_NAMES, GATE_COUNT)
ObjectAction = _enum("ObjectAction", OBJECT_NAMES, OBJECT_COUNT)
PolicyAction = _enum("PolicyAction", POLICY_NAMES, POLICY_COUNT)
Gauge = _enum("Gauge", GAUGE_NAMES, GAUGE_COUNT)
