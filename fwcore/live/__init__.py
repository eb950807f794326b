"""Live: interfaces -> engine -> interfaces. Wall time and who watches; no rule of the firewall.

    rings --batch--> engine --verdicts--> rings          no Python per frame
                       |  ^
               figures |  | requests, between two batches
                       v  |
         metrics, page, events, control socket, view     see ``watch``

``run`` is the loop; ``memory`` lets the machine's own memory be the appliance's; ``bypass`` is what
remains of the wire when the program has ended.
"""

from fwcore.live.run import Live, live

__all__ = ["Live", "live"]
