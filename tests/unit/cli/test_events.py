"""Lines of `crishim events`."""

import json

from crishim.cli.events import facts, line
from crishim.pb import cri_pb2 as cri

POD = cri.PodSandboxStatus(id="p" * 64, metadata=cri.PodSandboxMetadata(name="web-0", namespace="demo"))
AT = 1_795_000_000_123_000_000


def of(id: str, kind: "cri.ContainerEventType.ValueType", **status: object) -> cri.ContainerEventResponse:
    metadata = cri.ContainerMetadata(name="nginx")
    known = cri.ContainerStatus(id="c" * 64, metadata=metadata, **status)  # type: ignore[arg-type]
    return cri.ContainerEventResponse(
        container_id=id, container_event_type=kind, created_at=AT, pod_sandbox_status=POD, containers_statuses=[known]
    )


def test_a_pod() -> None:
    assert line(of("p" * 64, cri.CONTAINER_CREATED_EVENT)) == (
        "2026-11-18T11:06:40.123Z created pod ppppppppppppp demo/web-0"
    )


def test_a_container() -> None:
    started = of("c" * 64, cri.CONTAINER_STARTED_EVENT, state=cri.CONTAINER_RUNNING)
    assert line(started) == "2026-11-18T11:06:40.123Z started container ccccccccccccc nginx of pod demo/web-0"


def test_one_that_ended() -> None:
    """With its exit code and why."""
    event = of("c" * 64, cri.CONTAINER_STOPPED_EVENT, state=cri.CONTAINER_EXITED, exit_code=137, reason="OOMKilled")
    assert line(event).endswith("stopped container ccccccccccccc nginx of pod demo/web-0 exit code 137 (OOMKilled)")
    assert json.loads(json.dumps(facts(event))) == {
        "at": "2026-11-18T11:06:40.123Z",
        "event": "stopped",
        "kind": "container",
        "id": "c" * 64,
        "pod": "demo/web-0",
        "pod_id": "p" * 64,
        "container": "nginx",
        "exit_code": 137,
        "reason": "OOMKilled",
    }


def test_one_nobody_knows_any_more() -> None:
    """Removed: neither its status nor its pod's comes with it."""
    event = cri.ContainerEventResponse(
        container_id="c" * 64, container_event_type=cri.CONTAINER_DELETED_EVENT, created_at=AT
    )
    assert line(event) == "2026-11-18T11:06:40.123Z removed container ccccccccccccc"


def test_a_name_that_would_move_the_cursor() -> None:
    event = of("c" * 64, cri.CONTAINER_CREATED_EVENT)
    event.containers_statuses[0].metadata.name = "a\x1b[2J\nb\u202ec"
    assert "a?[2J?b?c of pod" in line(event)
