"""Settings: what one firewall is, frozen and validated.

    declared      what may be set, one row a setting     values     one value, typed and ranged
    personality   each firewall as data                  document   lines of a TOML file
    layers        what wins: load, Settings              rows       [[base_item]], [[pressure]]
    resolved      the frozen values, Timeouts            checks     settings against each other
    wirings       vendors' words for shaping             tables     a vendor's row, key by key
    keywords      settings as keyword arguments, typed

Laws: every setting is one row of ``DECLARATIONS``. A ``Settings`` that exists is valid: each value
was held against its row and the settings against each other. Thresholds are the machines' and
asked of them (``fwcore.conserve``).

Units: bytes unless the name says otherwise; pages are 4096 bytes and byte amounts are rounded up
to them; thresholds in percent are rounded down. ``KiB MiB GiB TiB`` are always powers of two;
``kB MB GB TB`` are what the vendor means by them: 2^10, 2^20, ... in FortiOS, 10^3, 10^6, ...
elsewhere (the article's 512 000 x 412 B "= 210.9 MB" is 10^6).

Marks: C Clavister article, K FortiGate KB 198580, H FortiOS 5 online help, T FortiOS 7 tuning
guide, R public record, D decision of this project, "" given by the user.
"""

from fwcore.settings.declared import BY_NAME, DECLARATIONS, MARKS, Declaration, personalities
from fwcore.settings.document import Row
from fwcore.settings.layers import Settings, load, named
from fwcore.settings.personality import Personality, read_personality
from fwcore.settings.resolved import Timeouts
from fwcore.settings.values import Share

__all__ = [
    "Settings", "Timeouts", "Row", "load", "named",
    "Personality", "personalities", "read_personality",
    "DECLARATIONS", "BY_NAME", "MARKS", "Declaration", "Share",
]
