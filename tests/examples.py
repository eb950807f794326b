"""How many examples the random tests draw, in one place.

FWCORE_EXAMPLES says how many MANY are; without it the profile does (conftest.py). They go to the
tests in which randomness finds things: the engine against its twin. Parsers, trackers and laws of
shaping, of which there is less to draw, have a SHARE; elsewhere SOME do.
"""

import os

from hypothesis import settings

MANY = int(os.environ.get("FWCORE_EXAMPLES") or settings().max_examples)
SHARE = max(20, MANY // 5)
SOME = max(20, min(300, MANY // 10))
