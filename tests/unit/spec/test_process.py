import json
from typing import Any

import pytest

from crishim.errors import CrishimError, Kind
from crishim.pb import cri_pb2 as cri
from crishim.spec import build, process
from crishim.spec.inputs import Spec

from .conftest import Make


def spec_of(make: Make, **more: Any) -> Spec:
    config = cri.ContainerConfig(command=["/main"], envs=[cri.KeyValue(key="A", value=b"1")], working_dir="/w")
    context = config.linux.security_context
    context.run_as_user.value, context.no_new_privs = 1000, True
    context.supplemental_groups.append(1234)
    context.capabilities.drop_capabilities.append("ALL")
    return build.build(make(config=config, **more)).spec


def test_an_exec_is_the_containers_process_with_another_command(make: Make) -> None:
    """Same user and groups, environment, directory, capabilities and no_new_privs."""
    spec = spec_of(make)
    made = process.exec_process(spec, ["ls", "-l"], tty=False)
    assert made["args"] == ["ls", "-l"]
    assert made["user"] == {"uid": 1000, "gid": 1000, "additionalGids": [1000, 1234, 10, 50000]}
    rest = {k: v for k, v in made.items() if k != "args"}
    assert rest == {k: v for k, v in spec["process"].items() if k != "args"}
    assert spec["process"]["args"] == ["/main"]


def test_an_exec_with_a_terminal_has_a_term(make: Make) -> None:
    """tty sets terminal, and TERM if the container has none."""
    spec = spec_of(make)
    made = process.exec_process(spec, ["sh"], tty=True)
    assert made["terminal"] is True
    assert "TERM=xterm" in made["env"]
    assert not any(e.startswith("TERM=") for e in spec["process"]["env"])
    spec["process"]["env"].append("TERM=vt100")
    assert "TERM=xterm" not in process.exec_process(spec, ["sh"], tty=True)["env"]


def test_an_exec_gets_variables_that_are_not_utf8_too(make: Make) -> None:
    """The launcher with the container's variables precedes the command."""
    config = cri.ContainerConfig(command=["/main"], envs=[cri.KeyValue(key="R", value=b"\xff")])
    spec = build.build(make(config=config, launcher="/bin/busybox")).spec
    made = process.exec_process(spec, ["ls"], tty=False)
    assert made["args"][:5] == spec["process"]["args"][:5]
    assert made["args"][5:] == ["ls"]


@pytest.mark.parametrize("argv", [[], [""]])
def test_an_exec_of_nothing(make: Make, argv: list[str]) -> None:
    """INVALID rather than the runtime's complaint."""
    with pytest.raises(CrishimError) as caught:
        process.exec_process(spec_of(make), argv, tty=False)
    assert caught.value.kind is Kind.INVALID


def test_encode() -> None:
    """process.json is plain JSON."""
    assert json.loads(process.encode({"args": ["\u00e4"]})) == {"args": ["\u00e4"]}
