"""Packets of the kernel's NFQUEUE, judged where they pass: python nfqueue.py NUMBER [PACKETS]

    nft add rule inet filter forward queue num 3      the kernel asks us of what it forwards
    python nfqueue.py 3

Needs Linux, and root or CAP_NET_ADMIN. While nothing listens to the queue the kernel drops what is
sent there; `queue num 3 bypass` lets it pass then.
"""

import sys

from fwcore import Chunk, Engine
from fwcore.live.nfqueue import Queue

if len(sys.argv) not in (2, 3):
    sys.exit(f"usage: {sys.argv[0]} NUMBER [PACKETS]")
left = int(sys.argv[2]) if len(sys.argv) > 2 else sys.maxsize
queue = Queue(int(sys.argv[1]))
print("listening", flush=True)

with Engine("fortios-7", max_connections=100_000) as engine:
    try:
        while left > 0:
            queue.wait(10**9)
            count = queue.take(min(left, 4096))
            if count:
                chunk = Chunk(queue.data, queue.offset[:count], queue.captured[:count],
                              queue.length[:count], queue.time_ns[:count], queue.link[:count])
                queue.send(engine.process(chunk))
                left -= count
            else:
                engine.advance(queue.now_ns)      # sessions age without packets, too
    except KeyboardInterrupt:
        pass
    queue.close()
    counts = engine.counters()
    print(f"{counts['packets']} packets, {counts['verdicts']['drop']} dropped,"
          f" {len(engine)} sessions, mode {engine.mode}")
