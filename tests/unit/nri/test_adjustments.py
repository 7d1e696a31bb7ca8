"""crishim/nri/adjustments.py"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crishim.errors import CrishimError, Kind
from crishim.nri.adjustments import KEYED, MAPPED, Adjustments, at
from crishim.pb import nri_pb2 as nri
from crishim.pb.nri import fields_pb2 as fields
from tests.unit.nri.messages import env, messages

adjustments = messages(nri.ContainerAdjustment)


def unique(adjustment: nri.ContainerAdjustment) -> nri.ContainerAdjustment:
    """Without what one plugin may not ask for: keys twice, an empty key, an empty command."""
    lists = [(at(adjustment, k.path), k.key) for k in KEYED]
    lists.append((adjustment.linux.resources.hugepage_limits, "page_size"))
    for entries, key in lists:
        kept = {getattr(e, key): e for e in entries if getattr(e, key)}
        del entries[:]
        entries.extend(kept.values())
    return adjustment


def collect(*answers: nri.ContainerAdjustment) -> Adjustments:
    made = Adjustments()
    for number, answer in enumerate(answers):
        made.collect(f"{number:02}-plugin", answer)
    return made


def fields_set(message: object, prefix: str = "") -> set[str]:
    """Paths of all fields that are set, without the keys of lists and maps."""
    found = set()
    for field, value in message.ListFields():  # type: ignore[attr-defined]
        found.add(prefix + field.name)
        if field.message_type is not None and not field.is_repeated:
            found |= fields_set(value, f"{prefix}{field.name}.")
    return found


@given(adjustments)
def test_what_one_plugin_asks_for_is_what_comes_out(adjustment: nri.ContainerAdjustment) -> None:
    """Every field of the definition: none is forgotten. Messages that hold nothing may be left out."""
    merged = collect(unique(adjustment)).merged
    for name in ("mounts", "env", "rlimits", "CDI_devices", "args"):
        assert list(getattr(merged, name)) == list(getattr(adjustment, name))
    for holder in ("resources", "rdt"):
        if not merged.linux.HasField(holder):
            assert not fields_set(getattr(adjustment.linux, holder)) - {"memory", "cpu"}
            adjustment.linux.ClearField(holder)
            continue
        for part in ("memory", "cpu"):
            if holder == "resources" and not getattr(merged.linux.resources, part).ListFields():
                merged.linux.resources.ClearField(part)
                adjustment.linux.resources.ClearField(part)
    if not adjustment.hooks.ListFields():
        adjustment.ClearField("hooks")
    if not adjustment.linux.ListFields():
        adjustment.ClearField("linux")
        merged.ClearField("linux")
    assert merged == adjustment


@given(adjustments)
def test_everything_set_has_an_owner(adjustment: nri.ContainerAdjustment) -> None:
    """A second plugin that asks for the same conflicts, unless it asked for what all may add to."""
    alone = collect(unique(adjustment))
    owners = alone.owners.message()
    for keyed in KEYED:
        keys = {getattr(e, keyed.key) for e in at(adjustment, keyed.path)}
        assert dict(owners.compound[keyed.field].owners) == dict.fromkeys(keys, "00-plugin")
    for mapped in MAPPED:
        assert set(owners.compound[mapped.field].owners) == set(at(adjustment, mapped.path))
    shared = {fields.OciHooks}
    owned = set(owners.simple) - shared or any(each.owners for each in owners.compound.values())
    if owned and not adjustment.linux.rdt.remove:
        with pytest.raises(CrishimError, match='plugins "01-plugin" and "00-plugin" both tried to set'):
            collect(adjustment, adjustment)


def test_the_sentence_of_a_conflict() -> None:
    """As the upstream library has it: the later one first, the field, the key."""
    with pytest.raises(CrishimError) as caught:
        collect(env(FOO="1"), env(FOO="2"))
    assert str(caught.value) == 'plugins "01-plugin" and "00-plugin" both tried to set Env FOO'
    assert caught.value.kind == Kind.PRECONDITION
    oom = nri.ContainerAdjustment(linux=nri.LinuxContainerAdjustment(oom_score_adj=nri.OptionalInt(value=5)))
    with pytest.raises(CrishimError, match=r'plugins "01-plugin" and "00-plugin" both tried to set OomScoreAdj$'):
        collect(oom, oom)


def test_a_plugin_conflicts_with_itself() -> None:
    twice = nri.ContainerAdjustment(env=[nri.KeyValue(key="A", value="1"), nri.KeyValue(key="A", value="2")])
    with pytest.raises(CrishimError, match='"00-plugin" and "00-plugin" both tried to set Env A'):
        collect(twice)


def test_a_mark_and_a_value_take_over() -> None:
    """In whatever order they stand in the answer: the removal comes first."""
    for answer in (env(_FOO="", FOO="2"), env(FOO="2", _FOO="")):
        made = collect(env(FOO="1", BAR="1"), answer)
        assert {e.key: e.value for e in made.merged.env} == {"FOO": "2", "BAR": "1"}
        assert dict(made.owners.message().compound[fields.Env].owners) == {"FOO": "01-plugin", "BAR": "00-plugin"}


def test_a_mark_alone_removes_and_is_handed_on() -> None:
    """What an earlier plugin set is gone; the mark goes to whoever applies the result. A third may not set it."""
    made = collect(env(FOO="1"), env(_FOO=""))
    assert [(e.key, e.value) for e in made.merged.env] == [("-FOO", "")]
    with pytest.raises(CrishimError, match='"02-plugin" and "01-plugin" both tried to set Env FOO'):
        collect(env(FOO="1"), env(_FOO=""), env(FOO="3"))
    assert [e.key for e in collect(env(FOO="1"), env(_FOO=""), env(_FOO="", FOO="3")).merged.env] == ["FOO"]


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans(), st.booleans()), max_size=6))
def test_a_key_is_in_a_result_once(steps: list[tuple[str, bool, bool]]) -> None:
    """Maps and lists alike: with its last value, or marked."""
    expected: dict[str, str] = {}
    answers = []
    for number, (key, sets, _) in enumerate(steps):
        entries = {f"-{key}": ""} | ({key: str(number)} if sets else {})
        answers.append(nri.ContainerAdjustment(annotations=entries, env=env_of(entries)))
        expected.pop(key, None)
        expected.pop(f"-{key}", None)
        expected |= {key: str(number)} if sets else {f"-{key}": ""}
    merged = collect(*answers).merged
    assert dict(merged.annotations) == expected
    assert {e.key: e.value for e in merged.env} == expected
    assert len(merged.env) == len(expected)


def env_of(entries: dict[str, str]) -> list[nri.KeyValue]:
    return [nri.KeyValue(key=k, value=v) for k, v in entries.items()]
