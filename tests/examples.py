"""How many examples the random tests draw, in one place.

A profile's own number (conftest.py) are SOME, and ten times as many are MANY, unless
FWCORE_EXAMPLES says how many those are. MANY go to the tests in which randomness finds things: the
engine against its twin. Parsers, trackers and laws of shaping, of which there is less to draw, have
a SHARE.
"""

import os

from hypothesis import settings

SOME = settings().max_examples
MANY = int(os.environ.get("FWCORE_EXAMPLES") or 10 * SOME)
SHARE = max(20, MANY // 5)
