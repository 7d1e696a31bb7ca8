"""All operations whose await points are gone through."""

from hack.campaigns.awaits import FaultyDaemon, Scenario
from hack.campaigns.device_scenarios import Detach, NetDevice
from hack.campaigns.ground import Device
from hack.campaigns.scenarios import (
    QUESTIONS,
    Create,
    ExecSync,
    Exit,
    Pull,
    Question,
    Remove,
    RemoveImage,
    RemovePod,
    ReopenLog,
    RunPod,
    Start,
    Stop,
    StopPod,
    Update,
)


def scenarios(daemon: FaultyDaemon, device: Device, image: str) -> list[Scenario]:
    """All of them."""
    made: list[Scenario] = [RunPod(daemon)]
    for handler in ("crun", "runc"):
        made += [Create(daemon, device, handler), Start(daemon, device, handler), Exit(daemon, None, handler)]
        made += [ExecSync(daemon, None, handler), Update(daemon, None, handler)]
        made += [StopPod(daemon, device, handler), RemovePod(daemon, device, handler)]
    made += [Stop(daemon), Remove(daemon), ReopenLog(daemon)]
    made += [NetDevice(daemon, device), Detach(daemon, device)]
    made += [Pull(daemon, image), RemoveImage(daemon, image)]
    return made + [Question(daemon, name) for name in QUESTIONS.split()]
