"""The personality files: complete, marked, and exactly the figures of the contract."""

import pytest

from fwcore import settings
from fwcore.errors import SettingsError
from fwcore.settings.declared import PERSONALITIES
from fwcore.settings.personality import MARKS

MB = 1 << 20
COLUMNS = ("fortios-7", "fortios-5", "fortios-4", "cos-core", "linux-conntrack", "plain")
GIB = 1 << 30
# The contract, row by row; None where a personality only keeps the default ("-").
CONTRACT = {
    "ram_bytes": (2 * GIB, GIB, 2 * GIB, GIB, GIB, GIB),
    "base_bytes": (1288490188, 644245094, 1288490188, 429496729, 0, 0),
    "accounting": ("slab", "slab", "slab", "preallocated", "slab", "preallocated"),
    "session_bytes": (1024, 1024, 1024, 412, 320, 144),
    "max_connections": (1_000_000, 500_000, 1_000_000, 512_000, 262_144, 262_144),
    "buckets": (262_144, 131_072, 262_144, 128_000, 131_072, 65_536),
    "when_full": ("tension", "tension", "tension", "replace_oldest", "early_drop", "bucket"),
    "midstream": ("grace", "grace", "grace", "drop", "allow", "allow"),
    "midstream_grace_s": (30,) * 6,
    "max_step_s": (0,) * 6,
    "midstream_initiator": ("ports", "ports", "ports", "ports", "sender", "ports"),
    "tracker": ("plain", "plain", "plain", "plain", "linux", "plain"),
    "invalid": ("forward",) * 6,
    "short_frames": ("malformed",) * 6,
    "machine": ("unified", "fortios-5", "kernel+proxy", "none", "none", "none"),
    "av_failopen": ("pass",) * 6,
    "av_failopen_session": (False,) * 6,
    "ips_fail_open": (False,) * 6,
    "ips_trigger": (("conserve", "buffer"), ("buffer",), ("buffer",), None, None, None),
    "ips_socket_bytes": (64 * MB,) * 6,
    "ips_throughput_bps": (0,) * 6,
    "extreme_scope": ("all",) * 6,
    "memory_use_threshold_green": (82,) * 6,
    "memory_use_threshold_red": (88,) * 6,
    "memory_use_threshold_extreme": (95,) * 6,
    "idledrop_variant": ("host",) * 6,
    "idledrop_idle_s": (60,) * 6,
    "kernel_mode": ("bypass",) * 6,
    "lowmem": (False,) * 6,
    "sip_alg": (True,) * 6,
    "shm_limit_bytes": (None, 268435456, None, None, None, None),
    "proxy_max_sessions": (50_000, 10_000, 5_000, None, None, None),
    "proxy_session_bytes": (16384,) * 6,
    "oversize_bytes": (10 * MB,) * 6,
    # fortios-5: 10 % would be 107374182, two pages more than the exit at 30 % leaves (semantics 8)
    "cache_limit_bytes": (214748364, 107368448, 214748364, 0, 0, 0),
    "shaping_kilo": (1000, 1024, 1024, 1000, 1000, 1000),
    "config_freeze": (True, False, False, False, False, False),
}


@pytest.mark.parametrize("name", COLUMNS)
def test_contract_figures(name):
    loaded = settings.load(name)
    for setting, row in CONTRACT.items():
        expected = row[COLUMNS.index(name)]
        if expected is not None:
            assert loaded.value(setting) == expected, setting


def test_names():
    assert settings.personalities() == tuple(sorted(COLUMNS))


@pytest.mark.parametrize("name", COLUMNS)
def test_every_value_has_mark_reason_and_origin(name):
    for setting, row in settings.load(name).describe().items():
        if setting == "personality":
            continue
        assert row["mark"] in MARKS and row["why"], setting
        assert row["from"].startswith((f"personality {name}", "default")), setting


def test_base_personality_is_complete():
    entries = settings.read_personality("fortios-7").entries
    assert set(entries) == set(settings.BY_NAME) - {"personality"}


@pytest.mark.parametrize("name", COLUMNS)
def test_presets_start_without_warning(name):
    assert settings.load(name).warnings == ()


@pytest.mark.parametrize(
    ("name", "seconds"),
    [
        ("fortios-7", (3600, 10, 120, 1, 5, 180, 60, 60)),
        ("fortios-5", (3600, 10, 120, 1, 5, 180, 60, 60)),
        ("fortios-4", (3600, 10, 120, 1, 5, 180, 60, 60)),
        ("cos-core", (262144, 60, 80, 80, 80, 130, 8, 130)),
        ("linux-conntrack", (432000, 120, 120, 120, 10, 30, 30, 600)),
    ],
)
def test_timeouts(name, seconds):
    timeouts = settings.load(name).timeouts
    of_linux = (60, 60, 30, 300, 120, 30, 180)  # nobody else asks for them
    found = tuple(getattr(timeouts, each) for each in timeouts.names())
    assert found == seconds + of_linux


@pytest.mark.parametrize("name", COLUMNS)
def test_each_own_value_differs_or_is_in_the_contract(name):
    """A personality file says nothing that would be the same without it, but for its column."""
    base = settings.read_personality("fortios-7").entries
    shown = set(CONTRACT) | {"licence_connections", "ipsec_max_tunnels", "licence_tunnels"}
    for key, entry in settings.read_personality(name).entries.items():
        assert name == "fortios-7" or key in shown or key.endswith("_s") or (
            entry.value != base[key].value
        ), key


def test_megabyte_is_the_vendors():
    assert settings.load("fortios-7", ram_bytes="997MB").ram_bytes == 997 << 20
    assert settings.load("cos-core", ram_bytes="997MB").ram_bytes == 997 * 10**6
    assert settings.load("cos-core", ram_bytes="997MiB").ram_bytes == 997 << 20


GOOD = """[about]
summary = "mine"
[settings]
ram_bytes = {value = "1GiB", mark = "D", why = "small"}
[timeouts]
udp_s = {value = 7, mark = "D", why = "short"}
"""


def test_personality_from_a_file(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(GOOD)
    loaded = settings.load(str(path))
    assert loaded.ram_bytes == 1 << 30 and loaded.timeouts.udp_s == 7
    assert loaded.machine == "unified"
    assert loaded.origin["machine"] == "default"
    assert loaded.replace(seed=1).timeouts.udp_s == 7


@pytest.mark.parametrize(
    ("line", "wrong", "message"),
    [
        (4, 'ram_bytes = {value = "1Gib", mark = "X", why = ""}', "mark"),
        (4, 'ram_bytes = {value = "many", mark = "D", why = ""}', "not a number of bytes"),
        (4, "ram_bytes = 5", "mark and reason"),
        (4, 'ram_bites = {value = 1, mark = "D", why = ""}', 'did you mean "ram_bytes"'),
        (4, 'udp_s = {value = 1, mark = "D", why = ""}', "does not belong into"),
        (4, "ram_bytes = {", "not valid TOML"),
    ],
)
def test_a_personality_with_an_error_names_file_and_line(tmp_path, line, wrong, message):
    path = tmp_path / "mine.toml"
    lines = GOOD.splitlines()
    lines[line - 1] = wrong
    path.write_text("\n".join(lines))
    with pytest.raises(SettingsError) as refused:
        settings.load(str(path))
    assert message in str(refused.value)
    assert str(refused.value).startswith(f"{path}:{line}: ")


def test_lines_are_short():
    for path in PERSONALITIES.glob("*.toml"):
        assert all(len(line) <= 100 for line in path.read_text().splitlines()), path
