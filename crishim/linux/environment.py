"""Environments of programs. What an administrator gives the daemon (proxies with passwords, tokens, a notify socket) is
meant for the daemon: a program gets an environment made for it.

skopeo is the exception: proxies, certificates, credential helpers and their settings are for it, so it gets all of the
daemon's but what the service manager gave. It talks to registries and outlives nothing.
"""

import os

_SBIN = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_SERVICE = ("NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "MAINPID",
            "INVOCATION_ID", "JOURNAL_STREAM", "SYSTEMD_EXEC_PID", "CREDENTIALS_DIRECTORY")  # fmt: skip


def made(**more: str) -> dict[str, str]:
    """PATH (the daemon's, and where a service's leaves out sbin) and what is given; nothing else."""
    path = os.environ.get("PATH", "")
    return {"PATH": f"{path}:{_SBIN}" if path else _SBIN, **more}


def inherited(**more: str) -> dict[str, str]:
    """The daemon's own without the service manager's part, and what is given."""
    return {name: value for name, value in os.environ.items() if name not in _SERVICE} | more
