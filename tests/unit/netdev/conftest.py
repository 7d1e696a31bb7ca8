"""Fixtures of these tests."""

from tests.unit.netdev.fake_links import fake_links

__all__ = ["fake_links"]
