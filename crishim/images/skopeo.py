"""Run skopeo: with the store, configuration files and a private scratch directory; it is killed when the daemon ends.

skopeo gets the store's paths on its command line and a storage.conf of ours, so that the host's own
/etc/containers/storage.conf (other stores, mount programs) has no effect. skip_mount_home keeps containers/storage from
leaving a bind mount of the store in the host's mount table. The rest of the host's configuration is used as by podman:
registries.conf, policy.json, registries.d, certs.d, proxies from the environment.

A run is killed with the daemon, so that nothing writes to the store at the next start.
"""

import contextlib
import json
import re
import shutil
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from secrets import token_hex

import msgspec

from crishim.errors import CrishimError, Kind
from crishim.images.credentials import Credentials, auth_file, write_secret
from crishim.images.failures import failure
from crishim.images.progress import Progress
from crishim.images.pulls import Pull
from crishim.images.reference import Reference
from crishim.images.registry_rules import host_sources
from crishim.linux import directories, environment, executors, programs
from crishim.linux.scratch import Discarded

# Characters that end a part of [overlay@ROOT+RUN:options]REF in containers-storage references.
_UNSAFE = re.compile(r"[\[\]@+:,\s\"\\]")


# A run takes a fraction of a second with a heap of a few MB: collecting a quarter as often saves 8 % of a pull.
GO = {"GOGC": "400"}


class StoreDirectories(msgspec.Struct, frozen=True):
    """The directories of an image store. Absolute paths; root and scratch on the disk, run and secrets on a tmpfs."""

    root: Path  # graph root: layers and records
    run: Path  # run root: locks and caches of containers/storage, gone after a reboot
    scratch: Path  # downloads of running pulls; emptied at start
    secrets: Path  # auth files of running pulls; emptied at start

    def prepare(self) -> None:
        """Make the directories, private, and empty the temporary ones. Blocks."""
        for path in (self.root, self.run):
            if _UNSAFE.search(str(path)):
                raise CrishimError(
                    Kind.PRECONDITION,
                    f"the image store cannot lie at {str(path)!r}: no spaces, nor any of []@+:,",
                    path=path,
                )
            directories.make_missing(path.parent, directories.PUBLIC)
            if not path.is_dir():  # an existing one may be an administrator's, and shared with podman
                directories.make_new(path)
        for path in (self.scratch, self.secrets):
            shutil.rmtree(path, ignore_errors=True)
            directories.make_missing(path.parent, directories.PUBLIC)
            directories.make_new(path)
        self.storage_conf.write_text(
            f'[storage]\ndriver = "overlay"\ngraphroot = "{self.root}"\nrunroot = "{self.run}"\n'
            '[storage.options.overlay]\nskip_mount_home = "true"\n'
        )

    @property
    def storage_conf(self) -> Path:
        return self.run / "storage.conf"

    def reference(self, name: str) -> str:
        """A containers-storage reference; name is a stored name, or "@" and an image's id in the store."""
        return f"containers-storage:[overlay@{self.root}+{self.run}:overlay.skip_mount_home=true]{name}"


class Skopeo:
    """Runs skopeo for one store."""

    def __init__(
        self,
        place: StoreDirectories,
        *,
        program: str = "skopeo",
        registries_conf: Path | None = None,
        policy: Path | None = None,
        node_auth: Path | None = None,
        stall_timeout: float = 300.0,
    ) -> None:
        """registries_conf, policy, node_auth: files to use in place of the host's own (containers-registries.conf(5),
        containers-policy.json(5), containers-auth.json(5)). stall_timeout: seconds a copy may make no progress."""
        self.place = place
        self._program = program
        self._node_auth = node_auth
        self.use(registries_conf, policy)
        self._progress = Progress(stall_timeout)
        self._discarded = Discarded(executors.deletion)

    def use(self, registries_conf: Path | None, policy: Path | None) -> None:
        """Use these files from the next run on, also for direct requests to registries (registry_rules.py)."""
        self._registries_conf, self._policy = registries_conf, policy
        self.sources = host_sources(registries_conf, policy, self._node_auth)

    async def copy(
        self,
        source: str,
        target: str,
        *,
        what: str,
        timeout: float,
        image: Reference | None = None,
        credentials: Credentials | None = None,
        pull: Pull | None = None,
    ) -> None:
        """Run skopeo copy. what: prefix of an error's text. timeout: seconds, then DEADLINE.

        image, credentials: the credentials for the image's registry. pull: its scratch directory is set. Cancelling
        kills the run; its temporary files are removed on return.
        """
        async with self._scratch() as (directory, secrets):
            if pull:
                pull.scratch = directory
            options = await executors.records(self._auth_options, secrets, image, credentials)
            await self._run(["copy", "--quiet", *options, source, target], what, timeout, directory)

    async def delete(self, stored_id: str, *, timeout: float) -> None:
        """Remove an image, if it exists, with all its names and the layers that no other image uses."""
        async with self._scratch() as (directory, _):
            what = f"image {stored_id[:12]} cannot be removed"
            try:
                await self._run(["delete", self.place.reference("@" + stored_id)], what, timeout, directory)
            except CrishimError as error:
                if not re.search(r"image not known|does not resolve to an image|not an image", error.message):
                    raise

    @contextlib.asynccontextmanager
    async def linked(self, path: Path) -> AsyncIterator[Path]:
        """A symbolic link to path; its own path has no colon, which would end the path in a skopeo reference."""
        async with self._scratch() as (directory, _):

            def make() -> Path:
                link = directory / ("layout" if path.is_dir() else "archive")
                link.symlink_to(path.absolute())
                return link

            link = await executors.images(make)
            yield link
            await executors.records(link.unlink)

    async def _run(self, arguments: Sequence[str], what: str, timeout: float, scratch: Path) -> None:
        options = ["--tmpdir", str(scratch)]
        if self._registries_conf:
            options += ["--registries-conf", str(self._registries_conf)]
        if self._policy:
            options += ["--policy", str(self._policy)]
        # TMPDIR as well: not everything in skopeo uses --tmpdir.
        env = GO | environment.inherited(CONTAINERS_STORAGE_CONF=str(self.place.storage_conf), TMPDIR=str(scratch))
        argv = programs.with_parent_death_signal([self._program, *options, *arguments])
        try:
            done = await self._progress.watch(
                lambda started: programs.run(argv, timeout=timeout, env=env, check=False, started=started), what
            )
        except CrishimError as error:
            if error.kind is Kind.DEADLINE:
                raise CrishimError(Kind.DEADLINE, f"{what}: not finished within {timeout:g} s") from None
            raise
        if done.returncode < 0:
            raise CrishimError(Kind.ABORTED, f"{what}: {self._program} was ended by signal {-done.returncode}")
        if done.returncode == 127:
            raise CrishimError(Kind.PRECONDITION, f"{what}: there is no {self._program}", program=self._program)
        if done.returncode:
            raise failure(what, programs.stderr_text(done.stderr), status=done.returncode)

    def _auth_options(self, secrets: Path, image: Reference | None, credentials: Credentials | None) -> list[str]:
        if image and credentials:
            path = secrets / "auth.json"
            node = json.loads(self._node_auth.read_bytes()) if self._node_auth and self._node_auth.exists() else {}
            write_secret(path, auth_file(credentials, image, node))
            return ["--src-authfile", str(path)]
        return ["--src-authfile", str(self._node_auth)] if self._node_auth else []

    @contextlib.asynccontextmanager
    async def _scratch(self) -> AsyncIterator[tuple[Path, Path]]:
        """A directory for large files and one for secrets, for one run."""
        name = f"tmp{token_hex(8)}"  # chosen before it is made, so that a cancelled caller can remove it
        directory, secrets = self.place.scratch / name, self.place.secrets / name

        def make() -> None:
            directories.make_new(directory)
            directories.make_new(secrets)

        try:
            await executors.records(make)
            yield directory, secrets
        finally:
            await self._discarded.discard(secrets, directory)  # a killed run leaves its downloads
