"""Parses passwd(5) and group(5) of an image. The text is untrusted.

A line that cannot be read (too few fields, an id that is no number or out of range) is skipped, as the C library does.
"""

from collections.abc import Iterable
from typing import NamedTuple

MAX_ID = 2**31 - 1  # what the kubelet and the runtimes accept; the kernel's own -1 means "unchanged"


class Account(NamedTuple):
    name: str
    uid: int
    gid: int


class Group(NamedTuple):
    name: str
    gid: int
    members: tuple[str, ...]


def parse_id(text: str) -> int | None:
    """A decimal id from 0 to MAX_ID; None for anything else ("+1", " 1", "1_0" and digits of other scripts too)."""
    if not text.isascii() or not text.isdigit() or len(text) > 10:
        return None
    number = int(text)
    return number if number <= MAX_ID else None


def parse_passwd(text: str) -> list[Account]:
    """name:password:uid:gid:comment:home:shell, in file order."""
    accounts = []
    for line in text.split("\n"):
        fields = line.split(":")
        if len(fields) < 4 or not fields[0]:
            continue
        uid, gid = parse_id(fields[2]), parse_id(fields[3])
        if uid is not None and gid is not None:
            accounts.append(Account(fields[0], uid, gid))
    return accounts


def parse_group(text: str) -> list[Group]:
    """name:password:gid:member,member, in file order."""
    groups = []
    for line in text.split("\n"):
        fields = line.split(":")
        if len(fields) < 3 or not fields[0]:
            continue
        gid = parse_id(fields[2])
        if gid is not None:
            members = fields[3].split(",") if len(fields) > 3 else []
            groups.append(Group(fields[0], gid, tuple(m for m in members if m)))
    return groups


def by_name(accounts: Iterable[Account], name: str) -> Account | None:
    return next((a for a in accounts if a.name == name), None)


def by_uid(accounts: Iterable[Account], uid: int) -> Account | None:
    return next((a for a in accounts if a.uid == uid), None)


def gid_of(groups: Iterable[Group], name: str) -> int | None:
    return next((g.gid for g in groups if g.name == name), None)


def memberships(groups: Iterable[Group], name: str) -> list[int]:
    """The groups that list this user, in file order."""
    return [g.gid for g in groups if name in g.members]
