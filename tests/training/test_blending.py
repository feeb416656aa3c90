"""Models between two."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from geometry.errors import InputError
from tests.models.tiny import awake, tiny_model
from worldgen.cli import main
from worldgen.models.config import ModelConfig
from worldgen.models.world_model import WorldModel
from worldgen.training.blending import blend


def saved(folder: Path, seed: int, config: ModelConfig) -> WorldModel:
    """A model whose every weight is drawn by the seed, in a folder."""
    torch.manual_seed(seed)
    model = WorldModel.create(config)
    awake(model.network)
    model.save(folder)
    return model


def test_a_blend_lies_between_its_two_models_by_its_share(tmp_path: Path) -> None:
    a, b = (saved(tmp_path / name, seed, tiny_model()).state() for seed, name in enumerate("ab"))
    ends = [str(tmp_path / name) for name in "ab"]
    assert main(["blend", *ends, "--share", "0.25", "--output", str(tmp_path / "blend")]) == 0
    for name, value in WorldModel.load(tmp_path / "blend").state().items():
        wanted = 0.75 * a[name] + 0.25 * b[name]
        assert (value - wanted).abs().max() <= 0.51 / 127 * wanted.abs().max() + 1e-7, name
        assert not torch.allclose(a[name], b[name]), name


def test_what_cannot_be_blended_is_refused_and_nothing_is_left(tmp_path: Path) -> None:
    config = tiny_model()
    saved(tmp_path / "a", 0, config)
    saved(tmp_path / "b", 1, replace(config, network=replace(config.network, mlp_width=56)))
    with pytest.raises(InputError, match=r"share 1.5; expected 0"):
        blend(tmp_path / "a", tmp_path / "a", 1.5, tmp_path / "c")
    with pytest.raises(InputError, match=r"b has network .* expected that of"):
        blend(tmp_path / "a", tmp_path / "b", 0.5, tmp_path / "c")
    with pytest.raises(InputError, match="exists"):
        blend(tmp_path / "a", tmp_path / "a", 0.5, tmp_path / "b")
    assert not (tmp_path / "c").exists()
