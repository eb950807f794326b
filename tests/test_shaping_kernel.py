"""The shaping twin against the running kernel: tbf and htb in network namespaces of the test's.

Order of frames and refusals must be the same, release times within 0.3 ms. A few settings each
time; FWCORE_KERNEL_SETTINGS=200 asks for more, as does `python tests/shaping_kernel.py 200`.
"""

import os
import random

import pytest
import shaping_kernel

SETTINGS = int(os.environ.get("FWCORE_KERNEL_SETTINGS", "4"))


@pytest.fixture(scope="module")
def kernel():
    """Skips with the reason where the kernel cannot be asked."""
    if why := shaping_kernel.kernel_net.missing():
        pytest.skip(why)


@pytest.mark.parametrize("seed", range(SETTINGS))
def test_the_kernel_sends_the_same_frames_at_the_same_times(kernel, seed):
    found = shaping_kernel.compare(shaping_kernel.draw_setting(seed))
    assert found.order
    assert found.drops
    assert found.worst_ns <= shaping_kernel.TOLERANCE_NS


def test_another_rate_in_the_model_is_a_difference(kernel, monkeypatch):
    """The comparison can fail: the kernel is given a tenth more than the model knows of."""
    setting = shaping_kernel.draw_setting(0)
    rate = setting.classes[0].ceiling
    faster = [line.replace(f"rate {rate}bit", f"rate {rate * 11 // 10}bit")
              for line in setting.setup]
    monkeypatch.setattr(shaping_kernel, "REPEATS", 1)
    assert not shaping_kernel.compare(setting._replace(setup=faster)).same


def test_a_tie_within_the_kernels_lateness_is_not_drawn():
    """Frames 12 and 16 of it come 22 us apart, in two classes; the kernel's timer, 60 us late,
    finds both and goes by turn. It came through 12 trials of chance lateness, and no run agreed."""
    assert not shaping_kernel.decided(shaping_kernel.htb(random.Random(183), deep=True))


def test_settings_are_said_in_both_languages():
    kinds = {shaping_kernel.draw_setting(seed).name for seed in range(4)}
    assert kinds == {"tbf", "htb-2", "htb-3"}
