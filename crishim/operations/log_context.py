"""What the log lines of a call are about: the RPC, its pod, its container. Known bit by bit: a new pod's id, say, only
once RunPodSandbox has made it up; so the ids are one dictionary that the RPC's handler and the operation's task share.
"""

import contextvars

_CURRENT: contextvars.ContextVar[dict[str, str] | None] = contextvars.ContextVar("log_context", default=None)


def begin(**ids: str) -> None:
    """Start anew, for the current task and those it will start."""
    _CURRENT.set(dict(ids))


def about(**ids: str) -> None:
    """Add ids to the lines to come, of everybody who shares the subject."""
    current = _CURRENT.get()
    if current is None:
        begin(**ids)
    else:
        current.update(ids)


def current() -> dict[str, str]:
    return _CURRENT.get() or {}
