"""An inspection of one's own: web servers that are on a list are blocked by their name."""

import collections
import sys

import numpy as np

from fwcore import Answer, Engine, open_capture

if len(sys.argv) != 2:
    sys.exit(f"usage: {sys.argv[0]} CAPTURE")

LISTED = (b"\r\nHost: www.example.com\r\n", b"\r\nHost: www.example.net\r\n")
TLS = (22, 3)               # how a handshake begins


def look(rows: np.ndarray) -> np.ndarray:
    """n questions -> n answers. What is encrypted passes unseen, and counts as exposed."""
    shown = rows["payload"]                                 # uint8[n, 256]
    answers = np.full(len(rows), Answer.ACCEPT)
    answers[(shown[:, :2] == TLS).all(axis=1)] = Answer.BYPASS
    for at, row in enumerate(rows):
        if any(name in row["payload"].tobytes() for name in LISTED):
            answers[at] = Answer.BLOCK
    given.update(Answer(answer).name for answer in answers)
    return answers


given: collections.Counter[str] = collections.Counter()
POLICIES = [{"id": 1, "protocol": "tcp", "inspection": "proxy"}, {"id": 2}]
with Engine("fortios-7", policies=POLICIES) as engine, open_capture(sys.argv[1]) as capture:
    engine.inspect(look, first_bytes=256)
    for chunk in capture:
        engine.process(chunk)
    counters = engine.counters()
    print(*(f"{count} {name}," for name, count in sorted(given.items())),
          f"{counters['reasons'].get('inspector_block', 0)} packets blocked,",
          f"{counters['memory']['peak']['shm']} pages at most")
