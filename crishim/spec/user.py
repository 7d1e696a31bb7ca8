"""The process's uid, gid and groups, from the request, else from the image's USER.

Names are looked up in the image's /etc/passwd and /etc/group; digits are always an id, even if the image has a user
whose name is digits: an image must not be able to turn USER 1000, which the kubelet took for non-root, into root.
"""

from collections.abc import Callable

import msgspec

from crishim import model
from crishim.errors import CrishimError, Kind
from crishim.linux import paths
from crishim.pb import cri_pb2 as cri
from crishim.spec import accounts
from crishim.spec.accounts import Account, Group, parse_id
from crishim.spec.inputs import Draft, Inputs, security_context

_LARGEST = 1 << 20  # bytes of a passwd or group file that are read

Reader = Callable[[str], bytes]  # path inside the root file system -> content; OSError


class _Database(msgspec.Struct, frozen=True):
    """The image's accounts; an image without the files has none."""

    users: list[Account]
    groups: list[Group]

    @classmethod
    def read(cls, read: Reader) -> "_Database":
        return cls(accounts.parse_passwd(_text(read, "/etc/passwd")), accounts.parse_group(_text(read, "/etc/group")))


def process_user(draft: Draft, inputs: Inputs) -> None:
    """process.user and the record's User; additionalGids holds the primary gid too, as the kubelet expects it."""
    image_user = (inputs.image.get("config") or {}).get("User") or ""
    user = resolve(security_context(inputs), image_user, lambda path: paths.read_in_root(inputs.rootfs, path, _LARGEST))
    draft.user = user
    draft.spec["process"]["user"] = {"uid": user.uid, "gid": user.gid, "additionalGids": list(user.groups)}


def resolve(context: cri.LinuxContainerSecurityContext, image_user: str, read: Reader) -> model.User:
    """The numeric identity. NOT_FOUND: a user or group name the image does not have."""
    database = _Database.read(read)
    account, gid = _requested(context, image_user, database)
    if context.HasField("run_as_group"):
        gid = context.run_as_group.value
    elif gid is None:
        gid = account.gid
    groups = [gid, *context.supplemental_groups]
    if context.supplemental_groups_policy == cri.Merge and account.name:
        groups += accounts.memberships(database.groups, account.name)
    return model.User(uid=account.uid, gid=gid, groups=tuple(dict.fromkeys(groups)))


def _requested(
    context: cri.LinuxContainerSecurityContext, image_user: str, database: _Database
) -> tuple[Account, int | None]:
    """The account, and the group of the image's USER if the request has no user."""
    if context.HasField("run_as_user"):
        return _by_uid(database, context.run_as_user.value), None
    if context.run_as_username:
        return _named(database, context.run_as_username), None
    name, _, group = image_user.partition(":")
    return _by_name_or_uid(database, name), _group(database, group) if group else None


def _by_name_or_uid(database: _Database, name: str) -> Account:
    if not name:
        return _by_uid(database, 0)
    uid = parse_id(name)
    return _named(database, name) if uid is None else _by_uid(database, uid)


def _named(database: _Database, name: str) -> Account:
    found = accounts.by_name(database.users, name)
    if found is None:
        raise CrishimError(Kind.NOT_FOUND, f"the image has no user {name!r} in /etc/passwd", user=name)
    return found


def _by_uid(database: _Database, uid: int) -> Account:
    """A uid needs no entry; without one its group is 0 and it belongs to none (as docker has it)."""
    return accounts.by_uid(database.users, uid) or Account("", uid, 0)


def _group(database: _Database, group: str) -> int:
    number = parse_id(group)
    gid = accounts.gid_of(database.groups, group) if number is None else number
    if gid is None:
        raise CrishimError(Kind.NOT_FOUND, f"the image has no group {group!r} in /etc/group", group=group)
    return gid


def _text(read: Reader, path: str) -> str:
    try:
        return read(path).decode(errors="surrogateescape")
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except OSError as error:
        raise CrishimError(Kind.INVALID, f"the image's {path} cannot be read: {error.strerror}", path=path) from error
