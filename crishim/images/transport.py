"""Change the image store: pull, import and remove images, and remove what a killed daemon left.

Pull and import are one skopeo run each. containers/storage locks between runs; added here: identical concurrent pulls
or removals run once, and garbage collection excludes copies.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator
from pathlib import Path

from crishim.decoding import NOT_JSON
from crishim.errors import CrishimError, Kind
from crishim.histograms import PULLS
from crishim.images import archives, garbage_collection
from crishim.images.credentials import ANONYMOUS, Credentials
from crishim.images.failures import is_missing_layer
from crishim.images.manifest_digest import manifest_digest
from crishim.images.manifest_size import download_size
from crishim.images.pulls import Pulls
from crishim.images.reference import Reference
from crishim.images.registry_rules import endpoint
from crishim.images.single_flight import SingleFlight
from crishim.images.skopeo import Skopeo
from crishim.images.store import ImageStore
from crishim.linux import executors
from crishim.model import ImageRecord
from crishim.tracing import span

REMOVE_TIMEOUT = 120.0  # seconds; a large image on a slow disk takes ten
# containers/storage has no lock between a pull that found a layer and the removal of that layer's last image. The pull
# then fails and is repeated; a repetition fails only if there is yet another removal.
TRIES = 8

log = logging.getLogger("crishim.images")


class Transport:
    """Makes all changes to the image store."""

    def __init__(self, skopeo: Skopeo, store: ImageStore, *, pull_timeout: float = 3600.0) -> None:
        """pull_timeout: seconds for one pull or import, however many callers wait for it."""
        self._skopeo = skopeo
        self.use = skopeo.use
        self._store = store
        self._timeout = pull_timeout
        self.pulls = Pulls()  # in progress
        self._pull_flight: SingleFlight[ImageRecord] = SingleFlight()
        self._removals: SingleFlight[None] = SingleFlight()
        self._copies = 0
        self._collecting = asyncio.Lock()

    async def recover(self, *, collect_garbage: bool = True) -> None:
        """Make the directories and remove what killed copies left. Call it once, before anything else.

        collect_garbage: False if the store's records cannot be trusted.
        """
        place = self._skopeo.place
        await executors.deletion(place.prepare)
        if not collect_garbage:
            return
        for stored_id in await executors.records(garbage_collection.incomplete_images, place.root):
            log.info("removing an image whose pull was killed", extra={"image": stored_id})
            await self._skopeo.delete(stored_id, timeout=REMOVE_TIMEOUT)
        await self.collect_garbage()

    async def pull(self, reference: Reference, credentials: Credentials = ANONYMOUS) -> ImageRecord:
        """Pull an image and return its record; always asks the registry, as a tag may have moved.

        Concurrent calls for the same name with the same credentials are one pull, which is killed when all of them are
        cancelled. Errors: see failures.py, and DEADLINE after pull_timeout.
        """
        key = (reference.name, credentials.fingerprint())
        return await self._pull_flight.join(key, lambda: self._pull(reference, credentials))

    async def _pull(self, reference: Reference, credentials: Credentials) -> ImageRecord:
        since, outcome = time.perf_counter(), "failed"
        try:
            with span("ask the registry"):
                record = await self._unchanged(reference, credentials)
            outcome = "unchanged" if record else outcome
            if record is None:
                with span("fetch"):
                    record = await self._fetch(reference, credentials)
                outcome = "pulled"
            return record
        finally:
            PULLS.observe((outcome,), time.perf_counter() - since)

    async def _fetch(self, reference: Reference, credentials: Credentials) -> ImageRecord:
        name = reference.name
        what = f"image {name} cannot be pulled"
        target = self._skopeo.place.reference(name)

        async def total() -> int:
            place = await executors.records(endpoint, reference, credentials, self._skopeo.sources)
            return await download_size(reference, place, credentials)

        async with self._copying(), self.pulls.following(name, total) as pull:
            for tries_left in reversed(range(TRIES)):
                try:
                    await self._skopeo.copy(
                        f"docker://{name}",
                        target,
                        what=what,
                        timeout=self._timeout,
                        image=reference,
                        credentials=credentials,
                        pull=pull,
                    )
                    break
                except CrishimError as error:
                    if not tries_left or not is_missing_layer(error):
                        error.facts["image"] = name
                        raise
        record = await self._stored(name)
        log.info("image was pulled", extra={"image": name, "bytes": record.size, "seconds": pull.seconds})
        return record

    async def _unchanged(self, reference: Reference, credentials: Credentials) -> ImageRecord | None:
        """The image stored under a name, if its registry still has that digest for it; None if skopeo has to pull.

        The registry is asked with the call's own credentials, if registry_rules.py allows it. The store is read again
        after the response: the image may have been removed meanwhile, or another one pulled.
        """
        name = reference.name
        if name not in (await self._store.snapshot()).manifests:
            return None
        place = await executors.records(endpoint, reference, credentials, self._skopeo.sources)
        digest = await manifest_digest(reference, place, credentials) if place else ""
        now = await self._store.snapshot()
        if digest not in now.manifests.get(name, ()):
            return None
        log.debug("image is unchanged", extra={"image": name, "digest": digest})
        return now.by_name.get(name)

    async def import_archive(self, path: Path, name: str = "") -> list[ImageRecord]:
        """Store the images of an OCI or docker archive, or an OCI layout directory, under the names they carry.

        name: for an archive whose only image has none. Errors: see archives.members().
        """
        found = []
        async with self._copying(), self._skopeo.linked(path) as link:
            for member in await executors.images(archives.members, path, name):
                what = f"image {member.name} of {path} cannot be imported"
                target = self._skopeo.place.reference(member.name)
                await self._skopeo.copy(member.source(link), target, what=what, timeout=self._timeout)
                found.append(await self._stored(member.name))
        return found

    async def remove(self, image: ImageRecord) -> None:
        """Remove an image, if it exists, with all its names. The caller makes sure that it is not in use.

        Concurrent calls for the same image are one; it is removed when each returns.
        """
        stored_id = (await self._store.snapshot()).stored_ids.get(image.id)
        if stored_id is None:
            return
        if await self._removed_alone(stored_id):
            return
        await self._removals.join(stored_id, lambda: self._skopeo.delete(stored_id, timeout=REMOVE_TIMEOUT))
        await self.collect_garbage()

    async def _removed_alone(self, stored_id: str) -> bool:
        """Remove an image without skopeo; False, and nothing done, while a copy runs: its layers have no image yet."""
        async with self._collecting:
            if self._copies:
                return False
            try:
                await executors.deletion(garbage_collection.remove_image, self._skopeo.place.root, stored_id)
            except (OSError, ValueError, *NOT_JSON) as error:
                raise CrishimError(
                    Kind.INTERNAL, f"image {stored_id[:12]} cannot be removed: {error}", image=stored_id
                ) from error
        return True

    async def collect_garbage(self) -> None:
        """Remove layers without an image, unless a copy is running, whose layers have no image yet."""
        async with self._collecting:
            if not self._copies:
                orphans = await asyncio.shield(
                    executors.deletion(garbage_collection.remove_orphans, self._skopeo.place.root)
                )
                if orphans:
                    log.info("removed layers without an image", extra={"layers": len(orphans)})

    async def _stored(self, name: str) -> ImageRecord:
        image = (await self._store.snapshot()).by_name.get(name)
        if image is None:
            raise CrishimError(Kind.ABORTED, f"image {name} was removed while it was pulled", image=name)
        return image

    @contextlib.asynccontextmanager
    async def _copying(self) -> AsyncIterator[None]:
        async with self._collecting:
            self._copies += 1
        try:
            yield
        finally:
            self._copies -= 1
