"""Environments of programs. They do not inherit the daemon's, which may have proxies with passwords, tokens, a notify
socket.

skopeo is the exception: it needs proxies, certificates, credential helpers and their settings, so it inherits all but
the service manager's variables. It ends with its task.
"""

import os

_SBIN = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_SERVICE = ("NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "MAINPID",
            "INVOCATION_ID", "JOURNAL_STREAM", "SYSTEMD_EXEC_PID", "CREDENTIALS_DIRECTORY")  # fmt: skip


def minimal(**more: str) -> dict[str, str]:
    """PATH (the daemon's and the usual directories, as a service's may lack sbin) and `more`; nothing else."""
    path = os.environ.get("PATH", "")
    return {"PATH": f"{path}:{_SBIN}" if path else _SBIN, **more}


def inherited(**more: str) -> dict[str, str]:
    """The daemon's without the service manager's variables, and `more`."""
    return {name: value for name, value in os.environ.items() if name not in _SERVICE} | more
