"""Merge plugins' updates of existing containers into one ContainerUpdate for each. Pure."""

from crishim.errors import CrishimError, Kind
from crishim.nri import resources
from crishim.nri.owners import Owners
from crishim.pb import nri_pb2 as nri


class Updates:
    """Collects the answers of one round."""

    def __init__(self, *, creating: str = "", updating: str = "", requested: nri.LinuxResources | None = None) -> None:
        """creating: id of the container being created, which cannot be updated. updating, requested: the container of
        an UpdateContainer and the resources it requests, which plugins change."""
        self._creating = creating
        self._updating = updating
        self._updates: dict[str, nri.ContainerUpdate] = {}
        self._owners: dict[str, Owners] = {}
        self.requested = nri.LinuxResources()
        if requested is not None:
            self.requested.CopyFrom(requested)

    def collect(self, plugin: str, given: nri.ContainerUpdate) -> None:
        """Add one update of one plugin's answer.

        Raises PRECONDITION if another plugin set the same value; with ignore_failure the whole update is left out
        instead. Raises INVALID if it names no container, or the one being created.
        """
        if not given.container_id or given.container_id == self._creating:
            what = "during creation" if given.container_id else "without an id"
            raise CrishimError(
                Kind.INVALID, f'plugin "{plugin}" asked update of "{given.container_id}" {what}', plugin=plugin
            )
        owners = self._owners.get(given.container_id, Owners()).copy()
        merged = nri.LinuxResources()
        merged.CopyFrom(self._resources(given.container_id))
        try:
            resources.merge(merged, given.linux.resources, lambda field, key: owners.claim(field, plugin, key))
        except CrishimError:
            if given.ignore_failure:
                return
            raise
        self._owners[given.container_id] = owners
        self._keep(given, merged)

    def others(self) -> tuple[nri.ContainerUpdate, ...]:
        """The updates of all containers but UpdateContainer's own, in the order they were first named."""
        return tuple(self._updates.values())

    def owners(self) -> dict[str, nri.FieldOwners]:
        return {container: owners.message() for container, owners in self._owners.items()}

    def _resources(self, container: str) -> nri.LinuxResources:
        if container == self._updating:
            return self.requested
        update = self._updates.get(container)
        return update.linux.resources if update else nri.LinuxResources()

    def _keep(self, given: nri.ContainerUpdate, merged: nri.LinuxResources) -> None:
        if given.container_id == self._updating:
            self.requested.CopyFrom(merged)
            return
        update = self._updates.get(given.container_id)
        if update is None:
            update = self._updates[given.container_id] = nri.ContainerUpdate(
                container_id=given.container_id, ignore_failure=True
            )
        update.ignore_failure = update.ignore_failure and given.ignore_failure
        update.linux.resources.CopyFrom(merged)
