"""`crishim nri`: list NRI plugins; the daemon must be running."""

import datetime
from collections.abc import Sequence

from crishim.cli.client import connect, fail, print_json, print_rows
from crishim.config import Config
from crishim.errors import CrishimError
from crishim.nri.events import EVENTS
from crishim.pb import admin_pb2 as admin

HEADS = ("PLUGIN", "STATE", "PID", "FROM", "CALLS", "MEAN", "LONGEST", "REFUSED", "UNANSWERED", "SINCE", "EVENTS")


def list_plugins(config: Config, *, as_json: bool) -> int:
    """Print the connected plugins, in the order they are called, and the recently closed ones."""
    try:
        with connect(config) as call:
            answer = call("ListNriPlugins", admin.ListNriPluginsRequest(), admin.ListNriPluginsResponse)
    except CrishimError as error:
        return fail(error.message)
    plugins: Sequence[admin.NriPlugin] = answer.plugins
    return print_json(map(_facts, plugins)) if as_json else print_rows([HEADS, *map(_row, plugins)])


def _row(plugin: admin.NriPlugin) -> tuple[str, ...]:
    answered = sum(plugin.calls.values()) - plugin.unanswered
    since = datetime.datetime.fromtimestamp(plugin.since, datetime.UTC).isoformat(timespec="seconds")
    return (
        f"{plugin.index}-{plugin.name}",
        plugin.state,
        str(plugin.pid),
        plugin.launched or "socket",
        str(sum(plugin.calls.values())),
        f"{plugin.seconds / answered * 1000:.1f} ms" if answered > 0 else "-",
        f"{plugin.longest * 1000:.1f} ms",
        str(plugin.refused),
        str(plugin.unanswered),
        since,
        "all" if len(plugin.events) == len(EVENTS) else ",".join(plugin.events),
    )


def _facts(plugin: admin.NriPlugin) -> object:
    return {
        "name": plugin.name,
        "index": plugin.index,
        "state": plugin.state,
        "pid": plugin.pid,
        "launched": plugin.launched or None,
        "events": list(plugin.events),
        "since": plugin.since,
        "calls": dict(plugin.calls),
        "refused": plugin.refused,
        "unanswered": plugin.unanswered,
        "seconds": plugin.seconds,
        "longest": plugin.longest,
    }
