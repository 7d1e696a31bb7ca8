"""Stop signals in their three forms: Linux numbers, image names ("SIGQUIT", "QUIT", "3", "SIGRTMIN+3"), and CRI's enum,
which has numbers of its own. signal(7), k8s.io/cri-api v0.37.2.
"""

import re
import signal

from crishim.errors import CrishimError, Kind
from crishim.pb import cri_pb2 as cri

RTMIN, RTMAX = 34, 64  # SIGRTMIN and SIGRTMAX of the C library
_SYNONYMS = {"SIGCLD": "SIGCHLD", "SIGIOT": "SIGABRT", "SIGPOLL": "SIGIO"}
_REALTIME = re.compile(r"SIG(RTMIN|RTMAX)(?:(\+|-|PLUS|MINUS)([0-9]{1,2}))?")


def parse(name: str) -> int:
    """The number of a signal given by name, with or without SIG, or by number. Raises INVALID if there is none."""
    text = name.strip().upper()
    if re.fullmatch("[0-9]{1,9}", text) and 1 <= int(text) <= RTMAX:
        return int(text)
    text = text if text.startswith("SIG") else f"SIG{text}"
    text = _SYNONYMS.get(text, text)
    match = _REALTIME.fullmatch(text)
    if match:
        base, sign, offset = RTMIN if match[1] == "RTMIN" else RTMAX, match[2] or "+", int(match[3] or 0)
        number = base + (offset if sign in ("+", "PLUS") else -offset)
        if RTMIN <= number <= RTMAX:
            return number
    elif text == "SIGSTKFLT":
        return 16
    elif text in signal.Signals.__members__:
        return signal.Signals[text].value
    raise CrishimError(Kind.INVALID, f"there is no signal {name!r}", signal=name)


def from_cri(value: "cri.Signal.ValueType") -> int:
    """The Linux number of CRI's enum; 0 for SIGNAL_RUNTIME_DEFAULT."""
    name = cri.Signal.Name(value).removeprefix("SIGNAL_")
    return 0 if value == cri.SIGNAL_RUNTIME_DEFAULT else parse(name)


_CRI_BY_NUMBER = {from_cri(value): value for _, value in reversed(cri.Signal.items())}


def to_cri(number: int) -> "cri.Signal.ValueType":
    """CRI's enum for a Linux number; of synonyms the first in the enum."""
    return _CRI_BY_NUMBER.get(number, cri.SIGNAL_RUNTIME_DEFAULT)
