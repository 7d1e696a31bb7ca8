"""The store of records: disk first, whole files, one listener's view of every change."""

import asyncio
import errno
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from crishim.errors import CrishimError, Kind
from crishim.lifecycle import ContainerState, PodState, check_container, check_pod
from crishim.linux import files, record_files
from crishim.model import ContainerRecord, Network, PodRecord, ProcessRef
from crishim.state.store import Store

A, B, C = "a" * 64, "ab" * 32, "c" * 64


def record(id: str = A, state: PodState = PodState.CREATING, config: bytes = b"") -> PodRecord:
    return PodRecord(id=id, state=state, config=config, handler="", created_at=1)


def store(directory: Path) -> Store[PodRecord]:
    made = Store(directory, PodRecord, "pod sandbox", lambda a, b: check_pod(a.state, b.state))
    made.load()
    return made


async def test_disk_and_memory_agree(tmp_path: Path) -> None:
    """What was added, changed or removed is on disk when the call returns, and a second store reads the same."""
    one = store(tmp_path / "pods")
    await one.add(record())
    await one.add(record(C))
    await one.update(A, lambda r: replace(r, state=PodState.READY))
    await one.remove(C)
    again = store(tmp_path / "pods")
    assert list(again) == list(one) == [record(state=PodState.READY)]
    assert [p.name for p in (tmp_path / "pods").iterdir()] == [f"{A}.json"]
    assert (tmp_path / "pods").stat().st_mode & 0o777 == 0o700


@given(config=st.binary(max_size=500), text=st.text(max_size=50))
async def test_bytes_survive(tmp_path_factory: pytest.TempPathFactory, config: bytes, text: str) -> None:
    """Every field comes back as it was, whatever bytes or text it holds."""
    directory = tmp_path_factory.mktemp("store")
    made = Store(directory, ContainerRecord, "container", lambda a, b: check_container(a.state, b.state))
    made.load()
    one = ContainerRecord(
        id=A,
        pod_id=B,
        state=ContainerState.EXITED,
        config=config,
        handler=text,
        image_id=text,
        image_ref=text,
        created_at=2**62,
        message=text,
        process=ProcessRef(pid=1, start_time=2**60),
    )
    await made.add(one)
    made.load()
    assert made.get(A) == one


async def test_find(tmp_path: Path) -> None:
    """By id or its unambiguous beginning; what is not there, ambiguous, or no id at all is an error that says so."""
    one = store(tmp_path)
    await one.add(record(A))
    await one.add(record(B))
    assert one.find(A).id == one.find("aa").id == A
    assert one.find("ab").id == B
    for id, kind, said in (
        ("a", Kind.INVALID, "pod sandbox id 'a' is ambiguous: 2 begin so"),
        ("b", Kind.NOT_FOUND, "pod sandbox 'b' does not exist"),
        ("", Kind.NOT_FOUND, "pod sandbox '' does not exist"),
        ("../x", Kind.NOT_FOUND, "pod sandbox '../x' does not exist"),
    ):
        with pytest.raises(CrishimError) as caught:
            one.find(id)
        assert (caught.value.kind, caught.value.message) == (kind, said)


async def test_forbidden_steps(tmp_path: Path) -> None:
    """A change the table forbids is refused, and neither disk nor memory nor listeners see it."""
    one, seen = store(tmp_path), []
    await one.add(record())
    one.subscribe(lambda before, after: seen.append(after))
    with pytest.raises(CrishimError, match="cannot go from creating to notready"):
        await one.update(A, lambda r: replace(r, state=PodState.NOTREADY))
    assert one.get(A) == store(tmp_path).get(A) == record()
    assert seen == []
    with pytest.raises(CrishimError, match="does not exist"):
        await one.update(C, lambda r: r)


async def test_listeners(tmp_path: Path) -> None:
    """Each change once, in order, as (before, after), after it is on disk; no change is no event."""
    one = store(tmp_path)
    seen: list[object] = []
    one.subscribe(lambda before, after: seen.append((before and before.state, after and after.state)))
    await one.add(record())
    await one.update(A, lambda r: replace(r, state=PodState.READY))
    await one.update(A, lambda r: r)
    with one.listening(lambda before, after: seen.append("second")):
        await one.remove(A)
    await one.remove(A)
    assert seen == [(None, "creating"), ("creating", "ready"), ("ready", None), "second"]


async def test_updates_of_one_record_follow_each_other(tmp_path: Path) -> None:
    """Fifty changes at once are fifty changes: none works on a stale record."""
    one = store(tmp_path)
    await one.add(record())
    await asyncio.gather(*(one.update(A, lambda r: replace(r, created_at=r.created_at + 1)) for _ in range(50)))
    found = one.get(A)
    assert found is not None
    assert found.created_at == 51


async def test_waiting(tmp_path: Path) -> None:
    """wait() ends when the condition holds, at once if it does already, and with None when the record goes."""
    one = store(tmp_path)
    await one.add(record())
    waiter = asyncio.create_task(one.wait(A, lambda r: r.state is PodState.READY))
    await asyncio.sleep(0)
    await one.update(A, lambda r: replace(r, created_at=7))
    assert not waiter.done()
    await one.update(A, lambda r: replace(r, state=PodState.READY))
    found = await waiter
    assert found is not None
    assert found.state is PodState.READY
    assert await one.wait(A, lambda r: r.state is PodState.READY) == found
    gone = asyncio.create_task(one.wait(A, lambda r: False))
    await asyncio.sleep(0)
    await one.remove(A)
    assert await gone is None
    assert await one.wait(C, lambda r: False) is None
    assert one._listeners == []


def test_what_cannot_be_read_stays(tmp_path: Path) -> None:
    """It is told apart from the rest, and its file is left as it is; what a killed write left is dropped."""
    store(tmp_path)._write(record())
    path = tmp_path / f"{B}.json"
    path.write_bytes(b"")
    (tmp_path / f"{C}.tmp").write_bytes(b"{")
    again = store(tmp_path)
    assert list(again) == [record()]
    assert {u.id: u.reason for u in again.unread.values()} == {B: "is empty"}
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir() if p.stem != A} == {f"{B}.json": b""}


def test_fields_of_another_version(tmp_path: Path) -> None:
    """Of one schema, a field this version does not know is passed over, one it misses has its default; and a record of
    the time before there were schemas is one of schema 1."""
    one = store(tmp_path)
    one._write(record())
    path = tmp_path / f"{A}.json"
    data = json.loads(path.read_bytes())
    assert data.pop("schema") == 1
    data["new_field"] = {"a": 1}
    data.pop("network", None)
    path.write_text(json.dumps(data))
    assert list(store(tmp_path)) == [record()]


async def test_a_record_that_cannot_be_used(tmp_path: Path) -> None:
    """Well-formed, and nobody could work with it: as unreadable as the rest."""

    def usable(record: PodRecord) -> None:
        raise ValueError("a value out of range")

    store(tmp_path)._write(record())
    again = Store(tmp_path, PodRecord, "pod sandbox", lambda a, b: None, usable)
    again.load()
    assert again.unread[A].reason == "is damaged: a value out of range"
    assert again.unread[A].salvaged["created_at"] == 1


async def test_an_adopted_record(tmp_path: Path) -> None:
    """It changes, in memory, is announced, and goes with its file; the file is not written before."""
    path = tmp_path / f"{A}.json"
    path.write_bytes(b"a newer version's")
    one = store(tmp_path)
    seen: list[object] = []
    one.subscribe(lambda before, after: seen.append((before and before.state, after and after.state)))
    one.adopt(record(state=PodState.READY))
    assert one.is_adopted(A)
    assert one.unread == {}
    await one.update(A, lambda r: replace(r, state=PodState.STOPPING))
    found = one.get(A)
    assert found is not None
    assert found.state is PodState.STOPPING
    assert path.read_bytes() == b"a newer version's"
    await one.remove(A)
    assert not path.exists()
    assert not one.is_adopted(A)
    assert seen == [("ready", "stopping"), ("stopping", None)]


async def test_a_record_too_large_to_be_read_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """INVALID, and nothing is left: what is written can be read again."""
    monkeypatch.setattr(record_files, "LIMIT", 1000)
    one = store(tmp_path)
    with pytest.raises(CrishimError) as caught:
        await one.add(record(config=bytes(1000)))
    assert caught.value.kind is Kind.INVALID
    assert list(tmp_path.iterdir()) == []
    assert list(one) == []


async def test_a_failed_write_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """EXHAUSTED for a full disk, INTERNAL for the rest; the text names the record; memory stays with the disk."""
    one = store(tmp_path)
    await one.add(record())
    for number, kind in ((errno.ENOSPC, Kind.EXHAUSTED), (errno.EDQUOT, Kind.EXHAUSTED), (errno.EIO, Kind.INTERNAL)):

        def fail(path: Path, data: bytes, number: int = number) -> None:
            raise OSError(number, "why")

        monkeypatch.setattr(files, "replace", fail)
        with pytest.raises(CrishimError) as caught:
            await one.update(A, lambda r: replace(r, state=PodState.READY))
        assert caught.value.kind is kind
        assert caught.value.message == f"cannot write the record of pod sandbox {A[:13]}: why"
        with pytest.raises(CrishimError):
            await one.add(record(C))
    assert list(one) == [record()] == list(store(tmp_path))


async def test_networks_survive(tmp_path: Path) -> None:
    """The cached CNI result is kept as it came: bytes, not parsed and written anew."""
    raw = b'{ "cniVersion":"1.0.0",  "odd" : 1e3 }'
    network = Network(name="n", conflist=raw, capability_args=b"{}", result=raw, ips=("10.0.0.1",))
    one = store(tmp_path)
    await one.add(replace(record(), network=network))
    (found,) = store(tmp_path)
    assert found.network == network
