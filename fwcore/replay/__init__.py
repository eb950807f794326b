"""Replay: captures -> engine -> result. Time, pace, turns and files; no rule of the firewall.

    sources -> timing -> selection -> pace -> engine -> sinks, hits, flows

The time of a packet may be rewritten (``timing``), which changes what the firewall does; when it
is judged by the wall clock (``pace``) does not.
"""

from fwcore.replay.body import result_body
from fwcore.replay.judged import Judged
from fwcore.replay.run import replay
from fwcore.replay.selection import Selection
from fwcore.replay.timing import Timing
from fwcore.replay.turns import Turns

__all__ = ["Judged", "Selection", "Timing", "Turns", "replay", "result_body"]
