"""How a refusal must look."""

from collections.abc import Callable
from typing import Any

import grpc
import pytest


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
