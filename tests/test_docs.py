"""The documentation tells the truth: its commands run, its Python runs, its pages can be built.

A fenced ``console`` block is a dialogue: a line ``$ command`` (one that ends with a backslash
goes on) and what it prints, in order; ``...`` stands for anything, a line without it must be there
as it is. A command ends with 0 unless ``$ echo $?`` and its answer follow. ``python`` blocks of a
page run one after the other in one name space. A ``toml`` block that begins with ``# name.toml`` is
written to that file. Everything happens in an empty directory with ``capture.pcap``, ``pcaps/`` and
``docs/``.
"""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from fwcore import shaping_values

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")
WAIT_S = 120
SHOWN = {"FIN_WAIT_REPLY": "FIN_WAIT'"}


def blocks(page, *kinds):
    return [(kind, text) for kind, text in BLOCK.findall(page.read_text()) if kind in kinds]


def with_blocks(*kinds):
    """Pages that have such blocks, as parameters with their names."""
    return pytest.mark.parametrize(
        "page", [pytest.param(page, id=page.name) for page in PAGES if blocks(page, *kinds)])


def dialogue(text):
    """[(command, expected lines)] of a console block."""
    found = []
    for line in text.replace("\\\n", " ").splitlines():
        if line.startswith("$ "):
            found.append((" ".join(line[2:].split()), []))
        else:
            assert found, f"{line!r} stands before any command"
            found[-1][1].append(line.rstrip())
    return found


def pattern(line):
    """A line as a regular expression; ``...`` within it is anything."""
    return ".*".join(map(re.escape, (part.rstrip() for part in line.split("..."))))


def missing(expected, printed):
    """Expected lines that were not printed, or not in this order."""
    lines, at, absent = [line.rstrip() for line in printed.splitlines()], 0, []
    for line in expected:
        if line.strip() in ("...", ""):
            continue
        wanted = re.compile(pattern(line))
        later = [n for n in range(at, len(lines)) if wanted.fullmatch(lines[n])]
        if later:
            at = later[0] + 1
        else:
            absent.append(line)
    return absent


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A directory as a new user has it: programs on PATH, a capture, the checkout's pcaps."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, module in (("fwcore", " -m fwcore"), ("python", "")):
        script = programs / name
        script.write_text(f'#!/bin/sh\nexec "{sys.executable}"{module} "$@"\n')
        script.chmod(0o755)
    here = tmp_path / "here"
    here.mkdir()
    (here / "pcaps").symlink_to(ROOT / "pcaps")
    (here / "docs").symlink_to(ROOT / "docs")
    shutil.copy(ROOT / "pcaps" / "web.pcap", here / "capture.pcap")
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    above = os.environ.get("PYTHONPATH")
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}{os.pathsep}{above}" if above else str(ROOT))
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("PYTHONIOENCODING", "utf-8")
    monkeypatch.chdir(here)
    return here


def write_named(text, place):
    """A toml block that says which file it is."""
    tomllib.loads(text)
    if named := re.match(r"# (\S+\.toml)\n", text):
        (place / named[1]).write_text(text)


@with_blocks("console")
def test_commands_run(page, place):
    wrong = []
    for kind, text in blocks(page, "toml", "console"):
        if kind == "toml":
            write_named(text, place)
            continue
        steps = dialogue(text)
        for number, (command, expected) in enumerate(steps):
            if command == "echo $?":
                continue
            if command.startswith("fwcore bench") and not importlib.util.find_spec("fwcore.bench"):
                continue
            code = 0
            if number + 1 < len(steps) and steps[number + 1][0] == "echo $?":
                code = int(steps[number + 1][1][0])
            done = subprocess.run(
                ["/bin/sh", "-c", command], capture_output=True, text=True, timeout=WAIT_S,
                check=False)
            printed = done.stdout + done.stderr
            if done.returncode != code:
                wrong.append(f"{command}: exit {done.returncode}\n{printed}")
            wrong += [f"{command}: not printed: {line!r}\n{printed}"
                      for line in missing(expected, printed)]
    assert wrong == [], "\n".join(wrong)


@with_blocks("python")
def test_python_runs(page, place):
    text = "\n".join(text for _, text in blocks(page, "python"))
    done = subprocess.run(
        [sys.executable, "-c", text], capture_output=True, text=True, timeout=WAIT_S, check=False)
    assert done.returncode == 0, done.stderr


@with_blocks("toml")
def test_toml_is_toml(page):
    for _, text in blocks(page, "toml"):
        tomllib.loads(text)


def test_examples_in_the_readme_are_short():
    """An engine and a Scapy loop in ten lines each, imports and empty lines aside."""
    for _, text in blocks(ROOT / "README.md", "python"):
        lines = [line for line in text.splitlines() if line and not line.startswith("from ")]
        assert len(lines) <= 10


def test_files_that_are_linked_exist():
    made = {"settings.md", "personalities.md", "glossary.md"}  # tools/docs_pages.py
    assert [
        f"{page.name}: {link}" for page in PAGES for link in LINK.findall(page.read_text())
        if "://" not in link and Path(link).name not in made and not (page.parent / link).exists()
    ] == []


def test_figures_of_the_readme_are_filled_in():
    text = (ROOT / "README.md").read_text()
    assert "TBD" not in text


def test_who_brings_rings_is_told_all_that_is_asked_of_them():
    """Of docs/extending.md: the names that a live run asks of its rings, but the batch's arrays."""
    from fwcore.capture import Chunk

    asked = set(re.findall(r"\brings\.([a-z_]+)", (ROOT / "fwcore/live/run.py").read_text()))
    text = (ROOT / "docs" / "extending.md").read_text()
    told = text.split("asks its rings and\nnothing else:")[1].split("Rings of another kind")[0]
    arrays = asked & set(dir(Chunk.from_frames([b""], [0])))
    assert len(arrays) == 6
    assert sorted(asked - arrays) == sorted(re.findall(r"`([a-z_]+)`", told))


def test_the_rules_name_every_number():
    """Verdicts, reasons, causes and laws of the page are those of the program."""
    from fwcore._layout import EndCause, Reason, Verdict
    from fwcore.engine import Engine

    text = (ROOT / "docs" / "rules.md").read_text()
    for reason in Reason:
        assert f"| {int(reason)} | `{reason.name.lower()}` |" in text
    for verdict in Verdict:
        assert f"| {int(verdict)} | {verdict.name} |" in text
    for cause in EndCause:
        assert f"| `{cause.name.lower()}` |" in text
    with Engine(personality="plain", max_connections=16) as engine:
        assert [f"`{name}`" for name in engine.laws() if f"| `{name}` |" not in text] == []


def test_the_rules_have_the_tcp_table():
    """The table on the page is the twin's, cell by cell."""
    from fwcore import reference

    text = (ROOT / "docs" / "rules.md").read_text()
    table = text[text.index("| state | from | SYN |"):].split("\n\n")[0].splitlines()[2:]
    read, state = {}, ""
    for line in table:
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        state = cells[0] or state
        for direction in ("forward", "reply") if cells[1] == "both" else (cells[1],):
            read[state, direction] = cells[2:]
    assert len(read) == 14
    for (state, direction), row in reference.TCP_ROWS.items():
        cells = [reference.TCP_LETTERS[letter] for letter in row.split()]
        shown = ["-" if cell is None else SHOWN.get(cell, cell) for cell in cells]
        if state in ("TIME_WAIT", "CLOSED"):
            shown[0] = "(clash)"
        assert read[SHOWN.get(state, state), direction] == shown


def test_the_page_of_settings_has_every_key_of_a_row():
    """With what stands where it is left out; in a vendor's spelling, where it is a vendor's."""
    page = subprocess.run(
        [sys.executable, "tools/docs_pages.py", "settings"], cwd=ROOT, text=True,
        capture_output=True, check=True, env=os.environ | {"PYTHONPATH": str(ROOT)}).stdout
    for kind, keys in shaping_values.KINDS.items():
        rows = page.partition(f"`[[{kind}]]`\n\n")[2].partition("\n\n")[0]
        assert rows.count("\n") == len(keys) + 1
    assert "`[[fortios.traffic-shaper]]`" in page
    for name, last in (("limit_packets", "1000"), ("maximum-bandwidth-percentage", "1"),
                       ("id", ""), ("quantum_bytes", "auto"), ("class-id", "0"),
                       ("Name", "needed")):
        assert re.search(rf"^\| `{name}` \|.* \| {last} \|$", page, re.M), name
    assert "`target` | codel | as tc writes a time: 5ms, 50 (us) | 5 ms |" in page


@pytest.mark.slow
def test_the_site_builds(tmp_path):
    pytest.importorskip("mkdocs")
    pytest.importorskip("mkdocstrings")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")],
        cwd=ROOT, capture_output=True, text=True, check=False,
        env=os.environ | {"PYTHONPATH": str(ROOT)})
    assert done.returncode == 0, done.stdout + done.stderr
    for name in ("settings", "personalities", "glossary", "api"):
        assert (tmp_path / "site" / name / "index.html").exists()
