"""fwcore live, and fwcore ask."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import Any

import click

from fwcore import terminal
from fwcore.cli import exits, given as module, options, running
from fwcore.cli.app import app
from fwcore.errors import LiveError

SWITCH_S = 0.0005      # a frame waits no longer for a thread that makes a page or metrics

WATCH = (
    click.option("--metrics", "metrics_at", metavar="[HOST]:PORT",
                 help="Prometheus metrics by HTTP, like :9108; loopback unless HOST is given."),
    click.option("--page", "page_at", metavar="[HOST]:PORT",
                 help="A live page by HTTP, like :8080; loopback unless HOST is given."),
    click.option("--events", "events_to", metavar="FILE",
                 help="Events as they come, a JSON object a line; '-' is standard output."),
    click.option("--syslog", "syslog_to", metavar="HOST[:PORT]",
                 help="Events as syslog messages (RFC 5424, UDP)."),
    click.option("--traps", "traps_to", metavar="HOST[:PORT]",
                 help="Conserve mode and fail-open as SNMP v2c traps."),
    click.option("--community", default="public", show_default=True, metavar="TEXT",
                 help="Community of the traps."),
    click.option("--control", "control_at", metavar="PATH",
                 help="A socket for 'fwcore ask', mode 0600."),
)  # fmt: skip


@app.command()
@click.option("--inside", metavar="IF", help="One side of the wire.")
@click.option("--outside", metavar="IF", help="The other side.")
@click.option("--read-only", "tap", metavar="IF", help="Only look at what one interface sees.")
@click.option("--queue", "queue_number", type=click.IntRange(0, 65535), metavar="N",
              help="Judge what the kernel hands to NFQUEUE N; needs no interface.")
@click.option("--bypass-on-exit", is_flag=True,
              help="When fwcore ends, however it ends, the kernel passes all frames unjudged.")
@click.option("--memory", type=click.Choice(["script", "host"]), default="script",
              show_default=True, help="Memory of the appliance: settings, or this machine's.")
@click.option("--seconds", type=options.Number(0, 10**8), metavar="N",
              help="Stop after N seconds.")
@click.option("--ring", "ring_mib", type=click.IntRange(1, 1024), default=32, show_default=True,
              metavar="MIB", help="Memory of an interface's ring.")
@click.option("--low-latency", is_flag=True,
              help="See each frame at once; the ring holds fewer of them.")
@options.several(WATCH)
@options.several(options.SETTINGS)
@options.JSON
@options.HTML
@options.PLOT
@click.option("--state", "state_file", type=click.Path(), metavar="FILE",
              help="All that later views need.")  # fmt: skip
@options.VICTIMS
@options.TIMELINE
@options.QUIET
def live(**given: Any) -> int:
    """Be a bump in the wire between two interfaces, look at one, or judge a queue of the kernel.

    What arrives at one interface is judged and, unless it is dropped, sent out of the other, until
    INT, TERM or HUP (Ctrl-C); then comes a report like a replay's. Needs root or CAP_NET_RAW, and
    interfaces without addresses of their own. While nothing runs the wire is cut: see
    --bypass-on-exit.

    \b
    fwcore live --inside eth1 --outside eth2 --personality fortios-7
    fwcore live --read-only eth1 --memory host --metrics :9108
    fwcore live --inside eth1 --outside eth2 --control fw.sock --html r.html
    fwcore live --queue 3
    """
    import sys

    interfaces = _interfaces(given)
    sys.setswitchinterval(SWITCH_S)
    made = module.settings(given)
    if not given["quiet"]:
        module.warn(made, 1)
    from fwcore.interruption import Interruption
    from fwcore.live import live as run
    from fwcore.live.bypass import Bypass, remove

    watching: list[Any] = []

    def watchers(of: Any) -> list[Any]:
        watching.extend(_watchers(of, given))
        return watching

    with ExitStack() as stack, Interruption() as interruption:
        def ours() -> None:
            """The wire is this run's, and no other one's: now it may be bypassed, or cut."""
            if given["bypass_on_exit"]:
                stack.callback(Bypass(interfaces).close)
            elif len(interfaces) == 2:
                _cut(remove(interfaces), given["quiet"])

        result = run(
            interfaces, made, queue_number=given["queue_number"], memory=given["memory"],
            seconds=given["seconds"],
            ring_bytes=given["ring_mib"] << 20, at_once=given["low_latency"],
            watchers=watchers, interruption=interruption, quiet=given["quiet"], ours=ours,
            say=lambda text: terminal.note(f"fwcore: {text}"))
    if given["state_file"]:
        result.save_state(given["state_file"])
    written = running.write_files(result, given)
    text = running.said(result, given)
    if text and given["json_file"] != "-":
        from fwcore.live import text as live_text

        text += live_text.lines(result.data["live"])
    spoken = exits.last(text, 0)
    return exits.gravest(exits.of_replay(result, written, None), spoken, _untold(watching))


def _cut(redirected: Sequence[str], quiet: bool) -> None:
    """What is said of a wire that nobody guards."""
    if redirected:
        terminal.note(f"fwcore: note: {', '.join(redirected)}: an earlier --bypass-on-exit had its"
                      " frames redirected; they are judged again")
    if not quiet:
        terminal.note("fwcore: note: when this ends, or crashes, the wire is cut"
                      " (--bypass-on-exit passes frames then)")


def _untold(watching: Sequence[Any]) -> int:
    """What did not reach those who were to be told; the exit code where that is a file."""
    for each in watching:
        if getattr(each, "lost", 0):
            terminal.note(f"fwcore: note: {each.option}: {each.lost} messages could not be sent")
    failures = [each.failure for each in watching if getattr(each, "failure", "")]
    for failure in failures:
        terminal.note(f"fwcore: {failure}: events are missing there")
    return exits.USAGE if failures else exits.DONE


def _interfaces(given: dict[str, Any]) -> list[str]:
    if given["queue_number"] is not None:
        for name, option in (("inside", "--inside"), ("outside", "--outside"),
                             ("tap", "--read-only"), ("bypass_on_exit", "--bypass-on-exit")):
            if given[name]:
                raise LiveError(f"--queue stands alone: without {option}")
        return []
    if given["tap"] and (given["inside"] or given["outside"]):
        raise LiveError("--read-only stands alone: without --inside and --outside")
    if given["tap"]:
        if given["bypass_on_exit"]:
            raise LiveError("--bypass-on-exit: nothing is forwarded with --read-only")
        return [given["tap"]]
    if not given["inside"] or not given["outside"]:
        raise LiveError("--inside and --outside are asked for, or --read-only, or --queue")
    return [given["inside"], given["outside"]]


def _watchers(run: Any, given: dict[str, Any]) -> Iterator[Any]:
    """Those who are told what happens, as the options ask for them."""
    import sys

    from fwcore.live import control, metrics, serve, traps, view

    made: list[Any] = []
    kinds: tuple[tuple[str, Any], ...] = (
        ("events_to", view.EventLines), ("syslog_to", view.Syslog),
        ("traps_to", lambda where: traps.Traps(where, given["community"])),
        ("control_at", lambda path: control.ControlSocket(run, path)),
        ("metrics_at", metrics.Metrics), ("page_at", serve.Page))
    try:
        for name, kind in kinds:
            if given[name]:
                made.append(kind(given[name]))
        if not given["quiet"] and sys.stderr is not None and sys.stderr.isatty() \
                and given["events_to"] != "-":
            made.append(view.View())
    except BaseException:
        for each in made:
            each.close()
        raise
    return iter(made)


@app.command()
@click.argument("path", metavar="SOCKET")
@click.argument("what", metavar="WHAT", default="figures")
@click.argument("words", nargs=-1, metavar="[KEY=VALUE...]")
@options.JSON
def ask(path: str, what: str, words: tuple[str, ...], json_file: str | None) -> int:
    """Ask a live run, or change it: what it answers, as JSON.

    SOCKET is its --control. Keys are where fields, settings, or the names shown.

    \b
    fwcore ask fw.sock
    fwcore ask fw.sock sessions host=10.0.0.5 state=established limit=50
    fwcore ask fw.sock end host=10.0.0.5
    fwcore ask fw.sock end flow=10.0.0.5:4321-203.0.113.9:443/tcp
    fwcore ask fw.sock configure av_failopen=off
    fwcore ask fw.sock take owner=base amount=64MiB
    fwcore ask fw.sock force mode=on
    """
    from fwcore.live import control

    answer = control.ask(path, _request(what, words))
    return running.json_or_text(answer, json_file, lambda: json.dumps(answer, indent=1) + "\n")


def _request(what: str, words: tuple[str, ...]) -> dict[str, Any]:
    """A request of the control socket from words of a command line."""
    if what == "configure":
        from fwcore.settings.layers import assigned

        return {"do": what, "settings": dict(assigned(word, what) for word in words)}
    pairs: dict[str, Any] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name:
            raise LiveError(f"{word!r} is not KEY=VALUE")
        pairs[name] = int(value) if value.isdecimal() and value.isascii() else value
    if what in ("sessions", "end"):
        request: dict[str, Any] = {"do": what}
        if "flow" in pairs:
            request["flows"] = [str(pairs.pop("flow"))]
        if what == "sessions" and "limit" in pairs:
            request["limit"] = pairs.pop("limit")
        if pairs:
            request["where"] = pairs
        elif what == "end" and "flows" not in request:
            raise LiveError("end: which? flow=..., or fields like host=10.0.0.5")
        return request
    if what == "force":
        return {"do": what, "mode": None if pairs.get("mode") in (None, "none") else pairs["mode"]}
    return {"do": what, **pairs}
