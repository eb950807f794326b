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


def test_there_are_enough_of_both_kinds():
    names = [mutant.name for mutant in MUTANTS]
    assert len(set(names)) == len(names)
    control = names.index("slab-floored")
    assert control >= 25
    assert len(names) - control >= 25
