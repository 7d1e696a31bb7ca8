"""How what is left of a container is deleted."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from crishim.lifecycle import ContainerState
from crishim.model import ContainerRecord
from crishim.operations.launch import Launcher


@pytest.mark.parametrize("state", ContainerState)
async def test_what_has_ended_is_not_killed(tmp_path: Path, state: ContainerState) -> None:
    """runc's --force sleeps 100 ms: it is for what may live."""
    asked: list[bool] = []

    async def delete(id: str, *, dead: bool) -> None:
        asked.append(dead)

    nothing: Any = None
    handlers: Any = SimpleNamespace(get=lambda name: SimpleNamespace(delete=delete))
    launcher = Launcher(tmp_path, handlers, nothing, nothing, nothing, nothing, nothing, nothing)
    container = ContainerRecord(
        id="c" * 64,
        pod_id="p" * 64,
        state=state,
        config=b"",
        handler="runc",
        image_id="",
        image_ref="",
        created_at=1,
    )
    await launcher.end(container)
    assert asked == [state in (ContainerState.EXITED, ContainerState.REMOVING)]
