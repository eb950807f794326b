"""[[meter]], [[link]], [[class]], [[shaping]]: what is refused, and both ends of each range."""

from __future__ import annotations

import numpy as np
import pytest

from fwcore import _shaper, _shaper_plan, shaping
from fwcore.errors import SettingsError
from fwcore.reference import declared
from fwcore.settings import load
from fwcore.shaping import parse
from fwcore.shaping_layout import lay_out
from fwcore.shaping_values import CLASS, LINK, METER, RUNG, SHAPING

WRONG = [
    ('[[meter]]\nname = "m"\nrungs = [{rate = "1Mbt", depth = "1s"}]', 3, "is no rate"),
    ('[[meter]]\nname = "m"\nalgoritm = "rfc2697"', 3, 'did you mean "algorithm"'),
    ('[[meter]]\nname = "m"\nrungs = [{rate = 999999937, depth = 1000000000}]', 3, "2\\^61 units"),
    ('[[meter]]\nname = "m"\nrungs = []', 3, "1 to 8 tables"),
    ('[[meter]]\nname = "m"\nalgorithm = "rfc4115"\nrungs = [{rate = 8, depth = 1}]', 3, "two"),
    ('[[meter]]\nname = "m"\nmax_sessions = 1\nrungs = [{rate = 8, depth = 1}]', 3, "initiator"),
    ('[[meter]]\nname = "m"\nover = "class"\nrungs = [{rate = 8, depth = 1}]', 1, "over_class"),
    ('[[link]]\nname = "a"\nnext = "b"\n[[link]]\nname = "b"\nnext = "a"', 3, "circle"),
    ('[[link]]\nname = "wan1"\nnext = "wan2"', 3, 'did you mean "wan1"'),
    ('[[class]]\nlink = "w"\nid = 1', 2, "not declared"),
    ('[[link]]\nname = "w"\n[[class]]\nlink = "w"\nid = 1\nguarantee = "20%"', 6, "without a rate"),
    ('[[link]]\nname = "w"\nrate = 100_000\n[[class]]\nlink = "w"\nid = 1\nguarantee = "60%"\n'
     '[[class]]\nlink = "w"\nid = 2\nguarantee = "60%"', 7, "add up to 120000"),
    ('[[link]]\nname = "w"\nrate = 100\n[[class]]\nlink = "w"\nid = 1\nguarantee = 50\n'
     "ceiling = 40", 8, "below the guarantee"),
    ('[[link]]\nname = "w"\n[[class]]\nlink = "w"\nid = 1\nparent = 2\n[[class]]\nlink = "w"\n'
     "id = 2\nparent = 1", 6, "circle"),
    ('[[link]]\nname = "w"\n[[class]]\nlink = "w"\nid = 1\nred_min = 3', 6, 'discard = "red"'),
    ('[[link]]\nname = "w"\n[[class]]\nlink = "w"\nid = 1\nguarantee_burst = 3', 6,
     "there is none"),
    ('[[link]]\nname = "w"\n[[class]]\nlink = "w"\nid = 1\ndiscard = "codel"\nneed = "packet"', 7,
     "does not go with"),
    ('[[link]]\nname = "w"\n[[class]]\nlink = "w"\nid = 1\nlimit_packets = 3\n[[class]]\n'
     'link = "w"\nid = 2\nparent = 1', 6, "has no queue"),
    ('[[link]]\nname = "w"\n[[shaping]]\nlink = "w"\nclass = 7', 5, "no leaf of link 'w'"),
    ('[[shaping]]\nmeters = ["voice"]', 2, "not declared"),
    ('[[link]]\nname = "w"\n[[shaping]]\nlink = "w"\nsource = "10.0.0.1/8"', 5,
     "beyond its prefix"),
    ('[[link]]\nname = "w"\n[[shaping]]\nlink = "w"\nclass_by_dscp = {64 = 1}', 5, "is no DSCP"),
    ('[[link]]\nname = "w"\n[[shaping]]\nlink = "w"\nreply_class_by_dscp = {3 = 1}', 5,
     "needs reply_link"),
    ('[[link]]\nname = "w"\n[[shaping]]\nreply_link = "w"\nreply_class_by_dscp = {3 = 9}', 5,
     "reply_class_by_dscp: class 9 is no leaf"),
    ('[[link]]\nname = "w"\n[[class]]\nlink = "w"\nid = 1\nlimit_packets = 0\nshare = "flow"', 7,
     "share is of a queue"),
    ('[[link]]\nname = "w"\n[[link]]\nname = "w"', 4, "given twice"),
    ('[[link]]\nname = "w"\n[[class]]\nlink = "w"\nid = 1\n[[class]]\nlink = "w"\nid = 1', 8,
     "id = 1 is given twice for link 'w'"),
    ('[[link]]\nname = "WAN1"\n[[shaping]]\nlink = "wan2"', 4, 'did you mean "WAN1"'),
    ('[[shapping]]\nid = 1', 1, 'unknown table "shapping"; did you mean "shaping"'),
    ('[[meter]]\nname = "m"\nalgorithm = "rfc2697"\nrungs = [{rate = 8, depth = 1},'
     " {rate = 8, depth = 1}]", 4, "a depth and no rate"),
    ("".join(f'[[link]]\nname = "l{n}"\nnext = "{f"l{n + 1}" if n < 8 else ""}"\n'
             for n in range(9)), 3, "a chain of more than 8"),
    ('[[link]]\nname = "w"\n' + "".join(
        f'[[class]]\nlink = "w"\nid = {n + 1}\nparent = {n}\n' for n in range(9)), 38,
     "more than 8 classes deep"),
    ('[[link]]\nname = "w"\n[[class]]\nlink = "w"\nid = 3\n[[class]]\nlink = "w"\nid = 1\n'
     "parent = 2", 9, "link 'w' has no such class; it has 1, 3"),
    ('[[link]]\nname = "w"\n[[class]]\nlink = "w"\nid = 1\n[[class]]\nlink = "w"\nid = 2\n'
     'parent = 1\n[[shaping]]\nlink = "w"\nclass = 1', 12, "class 1 is no leaf"),
]


def test_what_is_as_long_and_as_deep_as_may_be_is_taken():
    links = [{"name": f"l{n}", "next": f"l{n + 1}" if n < 7 else ""} for n in range(8)]
    classes = [{"link": "l0", "id": n + 1, "parent": n} for n in range(8)]
    found = parse(links=links, classes=classes)
    assert (len(found.links), len(found.classes)) == (8, 8)
    lay_out(found)


@pytest.mark.parametrize(("text", "line", "says"), WRONG)
def test_what_is_wrong_is_refused_where_it_stands(tmp_path, text, line, says):
    path = tmp_path / "x.toml"
    path.write_text(text)
    with pytest.raises(SettingsError, match=says) as refused:
        load("plain", path)
    assert str(refused.value).startswith(f"{path}:{line}: ")


def rows(kind, name, value):
    """A declaration in which a key has a value."""
    meter = {"name": "m", "rungs": [{"rate": 8000, "depth": 2000}]}
    link, row = {"name": "w", "rate": 10**12}, {"id": 1, "link": "w"}
    cls = {"link": "w", "id": 9}
    if kind == "rung":
        meter["rungs"][0][name] = value
        cls["id"] = value if name == "class" else 9
    elif kind == "meter":
        meter[name] = value
        meter |= {"key": "initiator"} if name.startswith("max_") else {}
        meter |= {"over": "class"} if name == "over_class" else {}
    elif kind == "link":
        link[name] = value
    elif kind == "class":
        cls[name] = value
        cls |= {"discard": "red"} if name.startswith("red_") else {}
        cls |= {"red_max": 1 << 20} if name == "red_min" else {}
        cls |= {"red_min": 0} if name == "red_max" else {}
        cls |= {"discard": "codel"} if name in ("target", "interval") else {}
        cls |= {"share": "flow"} if name.startswith("share") else {}
        cls |= {"guarantee": 8000} if name == "guarantee_burst" else {}
        cls |= {"ceiling": 8000} if name == "ceiling_burst" else {}
        cls |= {"share_ceiling": 8000} if name == "share_burst" else {}
    else:
        row[name] = value
    return {"meters": [meter], "links": [link], "classes": [cls], "rows": [row]}


NUMBERS = [(kind, name, key) for kind, keys in
           (("meter", METER), ("rung", RUNG), ("link", LINK), ("class", CLASS),
            ("shaping", SHAPING))
           for name, key in keys.items()
           if key.kind in ("count", "rate", "share", "time", "quantum")
           and name not in ("over_class", "class", "reply_class", "parent")]


def written(key, number):
    return f"{number}ns" if key.kind == "time" else number


@pytest.mark.parametrize(("kind", "name", "key"), NUMBERS)
def test_each_number_is_taken_at_both_ends_and_not_beyond(kind, name, key):
    for number in (key.low, key.high):
        if (name, number) == ("red_min", 1 << 20):
            number -= 1  # red_max is above it
        found = parse(**rows(kind, name, written(key, number)))
        _shaper.Shaper(lay_out(found), packets_max=16) if name not in (
            "keys_max", "limit_packets") else lay_out(found)
    for number in (key.low - 1, key.high + 1):
        if key.kind == "time" and number < 0:
            continue
        with pytest.raises(SettingsError):
            parse(**rows(kind, name, written(key, number)))


def test_every_number_fits_the_field_that_holds_it():
    fields = {"meter": _shaper_plan.METER_DTYPE, "rung": _shaper_plan.METER_DTYPE,
              "link": _shaper_plan.LINK_DTYPE, "class": _shaper_plan.CLASS_DTYPE}
    other = {"overhead_bytes": "overhead", "quantum_bytes": "quantum", "target": "target_ns",
             "interval": "interval_ns"}
    seen = 0
    for kind, name, key in NUMBERS:
        dtype = fields.get(kind)
        if dtype is None or other.get(name, name) not in dtype.names:
            continue
        room = np.iinfo(dtype[other.get(name, name)].base)
        assert room.min <= key.low and key.high <= room.max, (kind, name)
        seen += 1
    assert seen > 20


@pytest.mark.parametrize(("text", "bits"), [
    ("1bit", 1), ("10kbit", 10_000), ("1.5Mbit", 1_500_000), ("2Gbit", 2 * 10**9),
    ("125kB", 10**6), ("1B", 8)])
def test_rates_are_powers_of_ten(text, bits):
    (link,) = parse(links=[{"name": "w", "rate": text}]).links
    assert link.rate == bits


def test_depths_may_be_times_and_shares_are_of_the_link():
    found = parse(
        meters=[{"name": "m", "rungs": [{"rate": "1Mbit", "depth": "10ms"}]}],
        links=[{"name": "w", "rate": "100Mbit"}],
        classes=[{"link": "w", "id": 1, "guarantee": "12.5%", "ceiling": "50%",
                  "ceiling_burst": "1ms"}])
    assert found.meters[0].rungs[0].depth == 1250
    (row,) = found.classes
    assert (row.guarantee, row.ceiling, row.guarantee_burst, row.ceiling_burst) == (
        12_500_000, 50_000_000, 15_625, 6250)
    assert row.quantum == 156_250


def test_what_is_probably_not_meant_is_said():
    loaded = load(meters=[{"name": "m", "rungs": [{"rate": 8000, "depth": 1500}]}],
                  shapings=[{"id": 3, "meters": ["m"]}])
    assert any("bucket of rung 1 holds 1500 bytes" in text for text in loaded.warnings)
    assert any("shaping 3: the initiator's packets alone" in text for text in loaded.warnings)
    assert shaping.Declared().warnings == ()


@pytest.mark.parametrize("rate", [0, 8000])
@pytest.mark.parametrize("ceiling", ["100%", "100 %", "100.0%", " 100.00 % "])
def test_all_of_the_link_is_no_bucket_however_it_is_written(ceiling, rate):
    link, row = {"name": "w", "rate": rate}, {"link": "w", "id": 1, "ceiling": ceiling}
    (made,) = parse(links=[link], classes=[row]).classes
    twin = declared.class_row(row, {"w": declared.link_row(link)})
    assert made.ceiling == made.ceiling_burst == twin.ceiling == 0


def test_a_number_may_stand_apart_from_its_unit():
    link = {"name": "w", "rate": " 8 kbit "}
    row = {"link": "w", "id": 1, "guarantee": " 20 % ", "guarantee_burst": " 10 ms "}
    made = parse(links=[link], classes=[row])
    twin = declared.link_row(link)
    assert made.links[0].rate == twin.rate == 8000
    both = (made.classes[0], declared.class_row(row, {"w": twin}))
    assert [(each.guarantee, each.guarantee_burst) for each in both] == [(1600, 2)] * 2


def test_the_excess_burst_of_rfc_2697_may_say_that_it_has_no_rate():
    first = {"rate": 8000, "depth": 100}
    with_, without = (parse([{"name": "m", "algorithm": "rfc2697", "rungs": [first, second]}])
                      for second in ({"rate": 0, "depth": 200}, {"depth": 200}))
    assert with_ == without
