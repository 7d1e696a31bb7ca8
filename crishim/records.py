"""Encode and decode records as JSON with a schema number.

The first field, "schema", is the tag of the record's type (msgspec), a number. It is raised when a daemon of the
version before could not handle the new form correctly; not for a field that older daemons may ignore, and lose. A
record without it has schema 1.

Whatever the schema, a record is a JSON object, and a field that keeps its name keeps its meaning and type. salvage()
relies on this for records of later versions.
"""

import types
from typing import Any, TypeVar, Union, get_args, get_origin

import msgspec

from crishim.decoding import NOT_JSON

R = TypeVar("R", bound=msgspec.Struct)
_NOTHING: Any = object()


class UnreadableError(Exception):
    """A record that this version cannot read; the text is the reason, to follow "its record"."""


def encode(record: msgspec.Struct) -> bytes:
    return msgspec.json.encode(record)


def decode(data: bytes, kind: type[R]) -> R:
    """The record in a file's content. Raises UnreadableError: newer, empty, damaged, or of another type."""
    if not data.strip():
        raise UnreadableError("is empty")
    try:
        return msgspec.json.decode(data, type=kind)
    except msgspec.ValidationError as error:
        schema, known = _schema(data), kind.__struct_config__.tag
        if schema is not None and isinstance(known, int) and schema > known:
            raise UnreadableError(f"has schema {schema}, this version reads up to {known}") from error
        raise UnreadableError(f"is damaged: {error}") from error
    except NOT_JSON as error:
        raise UnreadableError(f"is damaged: {error}") from error


def salvage(data: bytes, kind: type[msgspec.Struct]) -> dict[str, Any]:
    """The fields of `kind` that can be read from an unreadable record; {} if there are none. Never raises."""
    try:
        tree = msgspec.json.decode(data)
    except NOT_JSON:
        return {}
    return _fields(tree, kind) if isinstance(tree, dict) else {}


class _Head(msgspec.Struct):
    schema: int


def _schema(data: bytes) -> int | None:
    try:
        return msgspec.json.decode(data, type=_Head).schema
    except NOT_JSON:
        return None


def _fields(tree: dict[str, Any], kind: type[msgspec.Struct]) -> dict[str, Any]:
    found = {
        f.name: _convert(tree[f.encode_name], f.type) for f in msgspec.structs.fields(kind) if f.encode_name in tree
    }
    return {name: value for name, value in found.items() if value is not _NOTHING}


def _convert(value: Any, hint: Any) -> Any:
    """Convert a value to its field's type; of a structure or list the convertible parts; _NOTHING if none."""
    try:
        return msgspec.convert(value, hint)
    except NOT_JSON:
        pass
    if get_origin(hint) in (Union, types.UnionType):
        return next((v for h in get_args(hint) if (v := _convert(value, h)) is not _NOTHING), _NOTHING)
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct) and isinstance(value, dict):
        try:
            return hint(**_fields(value, hint))
        except TypeError:  # a required field is missing
            return _NOTHING
    if get_origin(hint) is tuple and get_args(hint)[1:] == (...,) and isinstance(value, list):
        return tuple(v for each in value if (v := _convert(each, get_args(hint)[0])) is not _NOTHING)
    return _NOTHING
