"""All operations whose await points are gone through."""

from hack.campaigns.awaits import FaultyDaemon, Scenario
from hack.campaigns.checkpoint_scenarios import (
    Checkpoint,
    CheckpointPod,
    CreateRestored,
    RestorePod,
    StartRestored,
    is_possible,
)
from hack.campaigns.device_scenarios import Detach, NetDevice
from hack.campaigns.ground import Device
from hack.campaigns.question_scenarios import Events, Import, Restart, questions
from hack.campaigns.scenarios import (
    Create,
    ExecSync,
    Exit,
    PodRemoval,
    Pull,
    Removal,
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
from hack.campaigns.stream_scenarios import Attach, Exec, ExecTerminal, ExecWebSocket, Forward, ForwardTunnel


def scenarios(daemon: FaultyDaemon, device: Device, image: str, archive: str) -> list[Scenario]:
    """All of them; what no class here is about is a question. image: to be pulled; archive: to be imported."""
    made: list[Scenario] = [RunPod(daemon)]
    for handler in ("crun", "runc"):
        made += [Create(daemon, device, handler), Start(daemon, device, handler), Exit(daemon, None, handler)]
        made += [ExecSync(daemon, None, handler), Update(daemon, None, handler)]
        made += [StopPod(daemon, device, handler), RemovePod(daemon, device, handler)]
        made += [Exec(daemon, handler), ExecTerminal(daemon, handler)]
    made += [Stop(daemon), Remove(daemon), Removal(daemon), PodRemoval(daemon, device), ReopenLog(daemon)]
    made += [ExecWebSocket(daemon), Attach(daemon), Forward(daemon), ForwardTunnel(daemon)]
    made += [NetDevice(daemon, device), Detach(daemon, device)]
    if is_possible():
        made += [Checkpoint(daemon, None, "runc"), CreateRestored(daemon, device, "runc")]
        made += [StartRestored(daemon, device, "runc"), CheckpointPod(daemon, None, "runc"), RestorePod(daemon, device)]
    made += [Events(daemon), Pull(daemon, image), RemoveImage(daemon, image), Import(daemon, archive)]
    made += [Restart(daemon, device, "recovery"), Restart(daemon, device, "recover")]
    return made + list(questions(daemon, {each.operation for each in made}))
