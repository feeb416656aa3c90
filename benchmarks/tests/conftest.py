"""The fixtures of the other tests."""

from tests.conftest import _seeded, root, shared, unchecked

__all__ = ["_seeded", "root", "shared", "unchecked"]
