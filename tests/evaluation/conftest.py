"""What the tests of evaluation share."""

from dataclasses import replace

import pytest

from tests.models.tiny import awake, tiny_model
from worldgen.models.world_model import WorldModel


@pytest.fixture
def model() -> WorldModel:
    """A random model of 4 frames of 16 pixels."""
    model = WorldModel.create(replace(tiny_model(), frames=4))
    awake(model.network)
    return model
