"""What all tests share: the checkout is what is tested, and Hypothesis' profiles.

What takes longest comes first, so that no core waits for the other at the end.

Profiles: ``ci`` (HYPOTHESIS_PROFILE, or CI in the environment) draws as many examples as the
project asks for; the default is for a quick look. A profile's number is that of a test which says
nothing; those in which randomness finds most ask for more (tests/examples.py). Examples are the
same in every run, so that a red test stays red: what a longer search finds becomes an @example.
"""

import os
import signal

from hypothesis import HealthCheck, Phase, settings
from hypothesis.internal.conjecture import providers

# Hypothesis also draws the numbers and words that stand in the modules imported so far: those of
# one order of tests are not those of another, and what is red in one place is green in the next.
if hasattr(providers, "_get_local_constants"):      # since 6.131
    providers._get_local_constants = providers.Constants

COMMON = {"deadline": None, "derandomize": True, "print_blob": True,
          "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("quick", max_examples=20, **COMMON)
settings.register_profile("ci", max_examples=100, **COMMON)
# What a mutant makes red need not be made small.
settings.register_profile("mutants", max_examples=30, report_multiple_bugs=False,
                          phases=(Phase.explicit, Phase.generate), **COMMON)
settings.load_profile(
    os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if os.environ.get("CI") else "quick"))


def pytest_configure():
    """What runs in the background ignores SIGINT, what runs under nohup SIGHUP, and so would what
    the tests start and end."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)
