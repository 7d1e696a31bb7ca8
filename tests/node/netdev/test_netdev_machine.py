"""The state machine in its short form; CRISHIM_MACHINE_STEPS asks for more steps (2,000 in the long form)."""

import os
import sys

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.node.netdev.machine import HostMachine

pytestmark = [pytest.mark.node, pytest.mark.timeout(0)]
STEPS = int(os.environ.get("CRISHIM_MACHINE_STEPS", "60"))
A_RUN = 20


def test_no_interleaving_leads_the_host_astray() -> None:
    """Attach, stop, remove, kills, changes on the host and mischief in pods: the host's links are as the model says."""
    HostMachine.steps = 0
    budget = settings(
        max_examples=max(1, STEPS // A_RUN),
        stateful_step_count=A_RUN if STEPS < 500 else 50,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        database=None,
    )
    while HostMachine.steps < STEPS:
        run_state_machine_as_test(HostMachine, settings=budget)
    sys.stdout.write(f"{HostMachine.steps} steps, no divergence\n")
