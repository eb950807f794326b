"""The C line as data: layout.pxd and shaping.pxd, and what of _layout.pyi comes from layout.h.

    python tools/layout.py            writes them anew
    python tools/layout.py --check    says whether they are as they would be written

Every enum, table and struct stands in layout.h (with tcp.h and asking.h) and in shaping.h, what C
leaves to the machine in platform.h. Cython and readers of types are told by what this makes of
them; a test holds the files against it. It reads the C of those headers, not C.
"""

import re
import sys
import textwrap
from pathlib import Path

DATAPLANE = Path(__file__).parent.parent / "fwcore" / "dataplane"
PYI = DATAPLANE.parent / "_layout.pyi"
WIDTHS = {"uint8_t": 1, "uint16_t": 2, "int16_t": 2, "uint32_t": 4, "int32_t": 4,
          "int8_t": 1}  # else 8
# Of platform.h what is a macro, and has no types.
MACROS = """\
    void FW_ASSERT(int condition)
    void fw_prefetch(const void *p)
    void fw_prefetch_read(const void *p)
    int fw_likely(int x)
    int fw_unlikely(int x)
    const uint64_t GOLDEN_RATIO
"""
# Enum of the module -> list of layout.h.
ENUMS = {
    "Verdict": "FW_VERDICTS", "Reason": "FW_REASONS", "Exposure": "FW_EXPOSURES",
    "EndCause": "FW_ENDS", "TcpState": "FW_STATES", "WhenFull": "FW_WHEN_FULLS",
    "Midstream": "FW_MIDSTREAMS", "Tracker": "FW_TRACKERS", "GateAction": "FW_GATE_ACTIONS",
    "ObjectAction": "FW_OBJECT_ACTIONS", "PolicyAction": "FW_POLICY_ACTIONS", "Gauge": "FW_GAUGES",
    "Answer": "FW_ANSWERS",
}
BEGIN = "# --- made from dataplane/layout.h by tools/layout.py ---\n"
END = "# --- by hand again ---\n"


def code_of(name):
    """A header without comments, its lines joined where they go on."""
    text = (DATAPLANE / name).read_text()
    text = re.sub(r'#include "(\w+\.h)"', lambda m: "" if m[1] == "layout.h" else code_of(m[1]),
                  text)
    text = re.sub(r"/\*.*?\*/", " ", text, flags=re.DOTALL)
    return re.sub(r"\\\n", " ", text)


def lists_of(code):
    """X-macro -> its words: the first argument behind the prefix."""
    return {name: re.findall(r"X\(p, (\w+)", body)
            for name, body in re.findall(r"#define (FW_\w+)\(X, p\)(.*)", code)}


def enumerators(body, lists):
    """Names of an enum's body."""
    body = re.sub(
        r"(FW_\w+)\(\w+, (\w*)\)", lambda m: "".join(
            f"{m[2] or 'PLACE_'}{word}, " for word in lists[m[1]]), body)
    return [entry.split("=")[0].strip() for entry in body.split(",") if entry.strip()]


def split(parameters):
    """At the commas that stand within no brackets."""
    return [each.strip() for each in re.split(r",(?![^(\[]*[)\]])", parameters) if each.strip()]


def fields_of(body):
    """(type, name with stars and sizes) of a struct's body; parts without a name of their own are
    parts of it."""
    body = re.sub(r"\b(?:union|struct)\s*\{|\}\s*;", " ", body)
    for entry in body.split(";"):
        entry = re.sub(r"\bstruct (\w+) \*", "void *", " ".join(entry.split()))
        call = re.fullmatch(r"(\w+) \(\*(\w+)\)\((.*)\)", entry)
        if call:
            yield call[1], f"(*{call[2]})({call[3]}) noexcept nogil"
        elif entry:
            kind, names = re.fullmatch(r"((?:const )?\w+) (.*)", entry).groups()
            for name in split(names):
                yield kind, name


def without_padding(fields, ends=True):
    """Without what alignment puts there anyway: Cython works offsets out as C does. ``ends``: at
    the end too."""
    widths = [8 if name.startswith(("*", "(")) else WIDTHS.get(kind, 8) for kind, name in fields]
    for at, (kind, name) in enumerate(fields):
        pad = re.fullmatch(r"pad\d?(?:\[(\d+)\])?", name)
        follows = max(widths) if at + 1 == len(fields) else widths[at + 1]
        stays = at + 1 == len(fields) and not ends
        if not pad or stays or widths[at] * int(pad[1] or 1) >= follows:
            yield kind, name


def lines_of_fields(fields):
    """Names side by side; an array or a call on its own line."""
    row, last = [], None
    for kind, name in [*fields, (None, "")]:
        alone = "[" in name or "(" in name or "*" in name
        if row and (alone or kind != last):
            yield f"{last} {', '.join(row)}"
            row = []
        if alone:
            yield f"{kind} {name}"
        elif kind:
            row.append(name)
        last = kind


def wrapped(line, indent, room=100):
    """A signature, cut behind commas where it is too long."""
    parts, row = line.split(", "), ""
    column = line.index(")(") + 2 if ")(" in line else line.index("(") + 1
    for at, part in enumerate(parts):
        part += ", " if at + 1 < len(parts) else ""
        if row and len(indent + row + part.rstrip()) > room:
            yield (indent + row).rstrip()
            row = " " * column
        row += part
    yield indent + row


def structs_of(code):
    """(packed or not, body, name) of each struct with a name."""
    rows = re.findall(r"(#pragma pack\(push, 1\)\n)?typedef struct \w*\s*\{(.*?)\n?\} (\w+);",
                      code, re.DOTALL)
    for pragma, body, name in rows:
        yield "packed struct" if pragma else "struct", body, name


def struct_lines(kind, body, name, ends):
    yield f"    ctypedef {kind} {name}:"
    for line in lines_of_fields(list(without_padding(list(fields_of(body)), ends))):
        if "(" in line:
            yield from wrapped(line, " " * 8)
            continue
        kind, names = line.split(" ", 1)
        for part in textwrap.wrap(names, 91 - len(kind)):
            yield f"        {kind} {part.rstrip(',')}"
    yield ""


def constants_of(code):
    """Declarations of what is a #define and a number; one that names another has its type."""
    kinds, gone = {}, set(re.findall(r"#undef (\w+)", code))
    for name, value in re.findall(r"#define ([A-Z]\w*) +(\S.*)", code):
        kinds[name] = kinds.get(value.strip()) or (
            "uint64_t" if "ULL" in value else
            "int64_t" if "LL" in value or "INT64" in value else "uint32_t")
        if name not in gone:
            yield f"    const {kinds[name]} {name}"


def functions_of(code):
    """Signatures of what is `static inline`."""
    found = re.findall(r"static inline (\w+ \*?\w+)\(([^)]*)\)", code)
    for name, parameters in found:
        yield from wrapped(f"{name}({' '.join(parameters.split())})", "    ")


def declarations(code, ends=True):
    """The lines of a header's .pxd; ``ends``: structs without the padding that ends them."""
    lists = lists_of(code)
    yield "    enum:"
    for body in re.findall(r"(?<!typedef )\benum \{([^}]*)\}", code):
        for line in textwrap.wrap(", ".join(enumerators(body, lists)), 92):
            yield " " * 8 + line.rstrip(",")
    yield ""
    yield from constants_of(code)
    for name, kind in re.findall(r"#define (\w+)\(meta\) +\(\((\w+)\)", code):
        yield f"    {kind} {name}(uint64_t meta)"
    for name in re.findall(r"static const (\w+ [\w *]*\w+(?:\[\w*\])+) =", code):
        yield f"    const {name}"
    yield ""
    for struct in structs_of(code):
        yield from struct_lines(*struct, ends)
    yield from functions_of(code)


def imports(lines, others=""):
    """What the lines take from elsewhere: C's own widths; sizes and structs of another header."""
    used = set(re.findall(r"\b\w+_t\b", "\n".join(lines)))
    own = sorted(used & {"int64_t", "uint64_t", *WIDTHS}, key=lambda name: (
        name.startswith("u"), int(re.search(r"\d+", name)[0])))
    yield f"from libc.stdint cimport {', '.join(own)}"
    sizes = set(re.findall(r"\[([A-Z]\w*)\]", "\n".join(lines)))
    lists = lists_of(others)
    there = {name for body in re.findall(r"\benum \{([^}]*)\}", others)
             for name in enumerators(body, lists)}
    taken = sorted(sizes & there) + sorted(used & {name for _, _, name in structs_of(others)})
    if taken:
        yield from ["", f"from fwcore.dataplane.layout cimport {', '.join(taken)}"]


def layout_pxd():
    """The text of layout.pxd."""
    lines = [
        'cdef extern from "dataplane/layout.h" nogil:', *declarations(code_of("layout.h")), "",
        'cdef extern from "dataplane/platform.h" nogil:',
        *MACROS.splitlines(), *functions_of(code_of("platform.h"))]
    return "\n".join([
        "# layout.h and platform.h for Cython, made by tools/layout.py; meanings are said there.",
        "", *imports(lines), "", *lines, ""])


def shaping_pxd():
    """The text of shaping.pxd. Its rows end with their padding: NumPy forgets what follows the last
    field where it puts rows together, and arrivals of several calls are."""
    lines = ['cdef extern from "dataplane/shaping.h" nogil:',
             *declarations(code_of("shaping.h"), ends=False)]
    return "\n".join([
        "# shaping.h for Cython, made by tools/layout.py; meanings are said there.",
        "", *imports(lines, code_of("layout.h")), "", *lines, ""])


def pyi():
    """What of _layout.pyi follows from layout.h."""
    code = code_of("layout.h")
    lists, parts = lists_of(code), []
    for name, words in ENUMS.items():
        rows = [f"    {word} = {at}" for at, word in enumerate(lists[words])]
        parts += [f"class {name}(IntEnum):", *rows, ""]
    body = re.search(r"typedef struct \{([^}]*)\} gauges_t;", code)[1]
    parts += ["class Gauges(NamedTuple):", *(f"    {name}: int" for _, name in fields_of(body))]
    return "\n".join(parts) + "\n\n"


def made():
    """Path -> text as it would be written."""
    text = PYI.read_text()
    begin, end = text.index(BEGIN) + len(BEGIN), text.index(END)
    return {
        DATAPLANE / "layout.pxd": layout_pxd(), DATAPLANE / "shaping.pxd": shaping_pxd(),
        PYI: f"{text[:begin]}\n{pyi()}{text[end:]}"}


def main(arguments):
    wrong = [path for path, text in made().items() if path.read_text() != text]
    for path in wrong:
        print(f"{path.name}: {'differs; python tools/layout.py' if arguments else 'written'}")
        if not arguments:
            path.write_text(made()[path])
    return len(wrong) if arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
