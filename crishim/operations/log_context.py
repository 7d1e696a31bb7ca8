"""The log context of a call: the RPC, its pod, its container. It is one dictionary that the RPC's handler and the
operation's task share, as ids become known later: a new pod's, say, once RunPodSandbox has made it.
"""

import contextvars

_CURRENT: contextvars.ContextVar[dict[str, str] | None] = contextvars.ContextVar("log_context", default=None)


def begin(**ids: str) -> None:
    """Start a new context, for the current task and those it starts."""
    _CURRENT.set(dict(ids))


def about(**ids: str) -> None:
    """Add ids to the current context, for all tasks that share it."""
    current = _CURRENT.get()
    if current is None:
        begin(**ids)
    else:
        current.update(ids)


def current() -> dict[str, str]:
    return _CURRENT.get() or {}
