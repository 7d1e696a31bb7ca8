"""Records which plugin set which field: each field, or each key of a keyed field, is owned by the one that set it
first.

A plugin that overrides another one's value marks the key for removal, in the same answer or an earlier one; it then
owns the key.
"""

from crishim.errors import CrishimError, Kind
from crishim.pb import nri_pb2 as nri
from crishim.pb.nri import fields_pb2


def field_name(field: int) -> str:
    """The field's name in NRI's definition."""
    return fields_pb2.Field.DESCRIPTOR.values_by_number[field].name


class Owners:
    """The owners of one container's fields."""

    def __init__(self) -> None:
        self._owners: dict[tuple[int, str], tuple[str, bool]] = {}  # by field and key: plugin, and whether it removed

    def claim(self, field: int, plugin: str, key: str = "") -> None:
        """The plugin sets it. Raises PRECONDITION if another one has set or removed it, or it is set twice."""
        owner, removed = self._owners.get((field, key), (plugin, True))
        if owner != plugin or not removed:
            raise CrishimError(
                Kind.PRECONDITION,
                f'plugins "{plugin}" and "{owner}" both tried to set {field_name(field)} {key}'.rstrip(),
                plugin=plugin,
                other=owner,
                field=field_name(field),
            )
        self._owners[field, key] = plugin, False

    def take_over(self, field: int, plugin: str, key: str = "") -> None:
        """The plugin removes the value, whoever set it; it may set it again."""
        self._owners[field, key] = plugin, True

    def add(self, field: int, plugin: str) -> None:
        """The plugin adds to a field that every plugin may add to."""
        before, _ = self._owners.get((field, ""), ("", False))
        self._owners[field, ""] = (f"{before},{plugin}" if before else plugin), False

    def copy(self) -> "Owners":
        made = Owners()
        made._owners = dict(self._owners)
        return made

    def message(self) -> nri.FieldOwners:
        """The message validators get. A removed key is owned by the plugin that removed it."""
        made = nri.FieldOwners()
        for (field, key), (plugin, _) in self._owners.items():
            if key:
                made.compound[field].owners[key] = plugin
            else:
                made.simple[field] = plugin
        return made
