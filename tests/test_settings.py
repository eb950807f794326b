"""Settings: layers, units, pages, thresholds, refusals. Figures worked out by hand."""

import dataclasses
import pickle
import re
import typing
from collections.abc import Sequence

import pytest

from fwcore import conserve, settings
from fwcore.errors import SettingsError
from fwcore.settings import DECLARATIONS, keywords, load, sysctl
from fwcore.settings.declared import ROW_KINDS, TIMEOUTS
from fwcore.settings.document import key_lines

MIB = 1 << 20


def refusal(*args, **kwargs):
    with pytest.raises(SettingsError) as refused:
        load(*args, **kwargs)
    return str(refused.value)


def write(tmp_path, text):
    path = tmp_path / "x.toml"
    path.write_text(text)
    return path


# ---------------------------------------------------------------- layers


def test_default_is_plain():
    loaded = load()
    assert loaded.personality == "plain" and loaded.origin["personality"] == "default"


def test_every_declaration_is_a_field_and_the_other_way_round():
    fields = {each.name for each in dataclasses.fields(settings.Settings)}
    fields |= set(settings.Timeouts.names())
    inner = {"timeouts", "base_items", "policies", "pressure", "kilo", "chosen", "given", "meters",
             "links", "classes", "shapings", "wirings", "origin", "marks",
             "reasons"}
    assert fields - inner == set(settings.BY_NAME)


def test_later_layers_win_and_origin_is_kept(tmp_path):
    path = write(tmp_path, 'personality = "fortios-7"\nbuckets = 10\nseed = 1\nsweep_s = 2\n'
                           "[timeouts]\nudp_s = 9\n")
    loaded = load(None, path, ["seed=2", "sweep_s=3"], sweep_s=4)
    assert (loaded.buckets, loaded.seed, loaded.sweep_s) == (10, 2, 4)
    assert loaded.origin["buckets"] == f"file {path}:2"
    assert loaded.origin["udp_s"] == f"file {path}:6"
    assert loaded.origin["seed"] == "--set"
    assert loaded.origin["sweep_s"] == "argument"
    assert loaded.origin["ram_bytes"] == "personality fortios-7"
    assert loaded.marks["buckets"] == "" and loaded.marks["ram_bytes"] == "D"


def test_personality_order(tmp_path):
    path = write(tmp_path, 'personality = "fortios-7"\n')
    assert load(None, path).personality == "fortios-7"
    assert load(None, path, ["personality=cos-core"]).personality == "cos-core"
    assert load("fortios-5", path, ["personality=cos-core"]).personality == "fortios-5"


def test_posture_sets_two_values_and_what_is_given_wins():
    loaded = load("fortios-7", posture="security")
    assert (loaded.av_failopen, loaded.ips_fail_open) == ("off", False)
    assert loaded.origin["av_failopen"] == "posture security"
    loaded = load("fortios-7", assignments=["posture=diagnostic", "ips_fail_open=disable"])
    assert (loaded.av_failopen, loaded.ips_fail_open) == ("one-shot", False)
    assert load("fortios-7", posture="availability").ips_fail_open is True
    assert load("fortios-7", posture="balanced").av_failopen == "pass"


def test_replace_validates_and_works_out_shares_anew():
    loaded = load("fortios-7")
    small = loaded.replace(ram_bytes=100 * 4096)
    assert small.base_bytes == 245760 and small.base_pages == 60
    assert loaded.ram_bytes == 2 << 30
    kept = load("fortios-7", base_bytes=4096).replace(ram_bytes=100 * 4096)
    assert kept.base_bytes == 4096
    with pytest.raises(SettingsError, match="memory_use_threshold_red"):
        loaded.replace(memory_use_threshold_red=82)
    assert loaded.replace(posture="security").replace(av_failopen="pass").av_failopen == "pass"
    assert loaded.replace(timeouts={"udp_s": 3}).timeouts.udp_s == 3
    assert loaded.replace(udp_s=3) == loaded.replace(timeouts={"udp_s": 3})


def test_replace_of_the_personality_keeps_what_was_given():
    other = load("fortios-7", buckets=7).replace(personality="cos-core")
    assert (other.buckets, other.machine) == (7, "none")
    assert other.origin["personality"] == "argument"


def test_replace_keeps_rows():
    rows = [{"at_s": 1.5, "owner": "shm", "add_bytes": "8KiB"}, {"fail_every": 3}]
    loaded = load("fortios-7", pressure=rows).replace(seed=5)
    assert loaded.pressure == (
        {"at_s": 1.5, "at_ns": 1_500_000_000, "owner": "shm", "add_bytes": 8192},
        {"fail_every": 3},
    )


def test_hash_pickle_and_frozen():
    loaded = load("fortios-7", policies=[{"id": 1}])
    again = pickle.loads(pickle.dumps(loaded))
    assert again == loaded and hash(again) == hash(loaded)
    assert again.policies[0].where == "argument, policy 1"
    with pytest.raises(dataclasses.FrozenInstanceError):
        loaded.seed = 1


def test_describe_is_json_ready():
    shown = load("fortios-7", seed=3).describe()
    assert shown["seed"] == {"value": 3, "from": "argument", "mark": "", "why": ""}
    assert shown["memory_use_threshold_red"]["value"] == 88
    assert shown["memory_use_threshold_red"]["mark"] == "T"
    assert shown["ips_trigger"]["value"] == ["conserve", "buffer"]
    assert list(shown) == [row.name for row in settings.DECLARATIONS]


# ---------------------------------------------------------------- values


@pytest.mark.parametrize(
    ("text", "number"),
    [("409600", 409600), ("1_000_000", 1_000_000), ("64KiB", 65536), ("1.5 MiB", 1572864),
     ("1GB", 1 << 30), ("20000B", 20000)],
)
def test_sizes(text, number):
    assert load("fortios-7", assignments=[f"ram_bytes={text}"]).ram_bytes == number


def test_shares_are_of_ram_and_floored():
    loaded = load("fortios-7", ram_bytes=99999, base_bytes="33.3%", cache_limit_bytes="10%")
    assert loaded.base_bytes == 33299  # 33299.667
    assert loaded.cache_limit_bytes == 9999


def test_assignments_are_typed_by_the_declaration():
    loaded = load(
        "fortios-5",
        assignments=["lowmem=enable", "ips_trigger=buffer, conserve", "seed=random", "tcp_s=0.5",
                     "timeouts.udp_s=7", "memory_use_threshold_red=89%", "max_connections=dynamic"],
    )
    assert loaded.lowmem is True and loaded.ips_trigger == ("conserve", "buffer")
    assert loaded.seed is None and loaded.memory_use_threshold_red == 89
    assert loaded.timeouts.as_ns()["tcp"] == 500_000_000
    assert loaded.timeouts.as_ns()["udp"] == 7_000_000_000
    assert loaded.max_connections == 500_000
    assert load(assignments=["ips_trigger="]).ips_trigger == ()


def test_dynamic_takes_the_licence():
    loaded = load("cos-core", max_connections="dynamic", licence_connections=1001)
    assert loaded.max_connections == 1001 and loaded.buckets == 251
    assert load("fortios-7", max_connections=1000).buckets == 262_144


@pytest.mark.parametrize(
    ("assignment", "parts"),
    [
        ("max_conections=5", ['unknown setting "max_conections"',
                              'did you mean "max_connections"']),
        ("memory_use_threshold_extreme=98", ["= 98 is out of range", "70 to 97 %",
                                             "above 97 is not recommended"]),
        ("memory_use_threshold_red=80", ["not above memory_use_threshold_green (82)",
                                         "83 to 94 %"]),
        ("memory_use_threshold_green=69", ["out of range", "70 to 97"]),
        ("when_full=tensoin", ["did you mean \"tension\"", "replace_oldest"]),
        ("personality=fortois-7", ['did you mean "fortios-7"']),
        ("ram_bytes=16383", ["out of range", "16384", "4 pages"]),
        ("ram_bytes=60%", ["is not a share"]),
        ("ram_bytes=1.5B", ["not a whole number of bytes"]),
        ("lowmem=3", ["neither true nor false"]),
        ("tcp_s=0", ["out of range"]),
        ("victims_max=0", ["= 0 is out of range", "1 to 16777216 rows"]),
        ("fragments_max=0", ["= 0 is out of range", "1 to 1048576 entries"]),
        ("tcp_s=nan", ["out of range"]),
        ("seed=18446744073709551616", ["out of range"]),
        ("buckets=1.5", ["not a whole number"]),
        ("ips_trigger=bufer", ['did you mean "buffer"']),
        ("machine", ["is not key=value"]),
        ("policy=1", ["rows of a settings file"]),
    ],
)
def test_refused_assignments(assignment, parts):
    message = refusal(assignments=[assignment])
    assert message.startswith("--set: ") and "\n" not in message
    for part in parts:
        assert part in message


def test_wrong_types_in_arguments():
    for changes in ({"max_connections": True}, {"max_connections": "1000"}, {"lowmem": 1},
                    {"machine": 3}, {"ips_trigger": "buffer"}, {"ram_bytes": None},
                    {"policies": {"id": 1}}, {"policies": [3]}, {"nonsense": 1}):
        assert refusal(**changes).startswith("argument")


@pytest.mark.parametrize(
    ("text", "line", "part"),
    [
        ("seed = 1\nram_bites = 1\n", 2, 'did you mean "ram_bytes"'),
        ("seed = 1\n\nram_bytes = 'x'\n", 3, "ram_bytes"),
        ("[polcy]\nid = 1\n", 1, 'unknown table "polcy"; did you mean "policy"'),
        ("seed = 1\nram_bytes = \n", 2, "not valid TOML"),
        ("# c\n[timeouts]\n# c\nudp = 1\n", 4, 'did you mean "udp_s"'),
        ("ips_trigger = [\n 'buffer',\n]\nbuckets = 0\n", 4, "buckets = 0 is out of range"),
        ('x = """\nbuckets = 1\n"""\n', 1, 'unknown setting "x"'),
        ("memory_use_threshold_green = 90\n", 1, "70 to 87 %"),
        ("personality = 'nix'\n", 1, "unknown personality"),
        ("seed = 1\npersonality = 3\n", 2, "not a name"),
        ("[[pressure]]\nfail_every = 3\n[[pressure]]\nat_s = 1\nadd_byte = 1\n", 5,
         'did you mean "add_bytes"'),
        ("[[pressure]]\nat_s = 1\n", 1, "exactly one of"),
        ("[[pressure]]\nadd_bytes = 1\nat_s = 1\nfail_nth = 1\n", 1, "exactly one of"),
        ("[[pressure]]\nleak_bytes_per_s = 0\n", 2, "leak_bytes_per_s = 0 is out of range"),
        ("[[pressure]]\nat_s = -1\nadd_bytes = 1\n", 2, "out of range"),
        ("[[pressure]]\nadd_bytes = 1\n", 1, "needs at_s"),
        ("[[pressure]]\nat_s = 1\nowner = 'cache'\nadd_bytes = 1\n", 3, "base, shm"),
        ("[[pressure]]\nfail_nth = 0\n", 2, "out of range"),
        ("[[pressure]]\nfail_nth = 1\nat_s = 2\n", 3, "no meaning"),
        ("[[base_item]]\nname = 'x'\ncount = 1\n", 1, "needs bytes_each"),
        ("[[base_item]]\nname = 'x'\ncount = -1\nbytes_each = 1\n", 3, "out of range"),
        ("seed = 1\npolicy = 3\n", 2, "[[policy]]"),
        ("timeouts = 3\n", 1, "[timeouts]"),
        ("# a\u2028[[policy]]\u0085c\nbuckets = 0\n", 2, "buckets = 0 is out of range"),
        ("seed = 1 # \"\"\" and \'\'\'\nbuckets = 0\n", 2, "buckets = 0 is out of range"),
        ("personality = \"\'\'\'\"\nseed = '", 2, "not valid TOML"),
        ("a = 1 # [ don't { \nips_trigger = [ # ' ]\n ']']\nbuckets = 0\n", 1, "unknown setting"),
        ("ips_trigger = [ # ' ]\n 'buffer']\nbuckets = 0\n", 3, "buckets = 0 is out of range"),
        ("seed = 1\nbuckets = \"a\n\n", 2, "not valid TOML"),
        ("seed = 1\n[[", 2, "not valid TOML"),
        ("seed = 1\nnote = \"\"\"\n", 2, "not valid TOML"),
    ],
)
def test_refused_files_name_file_and_line(tmp_path, text, line, part):
    path = write(tmp_path, text)
    message = refusal(None, path)
    assert message.startswith(f"{path}:{line}: ") and part in message


def test_unreadable_files(tmp_path):
    assert "cannot be read" in refusal(None, tmp_path / "none.toml")
    assert "cannot be read" in refusal(None, tmp_path)
    bad = tmp_path / "bad.toml"
    bad.write_bytes(b"seed = 1\r\n# \xff")
    assert refusal(None, bad).startswith(f"{bad}:2: byte 12 is not UTF-8")


def test_policy_rows_know_their_lines(tmp_path):
    path = write(tmp_path, "seed = 1\n[[policy]]\nid = 1\n\n[[policy]]\nid = 2\naction = 'deny'\n")
    rows = load(None, path).policies
    assert [row["id"] for row in rows] == [1, 2]
    assert rows[1].where == f"{path}:5" and rows[1].lines["action"] == f"{path}:7"
    other = tmp_path / "policies.toml"
    other.write_text("[[policy]]\nid = 9\n")
    assert [row["id"] for row in load(None, path, policy_file=other).policies] == [9]
    other.write_text("seed = 2\n")
    with pytest.raises(SettingsError, match="policy file"):
        load(policy_file=other)


def test_key_lines():
    text = 'a = 1\nb.c = [ # [\n "x]",\n]\n[t]\n"d" = 1\n[[p]]\ne=1\n[[p]]\nf=1'
    lines = key_lines(text)
    assert lines == {("a",): 1, ("b", "c"): 2, ("t",): 5, ("t", "d"): 6, ("p", 0): 7,
                     ("p", 0, "e"): 8, ("p", 1): 9, ("p", 1, "f"): 10}


# ---------------------------------------------------------------- pages


def test_session_pages():
    slab = load("fortios-7")  # 4 a page
    assert (slab.sessions_per_page, slab.pages_per_session) == (4, 1)
    assert [slab.session_pages(live) for live in (0, 1, 4, 5)] == [0, 1, 1, 2]
    linux = load("linux-conntrack")  # 12 of 320 a page
    assert linux.sessions_per_page == 12 and linux.session_pages(13) == 2
    large = load("fortios-7", session_bytes=5000)
    assert (large.sessions_per_page, large.pages_per_session) == (0, 2)
    assert large.session_pages(3) == 6
    cos = load("cos-core")  # 512 000 x 412 = 210 944 000 = 51 500 pages
    assert cos.preallocated_pages == 51_500 == cos.session_pages(0)
    assert slab.preallocated_pages == 0


def test_small_ram():
    loaded = load("fortios-7", ram_bytes=16384)
    assert (loaded.total_pages, loaded.base_pages) == (4, 3)


def test_base_items_and_tunnels():
    items = [{"name": "rings", "count": 512, "bytes_each": 2048},
             {"name": "IDP", "count": 1, "bytes_each": "1MB"}]
    loaded = load("cos-core", base_items=items)
    assert loaded.base_bytes == 1048576 + 1_000_000
    assert loaded.base_pages == 501  # 2048576 / 4096 = 500.14
    given = load("cos-core", base_items=items, base_bytes=4096)
    assert given.base_bytes == 4096
    assert "not counted" in given.warnings[0]
    tunnels = load("cos-core", base_bytes=0, ipsec_max_tunnels=100, max_connections=128_000)
    assert tunnels.tunnels_bytes == 100 * (65536 + 128_000) == 19_353_600
    assert tunnels.base_pages == 4725
    shared = tunnels.replace(base_bytes=1, tunnel_base_bytes=1, tunnel_bytes_per_connection=0)
    assert shared.base_pages == 1  # 1 + 100 bytes
    licence = tunnels.replace(ipsec_max_tunnels=0, licence_tunnels=500)
    assert licence.tunnels == 500 and licence.tunnels_bytes == 96_768_000


def test_more_than_memory():
    message = refusal("cos-core", assignments=["max_connections=4000000"])
    # base 104 858 pages, table ceil(1 648 000 000 / 4096) = 402 344
    assert message.startswith("--set: max_connections = 4000000 does not fit memory: 2077499392")
    assert "1073741824" in message
    assert "base_bytes" in refusal("fortios-7", base_bytes="3GiB")


# ---------------------------------------------------------------- thresholds


def thresholds(loaded):
    """The levels of free or used pages, as the machines have them."""
    return {machine.name: {name: pages for name, pages in machine.thresholds().items()
                           if not name.startswith(("shm", "proxy_sessions"))}
            for machine in conserve.machines(loaded, proxy_policies=False)}


@pytest.mark.parametrize(
    ("mib", "pages", "mb"),
    [(997, (209290, 224604, 242470), (817, 877, 947)),
     (1918, (402626, 432087, 466457), (1572, 1687, 1822))],
)
def test_unified_thresholds_of_captures(mib, pages, mb):
    levels = thresholds(load("fortios-7", ram_bytes=mib * MIB))["unified"]
    assert tuple(levels.values()) == pages
    assert tuple(each * 4096 // MIB for each in levels.values()) == mb


@pytest.mark.parametrize(
    ("ram", "kernel", "proxy"),
    [
        (2048 * MIB, (51200, 76800), (62914, 94371)),  # 200/300 MB; 12/18 % of 524288
        (512 * MIB, (26214, 39321), (26214, 39321)),  # 20/30 % of 131072
        (256 * MIB, None, (10240, 15360)),  # 40/60 MB
        (128 * MIB, None, (2560, 5120)),  # 10/20 MB
        (64 * MIB, None, (2560, 5120)),  # first row
    ],
)
def test_legacy_thresholds(ram, kernel, proxy):
    levels = thresholds(load("fortios-4", ram_bytes=ram, base_bytes=0, cache_limit_bytes=0))
    assert levels.get("kernel") == (kernel and {"enter": kernel[0], "leave": kernel[1]})
    assert levels["proxy"] == {"enter": proxy[0], "leave": proxy[1]}


def test_model_bytes_chooses_the_proxy_row():
    loaded = load("fortios-4", ram_bytes=997 * MIB)
    assert loaded.model_bytes == 1024 * MIB  # 8 x 128
    assert thresholds(loaded)["proxy"]["enter"] == 30627  # 12 % of 255232
    assert thresholds(loaded)["kernel"]["enter"] == 51046  # below 1 GB: 20 %


def test_lowmem_watches_seven_eighths():
    loaded = load("fortios-4", ram_bytes=512 * MIB, lowmem=True, base_bytes=0)
    # 20 and 30 % of 114688, and the 16384 pages out of reach
    assert thresholds(loaded)["kernel"] == {"enter": 22937 + 16384, "leave": 34406 + 16384}
    # free of what is reachable falls below 22937 when 114688 - 22936 pages are used
    assert conserve.entry_pages(loaded)["kernel"] == 91752


def test_entry_and_exit():
    loaded = load("fortios-5", ram_bytes=100 * 4096, base_bytes=0)
    assert thresholds(loaded) == {"fortios-5": {"enter": 20, "leave": 30}}
    assert conserve.entry_pages(loaded) == {"fortios-5": 81}  # free 19
    assert conserve.exit_pages(loaded) == {"fortios-5": 69}  # free 31
    # free 24 414 x 4096 < 10^8
    assert conserve.entry_pages(load("cos-core")) == {"low memory": 237_730}
    small = load("fortios-7", ram_bytes=100 * 4096)
    assert conserve.entry_pages(small) == {"red": 88, "extreme": 95}
    assert conserve.exit_pages(small) == {"unified": 81}


def test_a_cache_that_would_latch_is_refused():
    base = {"ram_bytes": 100 * 4096, "base_bytes": 50 * 4096}
    assert load("fortios-5", **base, cache_limit_bytes=19 * 4096).cache_limit_pages == 19
    message = refusal("fortios-5", **base, cache_limit_bytes=20 * 4096)  # 100-50-20 = 30, not > 30
    assert "latch" in message and "0 to 77824" in message
    assert load("fortios-7", **base, cache_limit_bytes=50 * 4096)  # unified: cache does not count
    assert "latch" in refusal("fortios-4", cache_limit_bytes="30%")


def test_a_default_cache_is_lowered_instead():
    loaded = load("fortios-5", ram_bytes=100 * 4096)  # 60 base, 30 to exceed: 9 left, not 10
    assert loaded.cache_limit_pages == 9
    assert loaded.origin["cache_limit_bytes"].endswith("lowered so that the machine can be left")


# ---------------------------------------------------------------- warnings


def test_kernel_before_proxy_below_1670_mb():
    assert "1.67 GB" in load("fortios-4", ram_bytes=1666 * MIB).warnings[0]
    assert load("fortios-4", ram_bytes=1667 * MIB).warnings == ()
    assert load("fortios-4", ram_bytes=1666 * MIB, kernel_mode="av-failopen").warnings == ()
    assert "enters no later" in load("fortios-4", ram_bytes=512 * MIB).warnings[0]
    assert "104 859 pages (80.0 % of RAM)" in load("fortios-4", ram_bytes=512 * MIB).warnings[0]


def test_table_that_fills_before_red():
    # 100 pages, base 60, 4 sessions a page: red at 88 is reached by session 27 x 4 + 1 = 109
    few = {"ram_bytes": 100 * 4096}
    told = load("fortios-7", **few, max_connections=108).warnings[0]
    assert "fills before red" in told and "87 pages (87.0 % of RAM) are used" in told
    assert load("fortios-7", **few, max_connections=109).warnings == ()
    queues = {"links": [{"name": "w"}], "shapings": [{"link": "w"}], "queue_accounting": "bytes"}
    told = load("fortios-7", **few, max_connections=108, **queues).warnings
    assert not any("fills before red" in each for each in told)
    queues["queue_accounting"] = "none"
    assert "fills before red" in load("fortios-7", **few, max_connections=108, **queues).warnings[0]


def test_a_mode_that_is_never_left():
    loaded = load("fortios-7", ram_bytes=100 * 4096, base_bytes=82 * 4096)
    assert "once entered it stays" in loaded.warnings[0]
    assert "82 pages (82.0 % of RAM) are used at start" in loaded.warnings[0]
    loaded = load("fortios-5", ram_bytes=100 * 4096, base_bytes=70 * 4096)
    assert "once entered it stays" in loaded.warnings[0]
    for personality, base in (("fortios-7", 81), ("fortios-5", 69)):  # one page less is enough
        loaded = load(personality, ram_bytes=100 * 4096, base_bytes=base * 4096)
        assert not any("once entered" in text for text in loaded.warnings)


def test_pressure_may_take_away_in_units():
    (row,) = load("plain", pressure=[{"at_s": 1, "add_bytes": "-130MiB"}]).pressure
    assert row["add_bytes"] == -130 << 20
    with pytest.raises(SettingsError, match="out of range"):
        load("plain", assignments=["ram_bytes=-130MiB"])
    with pytest.raises(SettingsError, match="not a share"):
        load("plain", assignments=["base_bytes=-5%"])


# ---------------------------------------------------------------- spelling


def test_vendor_spelling_is_taken(tmp_path):
    path = write(tmp_path, 'personality = "fortios-7"\nram-bytes = 409600\nbase_bytes = 0\n'
                           "[timeouts]\nudp-s = 9\n"
                           '[[pressure]]\nat-s = 1\nadd-bytes = 4096\n')
    loaded = load(None, path, ["av-failopen=one_shot", "when-full=replace-oldest"],
                  **{"ips-trigger": ["buffer"]})
    assert (loaded.ram_bytes, loaded.timeouts.udp_s) == (409600, 9)
    assert (loaded.av_failopen, loaded.when_full) == ("one-shot", "replace_oldest")
    assert loaded.ips_trigger == ("buffer",)
    assert loaded.pressure[0]["add_bytes"] == 4096
    assert loaded.origin["ram_bytes"] == f"file {path}:2"
    assert loaded.origin["udp_s"] == f"file {path}:5"


@pytest.mark.parametrize(("text", "line"), [
    ("ram_bytes = 1000000\nram-bytes = 2000000\n", 2),
    ("[timeouts]\nudp_s = 1\nudp-s = 2\n", 3),
    ("[[pressure]]\nat_s = 1\nat-s = 2\nadd_bytes = 1\n", 1),
])
def test_both_spellings_at_once_are_refused(tmp_path, text, line):
    path = write(tmp_path, text)
    assert refusal(None, path).startswith(f"{path}:{line}: ")


def test_the_nearest_name_is_found_in_either_spelling():
    assert 'did you mean "av_failopen"' in refusal(assignments=["av-failopn=pass"])
    assert 'did you mean "one-shot"' in refusal("fortios-7", assignments=["av_failopen=one_sht"])


# ---------------------------------------------------------------- edges of the checks


def test_what_just_fits_is_taken():
    """RAM of 100 pages, all of them base: nothing is left, and that is allowed."""
    full = load("plain", ram_bytes=100 * 4096, base_bytes=99 * 4096, max_connections=28,
                session_bytes=144)  # 28 x 144 = 4032: the hundredth page
    assert full.base_pages + full.preallocated_pages == full.total_pages
    assert "does not fit memory" in refusal(
        "plain", ram_bytes=100 * 4096, base_bytes=99 * 4096, max_connections=29, session_bytes=144)


def test_the_cache_leaves_room_for_the_stricter_machine():
    """fortios-4, 512 MiB = 131 072 pages: kernel and proxy are left above 39 321 free pages; with
    a model of 1 GiB the proxy already above 23 592, so that the kernel is the one that limits."""
    loaded = load("fortios-4", ram_bytes=512 * MIB, base_bytes=0, model_bytes=1 << 30)
    room = 131_072 - 39_321 - 1
    assert min(conserve.exit_pages(loaded).values()) == room
    assert loaded.replace(cache_limit_bytes=room * 4096).cache_limit_pages == room
    with pytest.raises(SettingsError, match="would latch"):
        loaded.replace(cache_limit_bytes=(room + 1) * 4096)


def test_a_default_cache_is_lowered_to_nothing_where_nothing_is_left():
    """fortios-5, 100 pages: left above 30 free; a base of 69 leaves no page for a cache."""
    loaded = load("fortios-5", ram_bytes=100 * 4096, base_bytes=69 * 4096)
    assert loaded.cache_limit_bytes == 0
    assert loaded.origin["cache_limit_bytes"].endswith("so that the machine can be left")
    held = load("fortios-5", ram_bytes=100 * 4096, base_bytes=70 * 4096)  # the base alone holds it
    assert held.cache_limit_pages == 10 and "never left" not in held.origin["cache_limit_bytes"]


def test_a_table_larger_than_any_memory_is_refused_by_its_own_name():
    """RAM that follows the table stays within its range: base is to blame, not RAM."""
    with pytest.raises(SettingsError, match=r"base_bytes.*does not fit memory"):
        load("plain", base_bytes=1 << 50)


# --- as Linux calls them ---


@pytest.mark.parametrize("name", sysctl.NAMES)
def test_each_sysctl_parameter_is_a_setting(name, tmp_path):
    setting = sysctl.NAMES[name]
    value, wanted = (0, "drop") if setting == "midstream" else (77, 77)
    path = tmp_path / "s.toml"
    path.write_text(f"[timeouts]\n{name} = {value}\n" if setting in TIMEOUTS else
                    f"{name} = {value}\n")
    for made in (load("linux-conntrack", assignments=[f"net.netfilter.{name}={value}"]),
                 load("linux-conntrack", assignments=[f"{name}={value}"]),
                 load("linux-conntrack", path), load("linux-conntrack", **{name: value})):
        assert made.describe()[setting]["value"] == wanted


def test_the_personality_names_the_parameters_that_are_taken():
    why = " ".join(str(row.get("why")) for row in load("linux-conntrack").describe().values())
    told = set(re.findall(r"nf_conntrack_[a-z_]*timeout[a-z_]*", why))
    assert told == {name for name in sysctl.NAMES if "timeout" in name}


@pytest.mark.parametrize(("given", "said"), [
    ({"assignments": ["nf_conntrack_tcp_loose=2"]}, "nf_conntrack_tcp_loose = 2 is neither 0 nor"),
    ({"assignments": ["nf_conntrack_tcp_be_liberal=1"]}, "windows are not followed"),
    ({"assignments": ["nf_conntrack_mx=1"]}, 'did you mean "nf_conntrack_max"'),
    ({"nf_conntrack_max": 10, "max_connections": 20}, "max_connections, which is given too"),
    ({"nf-conntrack-max": 10, "nf_conntrack_max": 20}, "max_connections, which is given too"),
    ({"nf_conntrack_udp_timeout": 5, "timeouts": {"udp_s": 6}}, "udp_s, which is given too"),
    ({"timeouts": {"max_connections": 5}}, 'unknown timeout "max_connections"'),
    ({"timeouts": None}, "timeouts = None is no table of seconds"),
    ({"timeouts": 5}, "timeouts = 5 is no table of seconds"),
])
def test_a_parameter_that_is_not_taken_says_why(given, said):
    with pytest.raises(SettingsError, match=said):
        load("linux-conntrack", **given)


@pytest.mark.parametrize(("text", "said"), [
    ("nf_conntrack_udp_timeout = 7\n[timeouts]\nudp_s = 9\n", "udp_s is udp_s, which is given too"),
    ('"net.netfilter.nf_conntrack_max" = 7\nnf_conntrack_max = 8\n', "which is given too, as net"),
    ("[net.netfilter]\nnf_conntrack_max = 1\n", "stand at the top, without net.netfilter"),
])
def test_a_setting_is_given_once_in_a_file(tmp_path, text, said):
    assert said in refusal("linux-conntrack", write(tmp_path, text))


def test_a_time_that_would_round_to_none_is_refused():
    """0 is off for max_step_s: less than a nanosecond would be it without a word."""
    with pytest.raises(SettingsError, match=r"max_step_s .*shorter than a nanosecond"):
        load("plain", max_step_s=1e-10)
    assert load("plain", max_step_s=1e-9).max_step_s == 1e-9


def test_keywords_are_what_is_declared():
    """Of who reads types: names, kinds and choices of settings as keyword arguments."""
    plain = {"bool": bool, "count": int, "percent": int, "seconds": float, "bytes": int | str}
    wanted = {}
    for each in DECLARATIONS:
        chosen = typing.Literal[each.choices] if each.choices else None
        kind = {"choice": chosen, "choices": Sequence[chosen], "name": str}.get(
            each.kind, plain.get(each.kind))
        if each.words and each.kind != "bytes":
            kind |= typing.Literal[each.words]
        wanted[each.name] = kind | None if each.name == "seed" else kind
    for name, setting in sysctl.NAMES.items():
        wanted[name] = int if wanted[setting] is not float else float
    found = typing.get_type_hints(keywords.EveryKeyword)
    tables = {name for name, kind in found.items() if kind == keywords.Table}
    assert tables == set(ROW_KINDS.values())
    loose = found.pop("nf_conntrack_tcp_loose")
    del wanted["nf_conntrack_tcp_loose"]
    assert loose == typing.Literal[0, 1]
    assert {name: found[name] for name in found.keys() - tables - {"timeouts"}} == wanted
