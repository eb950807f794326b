"""What remains of the wire when the program has ended, however it ended.

A packet socket sees frames and does not forward them: without the program the wire is cut. With
``--bypass-on-exit`` a shell waits beside it for the end of a pipe, which comes with the program's
own, killed or not, and then tells the kernel to redirect each interface's frames to the other
(tc, action mirred). The next start, with that option or without, takes that away again before it
takes the first frame.
"""

from __future__ import annotations

import shlex
import shutil
import subprocess
from collections.abc import Sequence

from fwcore._rings import Interface
from fwcore.errors import LiveError

PREFERENCE = 64206              # of our filter, so that others' stay
PATIENCE_S = 10


class Bypass:
    """Armed from here on: when this process ends, or at ``close``, frames pass unjudged."""

    def __init__(self, interfaces: Sequence[str]) -> None:
        for name in interfaces:
            Interface(name)             # says when there is none
        if not all(map(shutil.which, ("tc", "ip", "sh", "sed"))):
            raise LiveError("--bypass-on-exit needs tc and ip (iproute2), sh and sed")
        remove(interfaces)
        tried = subprocess.run(["sh", "-c", script(interfaces)], capture_output=True, text=True,
                               timeout=PATIENCE_S, check=False)
        remove(interfaces)
        if tried.returncode:
            raise LiveError(
                f"--bypass-on-exit: tc cannot redirect here: {tried.stderr.strip()[-200:]}")
        self._guard = subprocess.Popen(
            ["sh", "-c", "trap '' INT TERM HUP; read -r _; " + script(interfaces)],
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True)

    def close(self) -> None:
        """The wire is closed by the kernel; when this returns, it is."""
        if self._guard.stdin is not None:
            self._guard.stdin.close()
        self._guard.wait(PATIENCE_S)


def script(interfaces: Sequence[str]) -> str:
    """What the shell does: each interface's frames go to the other, also of one that was renamed
    since this was asked for."""
    lines = []
    for number, name in enumerate(interfaces):      # by what each is called then: see Rings.heal
        lines.append(f"d{number}=$(ip -o link show | sed -n"
                     f" 's/^{Interface(name).index}: \\([^:@]*\\)[:@].*/\\1/p')")
        lines.append(f"d{number}=${{d{number}:-{shlex.quote(name)}}}")
    for here, there in (('"$d0"', '"$d1"'), ('"$d1"', '"$d0"')):
        lines.append(f"tc qdisc add dev {here} clsact 2>/dev/null")
        lines.append(f"tc filter add dev {here} ingress pref {PREFERENCE} protocol all u32"
                     f" match u32 0 0 action mirred egress redirect dev {there} || exit 1")
    return "; ".join(lines)


def remove(interfaces: Sequence[str]) -> list[str]:
    """Takes away what an earlier run left; from which interfaces."""
    if not shutil.which("tc"):
        return []
    return [name for name in interfaces if not subprocess.run(
        ["tc", "filter", "del", "dev", name, "ingress", "pref", str(PREFERENCE)],
        capture_output=True, timeout=PATIENCE_S, check=False).returncode]
