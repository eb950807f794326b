"""Style as a test: who may import whom, how long things are, what may stand in a file.

The floors are data; a new file has to be given a place here. An exception names its reason, and
one that is no longer needed is an error too.
"""

import ast
import functools
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "fwcore"

FUNCTION_LINES = 70
LINE_WIDTH = 100
FILE_LINES = 700
TABLES = ("tests/scenarios/", "tests/mutants.toml")  # a row of a table stays on its line

# A file imports from lower floors only; files on one floor do not know each other. A name with a
# dot at its end is a subpackage: its own files may know each other.
FLOORS = (
    ("dataplane.layout", "dataplane.arena", "words", "units", "errors"),
    ("arguments",),
    ("dataplane.shaping",),
    ("dataplane.bits", "dataplane.heap", "dataplane.match", "dataplane.frame",
     "dataplane.outcome"),
    ("dataplane.key",),
    tuple(f"dataplane.{name}" for name in (
        "parse", "table", "clock", "pages", "hosts", "fragment", "gate", "digest", "scan",
        "meter", "queue", "samples")),
    ("dataplane.session", "dataplane.colour", "dataplane.mark", "dataplane.held"),
    ("dataplane.tree", "dataplane.inspect"),
    ("dataplane.link",),
    ("dataplane.arrive",),
    ("dataplane.egress", "dataplane.admit"),
    ("dataplane.verdict", "dataplane.rows", "dataplane.audit", "dataplane.clear",
     "dataplane.keep"),
    ("dataplane.script", "dataplane.timeline", "dataplane.inspector", "dataplane.decider"),
    ("dataplane.due",),
    ("dataplane",),
    ("_pack", "_parsed", "_use", "_layout"),
    ("_shaper_plan", "_memory", "_policies", "_chunk"),
    ("_shaper_change",),
    ("_shaper_written",),
    ("_shaper_state",),
    ("_shaper", "_inspector", "_decider"),
    ("_fastpath_control",),
    ("_fastpath_questions",),
    ("_fastpath_state",),
    ("_passes",),
    ("_fastpath", "_capture", "_bare", "_columns", "_demand", "_rings", "_tally"),
    ("interruption",),
    ("escape", "infile", "outfile", "schema", "flow", "datagrams"),
    ("rows", "tables"),
    ("conserve", "failopen", "policy", "events", "glossary", "capture.", "reference.", "result"),
    ("shaping_values",),
    ("shaping",),
    ("settings.", "capacity", "policy_layout", "counters", "shaping_layout", "shaping_check"),
    ("policy_lookup", "engine_setup", "engine_control"),
    ("engine_sessions", "engine_state"),
    ("engine_memory",),
    ("engine_hooks",),
    ("engine_shaping",),
    ("hits", "replay.shaped", "replay.selection"),
    ("replay.body",),
    ("engine",),
    ("fastpath",),
    ("_capi",),
    ("replay.",),
    ("demand",),
    ("live.",),
    ("report.",),
    ("bench.",),
    ("terminal", "preflight"),
    ("cli.",),
    ("__main__",),
)
# (who, whom): why, although whom is not on a lower floor. The package itself stands for its
# __init__, which loads every name when it is first asked for.
EXCEPTIONS = {
    ("engine", ""): "__version__ alone; __init__ imports nothing by itself",
    ("replay.body", ""): "__version__ alone; __init__ imports nothing by itself",
    ("bench.runs", ""): "__version__ alone; __init__ imports nothing by itself",
    ("cli", ""): "whether it was built; __init__ imports nothing by itself",
    ("cli.app", ""): "__version__ alone; __init__ imports nothing by itself",
}
# Who may import what is not ours. What is missing here is the standard library, for everybody.
OUTSIDE = {
    "numpy": {
        "_rings", "_capi", "live.",
        "policy_lookup",
        "_pack", "_layout", "_policies", "_chunk", "_fastpath_control", "_fastpath_questions",
        "_fastpath_state", "_fastpath", "_shaper", "_shaper_plan", "_shaper_change",
        "_inspector", "_decider", "_shaper_written", "_shaper_state",
        "_columns", "_demand",
        "policy_layout", "shaping_layout",
        "capture.", "result",
        "counters", "engine", "engine_control", "engine_sessions", "engine_state", "engine_hooks",
        "engine_shaping",
        "datagrams", "hits", "_tally",
        "replay.", "demand", "report.", "bench.", "rows", "tables",
    },
    "scapy": {"capture.scapy"},      # GPL-2.0-only: behind one door, opened when asked for
    "compression": {"capture.stream"},   # of Python 3.14
    "backports": {"capture.stream"},     # the same before
    "pandas": {"tables"},
    "pyarrow": {"rows", "tables"},
    "bokeh": {"report."},
    "matplotlib": {"report."},
    "prometheus_client": {"live.metrics"},
    "pysnmp": {"live.traps"},
    "click": {"cli", "cli."},
    "libc": {".pxd", ".pyx"},
    "typing_extensions": {"engine", "capture.chunk"},     # for who reads types only
    "cpython": {"_fastpath", "_use", "_pack", "_rings", "_capi"},
}


# --- reading the tree ---------------------------------------------------------------------------


@functools.cache
def tracked():
    """Files of the project, as git has them or would take them; all, where there is no git."""
    try:
        out = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT, capture_output=True, check=True, text=True).stdout
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a checkout")
    return sorted(name for name in out.split("\0") if name and (ROOT / name).exists())


def texts():
    """(name, text) of every tracked text file but this one, which has to name what it forbids."""
    for name in tracked():
        data = (ROOT / name).read_bytes()
        if b"\0" not in data and (ROOT / name) != Path(__file__):
            yield name, data.decode()


def sources():
    return [name for name in tracked() if name.endswith((".py", ".pyx", ".pxd"))]


def module_of(path):
    """``fwcore/capture/pcap.py`` -> ``capture.pcap``; an __init__ is its package."""
    parts = path.with_suffix("").relative_to(PACKAGE).parts
    return ".".join(part for part in parts if part != "__init__")


MODULES = {
    module_of(path): path for path in sorted(PACKAGE.rglob("*"))
    if path.suffix in (".py", ".pyx", ".pxd")
}


def floor_of(module):
    """(number of the floor, the entry that stands for the module)."""
    for number, floor in enumerate(FLOORS):
        for entry in floor:
            if module == entry or (entry.endswith(".") and f"{module}.".startswith(entry)):
                return number, entry
    return None, None


def _named(package, names):
    """What ``from package import names`` reaches: submodules, or the package."""
    for name in names:
        full = f"{package}.{name}"
        is_module = full.removeprefix("fwcore.") in MODULES
        yield full if full.startswith("fwcore.") and is_module else package


def _python_imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: relative imports hide which floor is meant"
            yield from _named(node.module, [alias.name for alias in node.names])


def _cython_imports(path):
    joined = re.sub(r"\(\s*([^()]*?),?\s*\)", lambda m: " ".join(m[1].split()), path.read_text())
    for line in joined.splitlines():
        if match := re.match(r"\s*from\s+(\S+)\s+c?import\s+(.*)", line):
            yield from _named(match[1], re.findall(r"\w+", match[2].split("#")[0]))
        elif match := re.match(r"\s*c?import\s+(\S+)", line):
            yield match[1]


def imports_of(path):
    """Full names of the modules that a file imports anywhere, functions included."""
    return set(_python_imports(path) if path.suffix == ".py" else _cython_imports(path))


@functools.cache
def edges():
    """(who, whom) within the package, both without ``fwcore.``."""
    found = set()
    for module, path in MODULES.items():
        for name in imports_of(path):
            if name == "fwcore" or name.startswith("fwcore."):
                found.add((module, name.removeprefix("fwcore").removeprefix(".")))
    return found


# --- floors -------------------------------------------------------------------------------------


def test_every_file_has_its_floor():
    assert [module for module in MODULES if module and floor_of(module)[0] is None] == []


def test_files_import_from_lower_floors_only():
    wrong = []
    for who, whom in sorted(edges()):
        if not who:     # the package itself, whose __init__ names what is public, for who reads it
            continue
        (mine, entry), (its, other) = floor_of(who), floor_of(whom)
        inside = entry is not None and entry == other and entry.endswith(".")
        lower = mine is not None and its is not None and its < mine
        if not (inside or lower or (who, whom) in EXCEPTIONS):
            wrong.append(f"{who} imports {whom or 'fwcore'}")
    assert wrong == []


def test_the_twin_is_for_tests_and_for_readers():
    """What production computed by the twin would be held against itself."""
    assert [f"{who} imports {whom}" for who, whom in sorted(edges())
            if whom.split(".")[0] == "reference" != who.split(".")[0]] == []


def test_exceptions_are_needed():
    present = set(MODULES)
    assert [pair for pair in EXCEPTIONS if pair[0] in present and pair not in edges()] == []


def test_what_is_not_ours_stands_behind_its_doors():
    wrong = []
    for module, path in MODULES.items():
        for name in sorted(imports_of(path)):
            top = name.split(".")[0]
            if top == "fwcore" or top in sys.stdlib_module_names:
                continue
            doors = OUTSIDE.get(top, set())
            if not any(door in (module, path.suffix) or
                       (door.endswith(".") and module.startswith(door)) for door in doors):
                wrong.append(f"{module or '__init__'} imports {name}")
    assert wrong == []


# --- sizes --------------------------------------------------------------------------------------


def _python_functions(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name, node.end_lineno - node.lineno + 1


def _cython_functions(path):
    """A function ends with the last line that is indented deeper than its first."""
    lines = path.read_text().splitlines()
    for at, line in enumerate(lines):
        match = re.match(r"(\s*)(?:cp?def (?!struct|class|extern|enum)[^=]*?|def )(\w+)\(", line)
        if not match:
            continue
        end = at
        for after in range(at + 1, len(lines)):
            text = lines[after]
            if text.strip() and not text.startswith(match[1] + " ") and text.strip()[0] != ")":
                break
            end = after if text.strip() else end
        yield match[2], end - at + 1


def test_functions_fit_on_a_page():
    long, seen = [], 0
    for name in sources():
        path = ROOT / name
        functions = _python_functions if name.endswith(".py") else _cython_functions
        for function, lines in functions(path):
            seen += 1
            if lines > FUNCTION_LINES:
                long.append(f"{name}: {function} has {lines} lines")
    assert long == []
    assert seen > 500  # the scanners still see them


def test_files_are_read_in_a_sitting():
    """A ratchet: who makes one of them shorter lowers its entry."""
    assert {name: text.count("\n") for name, text in texts()
            if name.endswith((".py", ".pyi", ".pyx", ".pxd", ".h"))
            and text.count("\n") > FILE_LINES} == {}


def test_lines_are_short():
    code = (".py", ".pyi", ".pyx", ".pxd", ".h", ".toml", "Makefile", "run")
    assert [
        f"{name}:{number}" for name, text in texts()
        if name.endswith(code) and not name.startswith("tests/scenarios/")  # tables
        for number, line in enumerate(text.splitlines(), 1) if len(line) > LINE_WIDTH
    ] == []


# --- words --------------------------------------------------------------------------------------

FORBIDDEN = {
    "put off": re.compile(r"\b(TODO|FIXME|XXX|HACK)\b"),
    "of one machine": re.compile(r"(?<![\w.])/(work|root|home|opt|tmp/(wt|venv))/"),
    "of one registry": re.compile(r"pypi\.org|pythonhosted|(extra-)?index-url|find-links"),
    "of how it was written": re.compile(
        r"\b(assistant|language model|subagent|co-authored-by|prompted)\b", re.IGNORECASE),
}


@pytest.mark.parametrize("what", FORBIDDEN)
def test_no_file_says(what):
    assert [
        f"{name}:{number}: {line.strip()[:80]}" for name, text in texts()
        for number, line in enumerate(text.splitlines(), 1) if FORBIDDEN[what].search(line)
    ] == []


def test_text_ends_with_one_newline_and_has_no_trailing_space():
    wrong = []
    for name, text in texts():
        if name.endswith((".svg", ".js")):
            continue
        if text and (not text.endswith("\n") or text.endswith("\n\n")):
            wrong.append(f"{name}: its end")
        wrong += [f"{name}:{number}" for number, line in enumerate(text.splitlines(), 1)
                  if line != line.rstrip() and not name.endswith(".md")]
    assert wrong == []


# --- the build ----------------------------------------------------------------------------------


CIMPORT = re.compile(r"^from\s+\S+\s+cimport\s+(\([^)]*\)|.*)", re.M)


def test_what_is_cimported_is_used():
    """cython-lint asks it of .pyx only."""
    for path in sorted([*PACKAGE.rglob("*.pxd"), *PACKAGE.rglob("*.pyx")]):
        code = re.sub(r"#.*", "", re.sub(r'""".*?"""', "", path.read_text(), flags=re.S))
        names = re.findall(r"\w+(?=\s*(?:,|\)|$))", ", ".join(CIMPORT.findall(code)))
        rest = set(re.findall(r"\w+", CIMPORT.sub("", code)))
        assert [name for name in names if name not in rest] == [], path.name


@pytest.mark.parametrize("name", sorted(path.stem for path in PACKAGE.glob("*.pyx")))
def test_cython_warns_of_nothing_and_gives_no_performance_hint(name):
    """A hint means a check for exceptions, or the GIL, where there should be none."""
    said = PACKAGE / f"{name}.lis"
    assert said.exists(), f"touch fwcore/{name}.pyx and build: setup.py has what Cython says kept"
    assert said.read_text() == ""


# --- the map ------------------------------------------------------------------------------------


def file_map(text):
    """Paths in the fenced block under ``## Files``; None without one.

    A line is names (several by single spaces), two spaces or more, and what they are; a name with
    a slash at its end is a folder, what is indented below it is in it. A line that begins deeper
    than any name stands is text that goes on.
    """
    match = re.search(r"^## Files$.*?^```\w*\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    if not match:
        return None
    paths, folders = [], []
    for line in match[1].splitlines():
        indent = len(line) - len(line.lstrip())
        while folders and indent <= folders[-1][0]:
            folders.pop()
        if not line.strip() or indent > (folders[-1][0] + 4 if folders else 0):
            continue
        above = folders[-1][1] if folders else ""
        names = re.split(r"\s{2,}", line.strip())[0].split()
        paths += [above + name for name in names]
        if names[-1].endswith("/"):
            folders.append((indent, above + names[-1]))
    return paths


def test_the_readme_maps_the_tree():
    paths = file_map((ROOT / "README.md").read_text())
    if paths is None:
        pytest.skip("README.md has no map yet")
    parents = {path for path in paths
               if path.endswith("/") and any(p != path and p.startswith(path) for p in paths)}
    folders = tuple(path for path in paths if path.endswith("/") and path not in parents)
    assert [path for path in paths if not (ROOT / path).exists()] == []
    named = set(paths)
    assert [name for name in tracked()
            if name not in named and not (folders and name.startswith(folders))] == []


def test_the_map_is_read_as_it_is_meant():
    text = ("## Files\n\nWords.\n\n```\nfwcore/        the package\n  a.py b.pxd   two\n"
            "               and more of it\n  capture/     readers\npcaps/\n```\n")
    assert file_map(text) == [
        "fwcore/", "fwcore/a.py", "fwcore/b.pxd", "fwcore/capture/", "pcaps/"]
    assert file_map("# none\n") is None
