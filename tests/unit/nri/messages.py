"""Messages for tests, any that a definition allows: made from the descriptors, so that a new field is among them."""

from typing import Any, TypeVar

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from hypothesis import strategies as st

from crishim.pb import nri_pb2 as nri

M = TypeVar("M", bound=Message)
F = FieldDescriptor
RANGES = {
    F.TYPE_INT32: (-(2**31), 2**31 - 1),
    F.TYPE_INT64: (-(2**63), 2**63 - 1),
    F.TYPE_UINT32: (0, 2**32 - 1),
    F.TYPE_UINT64: (0, 2**64 - 1),
}
words = st.text("abcXYZ019/._", min_size=1, max_size=4)


def messages(kind: type[M]) -> st.SearchStrategy[M]:
    """Any message of a type. Keys of maps and entries of lists are not empty, and unmarked."""
    return _message(kind.DESCRIPTOR)  # type: ignore[arg-type]


def _message(descriptor: Descriptor) -> st.SearchStrategy[Any]:
    fields = st.fixed_dictionaries({}, optional={f.name: _field(f) for f in descriptor.fields})
    return fields.map(lambda values: GetMessageClass(descriptor)(**values))


def _field(field: FieldDescriptor) -> st.SearchStrategy[Any]:
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        value = field.message_type.fields_by_name["value"]
        return st.dictionaries(words, _single(value), max_size=3)
    return st.lists(_single(field), max_size=3) if field.is_repeated else _single(field)


def _single(field: FieldDescriptor) -> st.SearchStrategy[Any]:
    if field.message_type is not None:
        return _message(field.message_type)
    if field.enum_type is not None:
        return st.sampled_from([v.number for v in field.enum_type.values])
    if field.type == F.TYPE_STRING:
        return words
    return st.booleans() if field.type == F.TYPE_BOOL else st.integers(*RANGES[field.type])


def env(**values: str) -> nri.ContainerAdjustment:
    """Variables; a name with a leading _ is marked for removal."""
    pairs = [(("-" + k[1:]) if k.startswith("_") else k, v) for k, v in values.items()]
    return nri.ContainerAdjustment(env=[nri.KeyValue(key=k, value=v) for k, v in pairs])
