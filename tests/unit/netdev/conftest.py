"""Fixtures of these tests."""

from tests.unit.netdev.fake_addresses import fake_addresses
from tests.unit.netdev.fake_links import fake_links
from tests.unit.netdev.fake_steps import steps
from tests.unit.netdev.wire_calls import calls

__all__ = ["calls", "fake_addresses", "fake_links", "steps"]
