"""Memory source ``host``: what a machine and its cgroups say, as the appliance's memory."""

from __future__ import annotations

import os

import pytest

from fwcore import Engine, load
from fwcore.errors import LiveError
from fwcore.live import Live, run as run_module
from fwcore.live.memory import HostMemory


def machine(root, total_kib, available_kib, limit=None, used=0, cached=0):
    (root / "proc/self").mkdir(parents=True, exist_ok=True)
    (root / "proc/pressure").mkdir(parents=True, exist_ok=True)
    (root / "proc/meminfo").write_text(
        f"MemTotal: {total_kib} kB\nMemAvailable: {available_kib} kB\n")
    (root / "proc/pressure/memory").write_text("some avg10=1.50 avg60=0.00 avg300=0.00 total=1\n")
    (root / "proc/self/cgroup").write_text("0::/a\n")
    group = root / "sys/fs/cgroup/a"
    group.mkdir(parents=True, exist_ok=True)
    if limit is not None:
        (group / "memory.max").write_text(f"{limit}\n")
        (group / "memory.current").write_text(f"{used}\n")
        (group / "memory.stat").write_text(f"anon 1\ninactive_file {cached}\n")
    return HostMemory(str(root))


@pytest.mark.parametrize(("group", "reading"), [
    ((), (1 << 30, 1 << 29)), (("max", 5, 0), (1 << 30, 1 << 29)),
    ((1 << 28, 1 << 27, 1 << 20), (1 << 28, (1 << 27) + (1 << 20))),
    ((1 << 28, 1 << 29, 0), (1 << 28, 0)),
])
def test_the_smaller_of_machine_and_cgroup(tmp_path, group, reading):
    host = machine(tmp_path, 1 << 20, 1 << 19, *group)
    assert host.reading[:2] == reading and host.reading.pressure == 1.5


@pytest.mark.parametrize("path", ["a", ""])
def test_a_cgroup_of_the_first_version(tmp_path, path):
    """Also where the path is the host's, and only the root of ours is mounted."""
    machine(tmp_path, 1 << 20, 1 << 19)
    (tmp_path / "proc/self/cgroup").write_text("3:cpu:/a\n4:memory:/a\n0::/a\n")
    group = tmp_path / "sys/fs/cgroup/memory" / path
    group.mkdir(parents=True, exist_ok=True)
    (group / "memory.limit_in_bytes").write_text(f"{1 << 28}\n")
    (group / "memory.usage_in_bytes").write_text(f"{1 << 27}\n")
    (group / "memory.stat").write_text("cache 9\ntotal_inactive_file 4096\n")
    assert HostMemory(str(tmp_path)).reading[:2] == (1 << 28, (1 << 27) + 4096)
    (group / "memory.limit_in_bytes").write_text(f"{(1 << 63) - 4096}\n")
    assert HostMemory(str(tmp_path)).reading[:2] == (1 << 30, 1 << 29)


def test_a_cgroup_within_one_that_has_less(tmp_path):
    """A slice, or the container around: its limit is ours, too."""
    machine(tmp_path, 1 << 20, 1 << 19, "max", 5)
    (tmp_path / "proc/self/cgroup").write_text("0::/a/b/c\n")
    for path, limit, used in (("a/b", 1 << 29, 1 << 28), ("a/b/c", 1 << 28, 1 << 20)):
        group = tmp_path / "sys/fs/cgroup" / path
        group.mkdir(parents=True, exist_ok=True)
        (group / "memory.max").write_text(f"{limit}\n")
        (group / "memory.current").write_text(f"{used}\n")
        (group / "memory.stat").write_text("inactive_file 0\n")
    assert HostMemory(str(tmp_path)).reading[:2] == (1 << 28, (1 << 28) - (1 << 20))
    (tmp_path / "sys/fs/cgroup/a/b/memory.current").write_text(f"{(1 << 29) - 4096}\n")
    assert HostMemory(str(tmp_path)).reading[:2] == (1 << 28, 4096)


def test_a_limit_that_is_lowered_while_it_runs(tmp_path):
    host = machine(tmp_path, 1 << 20, 1 << 20, 1 << 28, 1 << 26)
    settings = host.settings(load("fortios-7", max_connections=1000))
    with Engine(settings) as engine:
        engine.process_frames([b"\x02" * 60], [10**18])
        for limit, mode in ((1 << 28, "off"), ((1 << 26) + 4096, "extreme"), (1 << 28, "off")):
            machine(tmp_path, 1 << 20, 1 << 20, limit, 1 << 26)
            host.follow(engine)
            assert engine.mode == mode


def test_a_machine_that_says_nothing(tmp_path):
    with pytest.raises(LiveError, match="/proc/meminfo: cannot be read"):
        HostMemory(str(tmp_path))
    assert HostMemory().reading.total > HostMemory().reading.available > 0


def test_the_appliance_follows_the_machine_into_conserve_mode_and_out(tmp_path):
    host = machine(tmp_path, 1 << 16, 1 << 15)
    settings = host.settings(load("fortios-7", max_connections=1000))
    assert settings.ram_bytes == 1 << 26 and settings.base_bytes == 1 << 25
    with Engine(settings) as engine:
        engine.process_frames([b"\x02" * 60], [10**18])
        for available_kib, mode in ((1 << 15, "off"), (1 << 12, "on"), (1 << 15, "off")):
            machine(tmp_path, 1 << 16, available_kib)
            host.follow(engine)
            owners = engine.owners()
            assert owners["used"] == (1 << 14) - available_kib // 4
            assert engine.mode == mode
            assert host.follow(engine) == 0
        engine.check_laws()


def test_a_cgroup_that_was_left_for_another(tmp_path):
    """Its limit is the other's then; what is no longer mounted cannot be read."""
    host = machine(tmp_path, 1 << 20, 1 << 19, 1 << 28, 1 << 27)
    old, new = tmp_path / "sys/fs/cgroup/a", tmp_path / "sys/fs/cgroup/b"
    old.rename(new)
    (tmp_path / "proc/self/cgroup").write_text("0::/b\n")
    (new / "memory.max").write_text(f"{1 << 29}\n")
    assert host.read()[:2] == (1 << 29, (1 << 29) - (1 << 27))
    new.rename(tmp_path / "elsewhere")
    with pytest.raises(LiveError, match=r"memory\.max: cannot be read"):
        host.read()
    (tmp_path / "sys/fs/cgroup/cgroup.procs").touch()       # mounted: ours has no limit
    assert host.read()[:2] == (1 << 30, 1 << 29)


@pytest.mark.parametrize("text", ["-\n", ""])
def test_a_cgroup_that_says_no_number(tmp_path, text):
    host = machine(tmp_path, 1 << 20, 1 << 19, 1 << 28, 1 << 27)
    (tmp_path / "sys/fs/cgroup/a/memory.current").write_text(text)
    with pytest.raises(LiveError, match="memory of this machine cannot be read"):
        host.read()


def test_cgroups_that_are_out_of_sight(tmp_path):
    """Below `ip netns exec` no limit was found, and the machine's memory taken without a word."""
    host = machine(tmp_path, 1 << 20, 1 << 19)
    assert not host.limits_hidden               # a group that has no limit
    (tmp_path / "sys/fs/cgroup/a").rmdir()
    assert host.limits_hidden
    (tmp_path / "sys/fs/cgroup").rmdir()
    assert host.limits_hidden
    (tmp_path / "proc/self/cgroup").unlink()    # a kernel without cgroups
    assert not host.limits_hidden


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root for packet sockets")
def test_a_run_says_that_it_sees_no_limit(tmp_path, monkeypatch):
    machine(tmp_path, 1 << 20, 1 << 19)
    (tmp_path / "sys/fs/cgroup/a").rmdir()
    monkeypatch.setattr(run_module, "HostMemory", lambda: HostMemory(str(tmp_path)))
    said = []
    Live(["lo"], load("fortios-7", max_connections=1000), memory="host", ring_bytes=1 << 20,
         say=said.append).close()
    assert [line for line in said if "no limit of a cgroup is seen, RAM is the machine's" in line]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root for packet sockets")
def test_a_run_goes_on_with_what_it_last_knew(tmp_path):
    """/proc that went away ended it."""
    said = []
    run = Live(["lo"], load("fortios-7", max_connections=1000), ring_bytes=1 << 20, quiet=True,
               say=said.append)
    try:
        run.host = machine(tmp_path, 1 << 20, 1 << 19)
        run.engine.begin(10**18)
        run._tick()
        base = run.engine.owners()["base"]
        for present in (False, False, True, True, False):
            source = tmp_path / "proc/meminfo"
            source.unlink(missing_ok=True)
            if present:
                machine(tmp_path, 1 << 20, 1 << 19)
            run._tick()
            assert run.engine.owners()["base"] == base
            assert run.figures()["host"]["available_bytes"] == 1 << 29
    finally:
        run.close()
    lost = "/proc/meminfo: cannot be read: No such file or directory: memory stays as it was"
    assert [line[:len(lost)] for line in said] == [
        lost, "memory of the machine can be read again, and is followed", lost]
