"""What programs inherit beside the environment: ignored and blocked signals, the umask. execve(2), signal(7), umask(2).

A daemon started in the background of a script or by nohup(1) ignores SIGINT, SIGQUIT or SIGHUP. Conmon, the runtime,
and with runc a container's processes would ignore them too: Ctrl-C in a terminal would do nothing. A container's umask
is the runtime's unless its spec sets one.
"""

import os
import signal
from types import FrameType

UMASK = 0o022
# What Python ignores by itself; subprocess gives children the default of these.
_PYTHON = {signal.SIGPIPE, signal.SIGXFSZ}


def reset_inherited_signals() -> None:
    """Start all further programs with the umask 022, no signal ignored and none blocked.

    This process still ignores what it ignored. Call it in the main thread, before another one is started.
    """
    for number in signal.valid_signals() - _PYTHON:
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, _nothing)  # execve(2) resets a handler to the default
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    os.umask(UMASK)


def _nothing(_number: int, _frame: FrameType | None) -> None:
    """Ignore the signal."""
