"""Settings as Linux calls them: sysctl parameters below net.netfilter, and what they are here."""

from __future__ import annotations

from typing import Any

from fwcore.errors import SettingsError
from fwcore.words import cut

PREFIXES = ("net.netfilter.", "net.")
NAMES = {
    "nf_conntrack_max": "max_connections",
    "nf_conntrack_buckets": "buckets",
    "nf_conntrack_tcp_loose": "midstream",
    "nf_conntrack_tcp_timeout_established": "tcp_s",
    "nf_conntrack_tcp_timeout_syn_sent": "tcp_halfopen_s",
    "nf_conntrack_tcp_timeout_fin_wait": "tcp_halfclose_s",
    "nf_conntrack_tcp_timeout_time_wait": "tcp_timewait_s",
    "nf_conntrack_tcp_timeout_close": "tcp_rst_s",
    "nf_conntrack_tcp_timeout_syn_recv": "tcp_synrecv_s",
    "nf_conntrack_tcp_timeout_close_wait": "tcp_closewait_s",
    "nf_conntrack_tcp_timeout_last_ack": "tcp_lastack_s",
    "nf_conntrack_tcp_timeout_unacknowledged": "tcp_unanswered_s",
    "nf_conntrack_udp_timeout": "udp_s",
    "nf_conntrack_udp_timeout_stream": "udp_stream_s",
    "nf_conntrack_icmp_timeout": "icmp_s",
    "nf_conntrack_generic_timeout": "other_s",
    "nf_conntrack_gre_timeout": "gre_s",
    "nf_conntrack_gre_timeout_stream": "gre_stream_s",
}
BY_SETTING = {setting: name for name, setting in NAMES.items()}
LOOSE = {"0": "drop", "1": "allow"}
LIBERAL = "nf_conntrack_tcp_be_liberal"


def translated(name: str, value: Any, where: str) -> tuple[str, Any]:
    """(setting, value) of a parameter; anything else as it is. Raises SettingsError for a parameter
    that has no setting, or a value that it does not take."""
    for prefix in PREFIXES:
        name = name.replace("/", ".").removeprefix(prefix)
    if name in ("net", "net.netfilter"):
        raise SettingsError(f"{where}: sysctl parameters stand at the top, without net.netfilter:"
                            " nf_conntrack_max = 1000")
    if name == LIBERAL:
        raise SettingsError(f"{where}: {LIBERAL} has no setting: windows are not followed, as with"
                            " 1; leave it out")
    if name not in NAMES:
        return name, value
    if name == "nf_conntrack_tcp_loose":
        text = str(value).strip()
        if text not in LOOSE:
            raise SettingsError(f"{where}: {name} = {cut(text)} is neither 0 nor 1")
        value = LOOSE[text]
    return NAMES[name], value
