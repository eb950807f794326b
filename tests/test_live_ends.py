"""How a live run begins and ends: whose the interfaces are, what an earlier run left, when time
begins."""

import shutil

import live_net
import pytest
from test_live import SMALL, checked, needs_net, passes, running

from fwcore import load
from fwcore.cli import main
from fwcore.errors import LiveError
from fwcore.live import Live, bypass
from fwcore.units import PAGE_BYTES

# An interface gets another name, and another one its own.
RENAMED = ("link set out0 down", "link set out0 name wan", "link set wan up",
           "link add out0 type veth peer name other", "link set out0 up")


@pytest.fixture(scope="module")
def wire():
    with live_net.Wire() as made:
        yield made


@needs_net
@pytest.mark.skipif(not shutil.which("tc"), reason="no tc")
def test_frames_pass_unjudged_when_the_program_has_ended():
    with live_net.Wire() as own:
        with own.inside("firewall"):
            guard = bypass.Bypass(["in0", "out0"])
            guard.close()
        assert passes(own, 5009) is True
        with own.inside("firewall"):
            assert bypass.remove(["in0", "out0"]) == ["in0", "out0"]
            assert bypass.remove(["in0", "out0"]) == []
        assert passes(own, 5010, timeout_s=0.2) is not True


@needs_net
@pytest.mark.skipif(not shutil.which("tc"), reason="no tc")
def test_every_start_takes_away_what_an_earlier_run_left(capsys):
    """Else its redirect forwards what the next run drops."""
    with live_net.Wire() as own, own.inside("firewall"):
        bypass.Bypass(["in0", "out0"]).close()
        words = ["live", "--inside", "in0", "--outside", "out0", "-q", "--seconds", "0.01"]
        assert main(words) == 0
        assert "in0, out0: an earlier --bypass-on-exit" in capsys.readouterr().err
        assert bypass.remove(["in0", "out0"]) == []


@needs_net
@pytest.mark.skipif(not shutil.which("tc"), reason="no tc")
def test_a_run_that_is_refused_bypasses_no_other(capsys):
    """It opened the wire under the one that stands."""
    with live_net.Wire() as own, own.inside("firewall"):
        first = Live(["in0", "out0"], load(), ring_bytes=4 << 20)
        try:
            assert main(["live", "--inside", "in0", "--outside", "out0", "-q",
                         "--bypass-on-exit"]) == 2
            assert bypass.remove(["in0", "out0"]) == []
        finally:
            first.close()
        assert "another fwcore live forwards its frames" in capsys.readouterr().err


@needs_net
def test_one_run_forwards_the_frames_of_an_interface(wire, capsys):
    """Two would forward each frame twice."""
    with wire.inside("firewall"):
        first = Live(["in0", "out0"], load(), ring_bytes=4 << 20)
        try:
            assert main(["live", "--inside", "out0", "--outside", "in0", "-q"]) == 2
        finally:
            first.close()
        said = capsys.readouterr().err.splitlines()
        assert [line for line in said if "another fwcore live forwards its frames" in line] == said
        Live(["in0", "out0"], load(), ring_bytes=4 << 20).close()


@needs_net
@pytest.mark.parametrize("part", ["Engine", "Interface"])
def test_a_run_that_cannot_begin_gives_back_its_interfaces_at_once(wire, monkeypatch, part):
    """They were taken until Python collected garbage."""
    def refuse(*given, **more):
        raise LiveError("no room")

    with wire.inside("firewall"):
        with monkeypatch.context() as patched:
            patched.setattr(f"fwcore.live.run.{part}", refuse)
            with pytest.raises(LiveError, match="no room") as kept:
                Live(["in0", "out0"], load(), ring_bytes=4 << 20)
        Live(["in0", "out0"], load(), ring_bytes=4 << 20).close()
    assert kept.tb is not None          # and with it whatever the frames hold


@needs_net
def test_a_renamed_interface_is_followed():
    """It was told as gone, went on all the same, and one that came under its name took its place
    when the two were up."""
    said = []
    with live_net.Wire() as own, running(own, say=said.append, quiet=True) as run:
        assert passes(own, 5020) is True
        own.ip("firewall", *RENAMED)
        run.ask(run._look)
        assert passes(own, 5021) is True
        with own.inside("firewall"), pytest.raises(LiveError, match="wan: another fwcore"):
            Live(["wan", "lo"], load())
    checked(run)
    assert "out0 was renamed wan, and is followed" in "; ".join(said)


@needs_net
def test_a_line_says_what_became_of_an_interface():
    said = []
    other = "link add out0 type veth peer name other"
    with live_net.Wire() as own, own.inside("firewall"):
        run = Live(["in0", "out0"], load(), ring_bytes=4 << 20, quiet=True, say=said.append)
        for lines in (RENAMED, ("link del out0", "link set wan name out0"),
                      ("link del out0", other, "link set out0 up"), ("link del out0",),
                      (other, "link set out0 up")):
            own.ip("firewall", *lines)
            run._look()
            run._look()
        run.close()
    assert said == [
        "out0 was renamed wan, and is followed", "wan was renamed out0, and is followed",
        "out0 went away, and another out0 is taken up", "out0 is gone; waiting for it",
        "out0 is up"]


@needs_net
@pytest.mark.skipif(not shutil.which("tc"), reason="no tc")
def test_a_renamed_interface_is_bypassed_and_not_who_has_its_name():
    with live_net.Wire() as own, own.inside("firewall"):
        guard = bypass.Bypass(["in0", "out0"])
        own.ip("firewall", *RENAMED)
        guard.close()
        assert bypass.remove(["in0", "out0"]) == ["in0"]
        assert bypass.remove(["wan"]) == ["wan"]


@needs_net
def test_time_begins_with_the_run_and_not_with_a_frame(wire):
    settings = load("fortios-7", **SMALL)
    with running(wire, settings) as run:
        taken = run.ask(lambda: run.engine.take("base", 1900 * PAGE_BYTES), 10)
        mode = run.ask(lambda: (run.engine.advance(run.rings.now_ns), run.engine.mode)[1], 10)
    result = checked(run)
    assert taken == 1900 and mode != "off"
    assert min(each["time_ns"] for each in result.data["conserve"]["transitions"]) > 10**18


@needs_net
def test_what_is_not_wrong_is_said_unless_it_is_to_be_quiet(wire):
    said = {False: [], True: []}
    for quiet, lines in said.items():
        with wire.inside("firewall"):
            Live(["in0", "out0"], load(), ring_bytes=4 << 20, say=lines.append, quiet=quiet).close()
    assert [line[:5] for line in said[False]] == ["in0: ", "out0:"]     # their offloads
    assert said[True] == []


@needs_net
def test_mtus_that_differ_are_said():
    """What is too long for one of them vanishes; the report counted it, and nobody had said so."""
    said = []
    with live_net.Wire() as own, own.inside("firewall"):
        own.ip("firewall", "link set in0 mtu 9000")
        Live(["in0", "out0"], load(), ring_bytes=4 << 20, say=said.append).close()
    (line,) = (line for line in said if line.startswith("MTU"))
    assert line.startswith("MTU of in0 9000, out0 1500: ") and "too_long" in line
