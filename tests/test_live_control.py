"""The control socket: what may be asked, what is refused and in which words, who is heard."""

import json
import os
import resource
import socket
import stat
import threading
import time
from contextlib import ExitStack, contextmanager, suppress

import live_net
import pytest
from test_live import SMALL, needs_net, needs_root, running

from fwcore import Engine, load
from fwcore.cli.live import _request
from fwcore.errors import FwcoreError, LiveError, SettingsError
from fwcore.live import Live, control
from fwcore.settings.declared import BY_NAME


@pytest.fixture(scope="module")
def wire():
    with live_net.Wire() as made:
        yield made


@contextmanager
def looping(run):
    """The loop of a run in a thread of its own; the run is closed afterwards."""
    ended = threading.Event()

    def loop():
        while not ended.is_set():
            run._turn(None)

    try:
        with live_net.beside(loop):
            try:
                yield
            finally:
                ended.set()
                run.rings.wake()
    finally:
        run.close()


def of_loopback():
    """A run that looks at the loopback interface."""
    return Live(["lo"], load("fortios-7", **SMALL), ring_bytes=1 << 20, quiet=True)


@contextmanager
def heard(tmp_path):
    """Such a run with its loop and a control socket; the socket's path."""
    run = of_loopback()
    door = control.ControlSocket(run, str(tmp_path / "c"))
    with looping(run):
        try:
            yield str(tmp_path / "c")
        finally:
            door.close()


def said_to(path, request):
    """What is answered to these bytes."""
    with socket.socket(socket.AF_UNIX) as made:
        made.connect(path)
        made.settimeout(live_net.PATIENCE_S)
        made.sendall(request)
        data = b""
        while part := made.recv(1 << 16):
            data += part
    return json.loads(data)


@needs_net
def test_the_control_socket_reads_and_changes(wire, tmp_path):
    path = str(tmp_path / "c")
    listener = wire.listen(5011)
    with running(wire, load("fortios-7", **SMALL)) as run:
        door = control.ControlSocket(run, path)
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
        with live_net.beside(live_net.echo(listener)), wire.connect(5011) as client:
            live_net.exchange(client, b"abc")
            where = {"host": "10.9.0.1", "port": 5011}
            found = control.ask(path, {"do": "sessions", "where": where})
            assert [row["flow"].endswith("-10.9.0.2:5011/tcp") for row in found] == [True]
            assert found[0]["state"] == "ESTABLISHED"
            flows = [found[0]["flow"]]
            assert control.ask(path, {"do": "end", "flows": flows}) == {"ended": 1}
            assert control.ask(path, {"do": "end", "where": where}) == {"ended": 0}
        assert control.ask(path, {"do": "figures"})["personality"] == "fortios-7"
        assert control.ask(path, {"do": "take", "owner": "base", "amount": 4096}) == {"pages": 1}
        assert control.ask(path, {"do": "give", "owner": "base", "amount": 4096}) == {"pages": 1}
        changed = {"do": "configure", "settings": {"av_failopen": "off"}}
        assert control.ask(path, changed) == {"changed": ["av_failopen"]}
        assert control.ask(path, {"do": "force", "mode": "on"}) == {"mode": "on"}
        with pytest.raises(FwcoreError, match="frozen in conserve mode"):
            control.ask(path, changed)
        for wrong in ({"do": "nothing"}, {"do": "sessions", "limit": -1}, {"do": "end", "flows": 3},
                      {"do": "figures", "more": 1}, {"do": "sessions", "where": {"nobody": 1}},
                      {"do": "end", "where": {"port": {}}},
                      {"do": "take", "owner": [], "amount": None}):
            with pytest.raises(FwcoreError):
                control.ask(path, wrong)
        for name in ("ram_bytes", "max-connections"):
            with pytest.raises(LiveError, match="start it anew with other settings"):
                control.ask(path, {"do": "configure", "settings": {name: 5}})
        door.close()
        with pytest.raises(LiveError, match="nobody answers"):
            control.ask(path, {"do": "figures"})


def test_requests_from_words():
    assert _request("sessions", ("host=10.0.0.5", "limit=5")) == {
        "do": "sessions", "where": {"host": "10.0.0.5"}, "limit": 5}
    assert _request("end", ("flow=a",)) == {"do": "end", "flows": ["a"]}
    assert _request("configure", ("half_open_limit=5",)) == {
        "do": "configure", "settings": {"half_open_limit": 5}}
    assert _request("force", ("mode=none",)) == {"do": "force", "mode": None}
    assert _request("take", ("owner=base", "amount=1MiB")) == {
        "do": "take", "owner": "base", "amount": "1MiB"}
    for what, words in (("end", ()), ("take", ("owner",))):
        with pytest.raises(LiveError):
            _request(what, words)


@pytest.mark.parametrize("word", [
    "config_freeze=false", "av_failopen_session=enable", "max_step_s=0.5", "timeouts.udp_s=20",
    "memory-use-threshold-red=87%", "net.netfilter.nf_conntrack_udp_timeout=30", "ips_fail_open=no",
])
def test_a_setting_is_changed_by_the_words_that_set_it(word):
    """Truths, parts of seconds and dotted names were refused as text, which --set takes."""
    by_words = _request("configure", (word,))["settings"]
    assert json.loads(json.dumps(by_words)) == by_words
    changed = load("fortios-7").replace(**by_words)
    there = load("fortios-7", assignments=[word])
    assert [changed.value(name) for name in BY_NAME] == [there.value(name) for name in BY_NAME]


@pytest.mark.parametrize(("word", "said"), [
    ("nosuch=1", 'configure: unknown setting "nosuch"'), ("av_failopen", "is not key=value"),
    ("policies=[]", "configure: policies are rows of a settings file"),
])
def test_what_is_no_setting_is_said_before_anybody_is_asked(word, said):
    with pytest.raises(SettingsError, match=said):
        _request("configure", (word,))


def test_a_number_of_a_request_is_one_of_ours():
    """A digit that is no decimal one was a defect of fwcore."""
    assert _request("take", ("owner=base", "amount=7"))["amount"] == 7
    assert _request("take", ("owner=base", "amount=\u00b2"))["amount"] == "\u00b2"


@needs_root
@pytest.mark.parametrize(("request_", "words"), [
    ({"do": []}, "do: one of figures, sessions"), ({"do": {}}, "do: one of"),
    ({}, "do: one of"), ([], "do: one of"), (3, "do: one of"),
    ({"do": "figures", "self": 1}, "figures: nothing else: that is asked for, and self was given"),
    ({"do": "take", "owner": 1}, "take: owner, amount: that is asked for, and owner was given"),
    ({"do": "configure", "settings": {"self": 1}}, 'unknown setting "self"'),
    ({"do": "configure", "settings": {"changes": 1}}, 'unknown setting "changes"'),
    ({"do": "configure", "settings": {"av_failopen": None}},
     "av_failopen = None is unknown; allowed: one of pass, off, one-shot, idledrop"),
    ({"do": "configure", "settings": {"half_open_limit": None}},
     "half_open_limit = None is not a whole number but NoneType; allowed: 0 to"),
    ({"do": "configure", "settings": {"timeouts": None}}, "timeouts = None is no table"),
])
def test_what_is_asked_wrongly_is_refused_in_clear_words(tmp_path, request_, words):
    with heard(tmp_path) as path:
        assert words in said_to(path, json.dumps(request_).encode() + b"\n")["error"]


@needs_root
@pytest.mark.parametrize(("sent", "words"), [
    (b"{\n", "a request is a line of JSON"), (b"\xff\n", "a request is a line of JSON"),
    (b" " * 200_000 + b"\n", "a request of 200001 bytes: 65536 at most"),
    (b"[" * (1 << 20) + b"\n", "65536 at most"),
])
def test_what_is_no_request_is_told_so_and_not_cut_off(tmp_path, sent, words):
    """Bytes that nobody read made the kernel answer by a reset."""
    with heard(tmp_path) as path:
        assert words in said_to(path, sent)["error"]


@needs_root
def test_half_a_request_is_waited_for_only_so_long(tmp_path, monkeypatch):
    monkeypatch.setattr(control, "LINE_S", 0.05)
    with heard(tmp_path) as path:
        assert said_to(path, b'{"do"')["error"] == "the request was not whole within 0.05 s"


@needs_root
def test_half_requests_shut_nobody_out(tmp_path, monkeypatch):
    """The oldest of them goes for each that comes, and is told why."""
    monkeypatch.setattr(control, "LINE_S", 60)
    with heard(tmp_path) as path, ExitStack() as stack:
        half = [stack.enter_context(socket.socket(socket.AF_UNIX))
                for _ in range(control.CLIENTS + 2)]
        for each in half:
            each.connect(path)
            each.settimeout(live_net.PATIENCE_S)
            each.sendall(b'{"do"')
        begin = time.monotonic()
        for _ in range(3):
            assert control.ask(path, {"do": "figures"})["mode"] == "off"
        assert time.monotonic() - begin < live_net.PATIENCE_S
        assert b"more than 32 ask at once" in half[0].recv(1 << 16)


@needs_root
def test_a_deed_that_was_not_begun_in_time_is_never_done():
    """It was said to have failed, and happened later."""
    run = of_loopback()
    done = []
    try:
        with pytest.raises(LiveError, match=r"not done, and will not be: .* within 0\.01 s"):
            run.ask(lambda: done.append(1), 0.01)
        run._turn(None)
        assert not done
    finally:
        run.close()


@needs_root
def test_a_deed_that_takes_longer_is_said_to_go_on():
    run, go = of_loopback(), threading.Event()

    def refuse():
        raise TimeoutError("of its own")

    with looping(run):
        with pytest.raises(LiveError, match="begun, and not done within 1 s: it goes on"):
            run.ask(lambda: go.wait(live_net.PATIENCE_S), 1)
        go.set()
        with pytest.raises(TimeoutError, match="of its own"):
            run.ask(refuse)


def test_no_name_of_a_setting_is_taken_for_an_argument():
    with Engine() as engine:
        for change in (engine.configure, engine.settings.replace):
            with pytest.raises(SettingsError, match='unknown setting "self"'):
                change(self=1)


@needs_root
def test_a_moment_without_files_leaves_the_socket_heard(tmp_path):
    """Who could not be accepted ended the thread that accepts: nobody was heard again."""
    with heard(tmp_path) as path, ExitStack() as held:
        early = [held.enter_context(socket.socket(socket.AF_UNIX)) for _ in range(3)]
        before = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, before[1]))
        taken = []
        try:
            with suppress(OSError):
                while True:
                    taken.append(os.open(os.devnull, os.O_RDONLY))
            for each in early:      # the first has the place that was kept for it
                each.connect(path)
                each.sendall(b'{"do": "figures"}\n')
            time.sleep(0.3)
        finally:
            for each in taken:
                os.close(each)
            resource.setrlimit(resource.RLIMIT_NOFILE, before)
        for each in early:
            each.settimeout(live_net.PATIENCE_S)
            assert each.recv(1) == b"{"
        assert said_to(path, b'{"do": "figures"}\n')["ok"]["packets"] >= 0


@needs_root
def test_without_a_thread_who_asks_is_heard_one_after_the_other(tmp_path, monkeypatch):
    start = threading.Thread.start

    def refused(thread):
        if thread.name == "asked":
            raise RuntimeError("can't start new thread")
        start(thread)

    with heard(tmp_path) as path:
        monkeypatch.setattr(threading.Thread, "start", refused)
        for _ in range(control.CLIENTS + 1):
            assert "ok" in said_to(path, b'{"do": "figures"}\n')
