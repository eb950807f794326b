"""The list of mutants fits the code: each change finds its one place, and changes something."""

import importlib.util
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def load():
    spec = importlib.util.spec_from_file_location("mutants", ROOT / "tools" / "mutants.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["mutants"] = module
    spec.loader.exec_module(module)
    return module.load()


MUTANTS = load()


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_it_changes_one_place(mutant):
    assert (ROOT / mutant.file).read_text().count(mutant.old) == 1
    assert mutant.text() != (ROOT / mutant.file).read_text()
    assert mutant.why


def test_there_are_as_many_of_the_control_plane_as_of_the_fast_path():
    names = [mutant.name for mutant in MUTANTS]
    assert len(set(names)) == len(names)
    fast = sum(mutant.compiled for mutant in MUTANTS)
    assert fast >= 80 and len(names) - fast >= fast


def test_a_mutant_says_who_sees_it():
    """By a file, or a test in one, that is there."""
    for mutant in MUTANTS:
        assert mutant.tests
        for test in mutant.tests:
            path, _, name = test.partition("::")
            assert f"def {name}" in (ROOT / path).read_text(), f"{mutant.name}: {test}"
