"""The plugins that are called, in order: by index, name, and time of connection; and those recently closed."""

from collections import deque

from crishim.nri.events import Event
from crishim.nri.plugin import Counters, Plugin, PluginStatus

REMEMBERED = 32  # closed plugins kept for status()
LABELS, OTHERS = 256, "others"  # labels with counters of closed plugins, and the label for all further ones


class Roster:
    def __init__(self) -> None:
        self._plugins: list[Plugin] = []
        self._registered: list[Plugin] = []  # all that have registered, also those not in _plugins yet
        self._gone: deque[PluginStatus] = deque(maxlen=REMEMBERED)
        self._counted: dict[str, Counters] = {}  # of closed plugins, by label

    def __len__(self) -> int:
        return len(self._plugins)

    def arrive(self, plugin: Plugin) -> None:
        """Add a plugin that has registered and is not called yet."""
        self._registered.append(plugin)

    def add(self, plugin: Plugin) -> None:
        self._plugins.append(plugin)
        self._plugins.sort(key=lambda each: (each.index, each.name))  # stable: among equals the older is first

    def remove(self, plugin: Plugin) -> None:
        """Remove a plugin whose connection is closed."""
        if plugin in self._registered:
            self._registered.remove(plugin)
            self._gone.append(plugin.status())
            label = plugin.label if plugin.label in self._counted or len(self._counted) < LABELS else OTHERS
            self._counted.setdefault(label, Counters()).add(plugin.counters)
        if plugin in self._plugins:
            self._plugins.remove(plugin)

    def all(self) -> list[Plugin]:
        return [plugin for plugin in self._plugins if not plugin.connection.closed.done()]

    def subscribed(self, event: Event) -> list[Plugin]:
        return [plugin for plugin in self._plugins if plugin.wants(event)]

    def status(self) -> list[PluginStatus]:
        """The status of all connected plugins, in order, then of recently closed ones."""
        here = sorted(self._registered, key=lambda each: (each.index, each.name))
        return [plugin.status() for plugin in here] + list(self._gone)

    def totals(self) -> dict[str, Counters]:
        """Counters since the daemon's start, by label; a plugin's successive connections are added up."""
        found: dict[str, Counters] = {}
        current = [(plugin.label, plugin.counters) for plugin in self._registered]
        for label, counters in [*self._counted.items(), *current]:
            found.setdefault(label, Counters()).add(counters)
        return found
