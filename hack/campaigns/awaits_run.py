"""One node, and every scenario on it in turn."""

from typing import cast

from hack.campaigns import awaits
from hack.campaigns.ground import Device, a_node, a_registry, busybox, scratch
from hack.campaigns.scenario_list import scenarios
from hack.campaigns.table import Row
from tests.support.image_node import random_layer

SHORT = (
    "RunPodSandbox crun",
    "CreateContainer runc with a device",
    "exit crun",
    "StopPodSandbox crun with a device",
    "PullImage",
)


def campaign(*, short: bool, only: str = "") -> list[Row]:
    """Every point of every operation; short: one in twenty, of the operations with the most steps.

    only: what the titles begin with, more than one between commas. An operation without a point has no row.
    """
    rows = []
    device = Device(9)
    try:
        with a_registry() as registry, scratch() as files:
            registry.push(["campaign/image:1"], [random_layer(1)])
            image = f"{registry.address}/campaign/image:1"
            archive = str(busybox(files))
            with a_node(registry, awaits.FaultyDaemon) as daemon:
                for scenario in scenarios(cast(awaits.FaultyDaemon, daemon), device, image, archive):
                    title = scenario.part or scenario.operation
                    if title.startswith(tuple(only.split(","))) and (not short or title in SHORT):
                        row = awaits.campaign(scenario, every=20 if short else 1)
                        if row.says != awaits.NO_POINTS:
                            rows.append(row)
                        print(
                            f"awaits: {row.part}: {row.runs} faults, {row.says}, lost {len(row.lost)}, "
                            f"left {len(row.left)}",
                            flush=True,
                        )
    finally:
        device.remove()
    return rows
