"""Fixtures of these tests."""

from tests.unit.netdev.fake_addresses import fake_addresses
from tests.unit.netdev.fake_links import fake_links
from tests.unit.netdev.fake_steps import steps

__all__ = ["fake_addresses", "fake_links", "steps"]
