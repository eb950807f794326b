"""--large: the cases of ``fwcore bench`` in their own sizes."""

from __future__ import annotations

import pytest

from fwcore.bench.cases import CASES, Case


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--large", action="store_true",
                     help="cases in their own sizes: a million sessions, files of 1.5 GB")


LONG = {"outputs"}      # commands by the dozen: a minute, however small their capture


def is_small(case: Case) -> bool:
    """Whether a case is quick when it is cut, and still the one that its name says."""
    cut = case.sessions > case.quick_sessions and case.name.endswith(f"-{case.sessions}")
    return not (cut or case.on_request or case.name in LONG)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "case" in metafunc.fixturenames:
        large = metafunc.config.getoption("--large")
        cases = [case for case in CASES.values() if large or is_small(case)]
        metafunc.parametrize("case", cases, ids=lambda case: case.name)


@pytest.fixture
def quick(request: pytest.FixtureRequest) -> bool:
    """Whether sizes are cut, as with ``fwcore bench --quick``."""
    return not request.config.getoption("--large")
