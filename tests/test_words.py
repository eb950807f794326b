"""One table of protocols for everybody, nearest words, and units."""

import pytest

from fwcore import flow, policy, units, words
from fwcore.capture import filter as capture_filter
from fwcore.flow import flow_key


@pytest.mark.parametrize("name", [*words.PROTOCOLS, *words.OTHER_SPELLINGS, "GRE", " tcp "])
def test_every_protocol_is_known_to_everybody(name):
    number = words.protocol_number(name)
    ends = ":1-2001:db8::9" if number in words.WITH_PORTS else "-2001:db8::9"
    port = ":2" if number in words.WITH_PORTS else ""
    written = f"[2001:db8::1]{ends.replace('2001:db8::9', '[2001:db8::9]')}{port}/{name}"
    assert flow.parse(written).protocol == number
    assert flow.parse(str(flow.parse(written))).protocol == number
    assert policy.parse([{"protocol": name}])[0].protocol == number
    given = name if number != words.ICMP else words.ICMP  # icmp between IPv6 ends is ICMPv6
    assert flow_key("2001:db8::1", 0, "2001:db8::2", 0, given)[4] == number
    assert name.strip().lower() in capture_filter.WORDS


@pytest.mark.parametrize("name", ["tpc", "256", "-1", "", True, None, 6.0, "\N{SUPERSCRIPT TWO}"])
def test_other_protocols_are_refused_by_name(name):
    with pytest.raises(ValueError, match=r"protocol .* is unknown.*allowed: icmp, .* 0 to 255"):
        words.protocol_number(name)


def test_numbers_are_protocols_too():
    assert [words.protocol_number(n) for n in (0, "47", 255, " 6 ")] == [0, 47, 255, 6]


def test_the_index_of_a_class_is_its_bits():
    assert words.CLASSES.index("flow") == words.FLOW
    assert words.CLASSES.index("proxy") == words.PROXY
    assert words.CLASSES.index("flow+proxy") == words.FLOW | words.PROXY


def test_the_nearest_word():
    assert words.nearest("evictoin", ["eviction", "expiry"]) == '; did you mean "eviction"?'
    assert words.nearest("x" * 10**6, ["eviction"]) == "" == words.nearest(None, [])


@pytest.mark.parametrize(("amount", "pages"), [
    (0, 0), (1, 1), (4096, 1), (4097, 2), (-1, -1), (-4096, -1), (-4097, -2), (2**63, 2**51)])
def test_pages_are_rounded_away_from_zero(amount, pages):
    assert units.pages_of(amount) == pages


def test_whole_seconds_are_exact():
    assert units.to_ns(2**62) == 2**62 * 10**9 and units.to_ns(0.0015) == 1_500_000


def test_parts_of_seconds_are_rounded():
    assert units.to_ns(1.043) == 1_043_000_000  # in binary a little less
    assert units.to_ns(6.5e-05) == 65_000
