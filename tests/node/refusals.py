"""How a refusal must look: what is said, and that nothing is left."""

from collections.abc import Callable
from typing import Any

import grpc
import pytest

from tests.node.daemon import Daemon, eventually


def refused(call: Callable[..., Any], *arguments: Any, **fields: Any) -> tuple[grpc.StatusCode, str]:
    """The code and the text of a refusal; the text is one sentence on one line."""
    with pytest.raises(grpc.RpcError) as caught:
        call(*arguments, **fields)
    text = caught.value.details()
    assert "\n" not in text
    assert 10 < len(text) < 600, text
    assert "Traceback" not in text
    assert "Error:" not in text.split(" ", 1)[0], text  # no bare exception
    return caught.value.code(), text


def assert_unchanged(daemon: Daemon, before: dict[str, set[str]]) -> None:
    def new() -> dict[str, set[str]]:
        after = daemon.left()
        return {kind: after[kind] - before[kind] for kind in after if after[kind] - before[kind]}

    eventually(lambda: not new(), "nothing is left", timeout=5)
