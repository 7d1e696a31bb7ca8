import os
from pathlib import Path
from typing import Any

import pytest

from crishim.errors import CrishimError, Kind
from crishim.pb import cri_pb2 as cri
from crishim.spec import user

from .conftest import GROUP, PASSWD, Apply, Make


def read(path: str) -> bytes:
    return {"/etc/passwd": PASSWD, "/etc/group": GROUP}[path].encode()


def nothing(path: str) -> bytes:
    raise FileNotFoundError(2, "No such file or directory", path)


def context(**fields: Any) -> cri.LinuxContainerSecurityContext:
    wrapped: dict[str, Any] = {
        k: cri.Int64Value(value=v) if k in ("run_as_user", "run_as_group") else v for k, v in fields.items()
    }
    return cri.LinuxContainerSecurityContext(**wrapped)


@pytest.mark.parametrize(
    ("image_user", "uid", "gid", "groups"),
    [
        ("", 0, 0, (0, 10)),
        ("1000", 1000, 1000, (1000, 10, 50000)),
        ("alice", 1000, 1000, (1000, 10, 50000)),
        ("1000:50000", 1000, 50000, (50000, 10)),
        ("alice:wheel", 1000, 10, (10, 50000)),
        ("1000:wheel", 1000, 10, (10, 50000)),
        ("alice:7", 1000, 7, (7, 10, 50000)),
        ("4711", 4711, 0, (0,)),
        ("4711:4712", 4711, 4712, (4712,)),
    ],
)
def test_image_user_in_all_its_forms(image_user: str, uid: int, gid: int, groups: tuple[int, ...]) -> None:
    """USER may be empty, a name or an id, with or without a group's name or id."""
    found = user.resolve(context(), image_user, read)
    assert (found.uid, found.gid, found.groups) == (uid, gid, groups)


def test_digits_are_an_id_even_if_a_user_is_called_so() -> None:
    """USER 1001 is uid 1001, though the image has a user of that name with uid 0."""
    assert user.resolve(context(), "1001", read).uid == 1001


def test_run_as_user_takes_the_primary_group_from_the_image() -> None:
    """A uid the image knows brings its group; the image's USER is not looked at."""
    found = user.resolve(context(run_as_user=1000), "root:wheel", read)
    assert (found.uid, found.gid) == (1000, 1000)


def test_run_as_user_unknown_to_the_image_has_group_0() -> None:
    """No entry is needed for a numeric user."""
    assert user.resolve(context(run_as_user=99), "", read).groups == (0,)


def test_run_as_username_is_looked_up_in_the_image() -> None:
    """run_as_username means what the image's passwd says."""
    assert user.resolve(context(run_as_username="alice"), "", read).uid == 1000


def test_unknown_username_names_the_user() -> None:
    """A name the image does not have is NOT_FOUND and named."""
    with pytest.raises(CrishimError, match="no user 'bob'") as caught:
        user.resolve(context(run_as_username="bob"), "", read)
    assert caught.value.kind is Kind.NOT_FOUND


def test_unknown_group_names_the_group() -> None:
    """The same for the group of the image's USER."""
    with pytest.raises(CrishimError, match="no group 'nobodies'"):
        user.resolve(context(), "alice:nobodies", read)


def test_run_as_group_replaces_the_primary_group() -> None:
    """run_as_group wins over passwd, memberships stay."""
    found = user.resolve(context(run_as_user=1000, run_as_group=42), "", read)
    assert (found.gid, found.groups) == (42, (42, 10, 50000))


@pytest.mark.fact("supplemental groups")
def test_supplemental_groups_merge() -> None:
    """Merge: the request's groups and the image's; the primary gid is among them."""
    found = user.resolve(context(run_as_user=1000, supplemental_groups=[1234]), "", read)
    assert found.groups == (1000, 1234, 10, 50000)


@pytest.mark.fact("supplemental groups")
def test_supplemental_groups_strict() -> None:
    """Strict: the request's groups only; the primary gid is still among them."""
    found = user.resolve(
        context(run_as_user=1000, supplemental_groups=[1234], supplemental_groups_policy=cri.Strict), "", read
    )
    assert found.groups == (1000, 1234)


def test_an_image_without_passwd_has_ids_only() -> None:
    """A scratch image runs as any number, but as no name."""
    assert user.resolve(context(run_as_user=5), "", nothing).uid == 5
    with pytest.raises(CrishimError, match="no user"):
        user.resolve(context(), "root", nothing)


def test_the_spec_carries_the_primary_group_among_the_groups(make: Make, apply: Apply) -> None:
    """process.user.additionalGids holds the primary gid, as ContainerStatus reports it."""
    draft = apply(user.process_user, make(image={"config": {"User": "alice"}}))
    assert draft.spec["process"]["user"] == {"uid": 1000, "gid": 1000, "additionalGids": [1000, 10, 50000]}
    assert draft.user.groups == (1000, 10, 50000)


@pytest.mark.parametrize("trap", ["link to the host", "fifo", "too big", "directory"])
def test_a_hostile_passwd_is_not_followed_and_does_not_block(make: Make, apply: Apply, rootfs: Path, trap: str) -> None:
    """A link stays inside the image; anything but a reasonable regular file is refused."""
    passwd = rootfs / "etc/passwd"
    passwd.unlink()
    match trap:
        case "link to the host":
            passwd.symlink_to("/../../../../../../etc/passwd-of-the-host")
        case "fifo":
            os.mkfifo(passwd)
        case "too big":
            with passwd.open("wb") as file:
                file.truncate(1 << 30)
        case "directory":
            passwd.mkdir()
    with pytest.raises(CrishimError) as caught:
        apply(user.process_user, make(image={"config": {"User": "root"}}))
    assert caught.value.kind is (Kind.NOT_FOUND if trap == "link to the host" else Kind.INVALID)
