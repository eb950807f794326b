"""The course of figures: what a change is and what is noise, the file, the page, the exit code."""

from __future__ import annotations

import json
import re
import resource
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from test_bench import Processes, made

from fwcore import bench
from fwcore.bench import guard, history
from fwcore.bench.cases import CASES
from fwcore.errors import FwcoreError


def series(*levels, noise=0.03, runs=10, processes=3, seed=1):
    """``runs`` runs at each level, the last at one alone; each run wanders, and its processes."""
    random = np.random.default_rng(seed)
    found = []
    for at, level in enumerate(levels):
        for _ in range(runs if at < len(levels) - 1 or at == 0 else 1):
            wander = random.normal(1, noise / 2)
            found.append((level * wander * random.normal(1, noise / 2, processes)).tolist())
    return found, [f"c{at}" for at in range(len(found))]


@pytest.mark.parametrize("seed", range(10))
def test_noise_is_no_change(seed):
    assert history.changes(*series(0.5, seed=seed)) == []


@pytest.mark.parametrize("seed", range(10))
def test_the_run_with_a_planted_slowdown_is_named(seed):
    """15 % more time, in one run after ten."""
    points, commits = series(0.5, 0.5 / 1.15, seed=seed)
    [change] = history.changes(points, commits)
    assert (change.run, change.commit) == (10, "c10")
    assert change.slower == pytest.approx(0.15, abs=0.07)


def test_several_changes_are_told_apart():
    one, two, three = (series(level, seed=at)[0] for at, level in enumerate((0.5, 0.4, 0.6)))
    found = history.changes([*one, *two, *three], [f"c{at}" for at in range(30)])
    assert [change.run for change in found] == [10, 20]
    assert found[0].slower > 0.15 > 0 > found[1].slower


@pytest.mark.parametrize("points", [[], [[0.5]], [[0.5] * 3], [[0.5] * 3, [0.1] * 2],
                                    [[0.5] * 3] * 20])
def test_what_is_too_short_or_never_differs_has_no_change(points):
    assert history.changes(points, ["c"] * len(points)) == []


def test_energies_are_those_of_the_definition():
    part = np.random.default_rng(3).normal(size=9)
    for cut, energy in zip(range(1, 9), history._energies(part, np.arange(1, 9)), strict=True):
        one, two = part[:cut], part[cut:]
        def mean(a, b):
            return np.abs(a[:, None] - b[None, :]).mean()
        wanted = 2 * mean(one, two) - mean(one, one) - mean(two, two)
        assert energy == pytest.approx(wanted * len(one) * len(two) / len(part))


def test_as_great_is_as_great_whatever_is_rounded():
    """One in 35 shufflings of eight points keeps these halves apart: too many to be no chance."""
    points = [[0.5, 0.5], [0.5, 0.51], [0.4, 0.4], [0.4, 0.4]]
    assert history.changes(points, list("abcd")) == []


def test_memory_grows_with_the_points_and_not_with_their_pairs():
    part = np.random.default_rng(4).normal(size=2_000)
    tracemalloc.start()
    history._energies(part, np.arange(1, 2_000))
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 20 * part.nbytes


def test_runs_are_kept_and_the_one_that_became_slower_fails(tmp_path, monkeypatch, capsys):
    folder = str(tmp_path / "kept")
    for turn in range(6):
        wander = 1 + 0.01 * (turn % 3)
        Processes(monkeypatch, (0.5 * wander, 0.51 * wander, 0.49 * wander))
        assert bench.run(["read", "parse"], repeat=3, history=folder) == 0
    assert "6 runs of this machine" in capsys.readouterr().out
    slow = Processes(monkeypatch, (0.42, 0.43, 0.41))
    assert bench.run(["read"], repeat=3, history=folder) == 4
    assert slow.count == 6, "it was measured once more"
    out = capsys.readouterr().out
    assert "once more: read" in out and "slower since" in out and "run 7 of 7" in out
    page = (tmp_path / "kept" / "history.html").read_text()
    assert page.count("<svg") == 1 and "stroke=#d33" in page
    Processes(monkeypatch, (0.42, 0.43, 0.41))
    assert bench.run(["read"], repeat=3, history=folder) == 0, "it is known by now"


def test_a_disturbance_that_passes_fails_nothing(tmp_path, monkeypatch, capsys):
    folder = str(tmp_path)
    for _ in range(6):
        Processes(monkeypatch, (0.5, 0.51, 0.49))
        assert bench.run(["read"], repeat=3, history=folder) == 0
    Processes(monkeypatch, (0.42, 0.43, 0.41, 0.5, 0.51, 0.49))
    assert bench.run(["read"], repeat=3, history=folder) == 0
    assert "once more: read" in capsys.readouterr().out


def test_runs_of_another_machine_are_another_course(tmp_path, monkeypatch, capsys):
    Processes(monkeypatch, (0.5,))
    assert bench.run(["read"], repeat=3, history=str(tmp_path)) == 0
    path = tmp_path / history.FILE
    run = json.loads(path.read_text())
    run["machine"]["cpu"] = "another"
    path.write_text(json.dumps(run) + "\n")
    assert bench.run(["read"], repeat=3, history=str(tmp_path)) == 0
    assert "1 runs of another machine" in capsys.readouterr().out
    assert len(path.read_text().splitlines()) == 2


@pytest.mark.parametrize("text", ["no json", "{}", "[]", '{"figures": {"read": {"ratios": [0]}}}',
                                  '{"figures": {"read": {"ratios": ["x"]}}}', "[" * 100_000])
def test_a_damaged_history_is_named_before_anything_runs(tmp_path, text):
    (tmp_path / history.FILE).write_text(text + "\n")
    with pytest.raises(FwcoreError, match="line 1 is no run"):
        bench.run(["read"], repeat=3, history=str(tmp_path))


def forged(value):
    """Every tree that is one with another value at one place, and those that lack one."""
    yield from ODD
    for key in value if isinstance(value, dict) else range(len(value)):
        rest = {name: value[name] for name in value if name != key} if isinstance(value, dict) \
            else value[:key] + value[key + 1:]
        yield rest
        inner = forged(value[key]) if isinstance(value[key], dict | list) else ODD
        for each in inner:
            yield {**value, key: each} if isinstance(value, dict) \
                else [*value[:key], each, *value[key + 1:]]


ODD = (None, True, -1, 0, 10**400, 1e308, 5e-324, float("nan"), "", "1e5", "\x1b[2J", "<b>",
       "\ud800", [], [1, "x"], {}, {"a": {"b": []}})


def refusal(do, path):
    """What a FwcoreError says; nothing, where all is well."""
    try:
        do(path)
    except FwcoreError as error:
        return str(error)
    return ""


def fit(path):
    """A baseline for one case."""
    before = guard.read_baseline(path)
    guard.check_fit(before, [CASES["read"]], 3, False, "baseline")
    return before


def test_a_forged_line_is_refused_or_shown(tmp_path, monkeypatch):
    """Whatever stands in a history or a baseline: a FwcoreError, or lines and a page of text."""
    monkeypatch.setattr(history, "SHUFFLES", 1)
    record = made("read")
    run, taken = history.line_of([record | {"commit": "c"}], False), 0
    for each in forged(run):
        whole = json.dumps(run) + "\n"
        (tmp_path / history.FILE).write_text(whole * 3 + json.dumps(each) + "\n" + whole * 3)
        said = refusal(history.read, str(tmp_path))
        if said:
            assert "line 4 is no run" in said
            continue
        past = [past for past in history.read(str(tmp_path))
                if history.kind_of(past) == history.kind_of(run)]
        lines, page = history.report([*past, run], ["read"])[0], history.page(past, ["read"])
        assert "\x1b" not in "".join(lines)
        assert "<b>" not in page
        assert not {"nan", "inf"} & set(re.findall("[a-z]+", page))
        (page + "".join(lines)).encode()
        taken += 1
    assert taken > 20
    for each in forged(record):
        (tmp_path / "baseline").write_text(json.dumps(each))
        said = refusal(fit, str(tmp_path / "baseline"))
        if said:
            assert "baseline" in said
            assert "\x1b" not in said
            continue
        before = fit(str(tmp_path / "baseline"))
        [found] = guard.findings([record], before, CASES, 0.2, builds=False)
        lines = [found.text(), *guard.strangeness(run, before)]
        assert "\x1b" not in "".join(lines)
        bench.runs.as_markdown([found], lines, "").encode()
        taken += 1
    assert taken > 80


def test_of_a_run_that_finds_no_room_there_is_no_half(tmp_path):
    """A line cut by a full disk made the whole history unreadable."""
    Path(tmp_path, history.FILE).write_text("{}\n")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, before[1]))
    try:
        with pytest.raises(FwcoreError, match="cannot be written"):
            history.append(str(tmp_path), {"a": "long line"})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert Path(tmp_path, history.FILE).read_text() == "{}\n"


@pytest.mark.parametrize("given", [{"repeat": 2}, {"repeat": 3, "against": "python3"}])
def test_a_history_is_of_one_build_and_has_a_spread(tmp_path, given):
    with pytest.raises(FwcoreError, match="--history keeps runs"):
        bench.run(["read"], history=str(tmp_path), **given)
