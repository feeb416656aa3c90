"""A model and its first stage on the disk, in memory, and where they do not fit."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from geometry.errors import InputError
from tests.models.network.unet.small import shown, small_model
from tests.models.tiny import awake, tiny_config, tiny_model
from worldgen.core.clip import Clip
from worldgen.models.codec.pixel import PixelCodec
from worldgen.models.config import ModelConfig
from worldgen.models.world_model import WorldModel


def two_stages(coarse: str = "somewhere", first: WorldModel | None = None) -> WorldModel:
    """A second stage over a first one of images of 16 pixels, every weight awake."""
    if first is None:
        first = WorldModel.create(tiny_model()).training(False)
        awake(first.network)
    made = WorldModel.create(small_model(coarse=coarse), coarse=first)
    awake(made.network, 0.1)
    return made


def same(one: WorldModel, other: WorldModel) -> bool:
    """Whether both stages have the same weights."""
    assert one.coarse is not None and other.coarse is not None
    pairs = ((one.state(), other.state()), (one.coarse.state(), other.coarse.state()))
    return all(torch.equal(value, b[name]) for a, b in pairs for name, value in a.items())


def test_an_embedded_first_stage_is_named_and_not_copied(tmp_path: Path) -> None:
    model = WorldModel.create(small_model(coarse="tiny"))
    assert model.coarse is not None and model.coarse.config.name == "tiny"
    assert not any(parameter.requires_grad for _, parameter in model.coarse.parameters()), "it is frozen"
    model.save(tmp_path / "m")
    assert {path.name for path in (tmp_path / "m").iterdir()} == {"config.json", "weights.safetensors"}
    loaded = WorldModel.load(tmp_path / "m")
    assert same(loaded, model) and loaded.config == model.config


def test_any_other_is_kept_beside_its_second_one_and_found_from_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    first = WorldModel.create(tiny_model())
    awake(first.network)
    first.save(Path("first"))
    model = WorldModel.create(small_model(coarse="first"))
    awake(model.network, 0.1)
    model.save(Path("second"), int8=True)
    model.save(Path("second"))
    shutil.rmtree("first")
    (tmp_path / "elsewhere").mkdir()
    shutil.move("second", "elsewhere/moved")
    monkeypatch.chdir("/")
    loaded = WorldModel.load(tmp_path / "elsewhere" / "moved")
    assert same(loaded, model) and loaded.config == model.config
    loaded.save(tmp_path / "again")
    assert same(WorldModel.load(tmp_path / "again"), model)


def test_a_folder_is_named_as_seen_from_the_model_s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a student names its base, where no copy is kept beside it."""
    model = two_stages("../first")
    model.save(tmp_path / "a" / "second")
    shutil.move(tmp_path / "a" / "second" / "coarse", tmp_path / "a" / "first")
    monkeypatch.chdir("/")
    assert same(WorldModel.load(tmp_path / "a" / "second"), model)
    shutil.rmtree(tmp_path / "a" / "first")
    with pytest.raises(InputError, match=r"expected one of .*tiny.* or a folder") as error:
        WorldModel.load(tmp_path / "a" / "second")
    assert "first" in str(error.value) and "\n" not in str(error.value)


def test_bytes_of_the_second_stage_leave_the_first_as_it_is(tmp_path: Path) -> None:
    model = two_stages()
    model.save(tmp_path / "m", int8=True)
    loaded = WorldModel.load(tmp_path / "m")
    assert loaded.coarse is not None and model.coarse is not None
    assert all(torch.equal(value, loaded.coarse.state()[name]) for name, value in model.coarse.state().items())
    assert not same(loaded, model)


def test_both_stages_have_the_precision_and_device_of_the_whole(tmp_path: Path) -> None:
    two_stages().save(tmp_path / "m")
    loaded = WorldModel.load(tmp_path / "m", precision="bf16")
    assert loaded.coarse is not None and loaded.coarse.precision == loaded.precision == "bf16"
    moved = loaded.to("meta")
    assert moved.coarse is not None and moved.coarse.device.type == moved.device.type == "meta"


def test_training_and_state_are_of_the_second_stage_alone() -> None:
    model = two_stages().training(True)
    assert model.coarse is not None
    names = set(model.network.state_dict())
    assert set(model.state()) == names and {name for name, _ in model.parameters()} == names
    assert not any(parameter.requires_grad for _, parameter in model.coarse.parameters())


def test_a_run_that_starts_from_a_second_stage_keeps_the_first() -> None:
    model = two_stages()
    grown = model.grown(model.config)
    assert grown.coarse is model.coarse and same(grown, model) and grown.network is not model.network
    with pytest.raises(InputError, match=r"expected .* as before"):
        model.grown(replace(model.config, coarse="tiny"))


def test_a_first_stage_of_other_modalities_is_refused() -> None:
    config = ModelConfig("three", 16, 3, PixelCodec(4, layout=True), network=tiny_config(layout=48))
    with pytest.raises(InputError, match=r"a first stage of \['rgb', 'depth', 'layout'\]; expected \['rgb', 'depth'\]"):
        two_stages(first=WorldModel.create(config))


def test_a_first_stage_of_fewer_frames_is_refused() -> None:
    with pytest.raises(InputError, match="a first stage of up to 2 frames; expected 3 or more"):
        two_stages(first=WorldModel.create(replace(tiny_model(), frames=2)))


def test_a_model_that_is_its_own_first_stage_is_refused(tmp_path: Path) -> None:
    two_stages(".").save(tmp_path / "m")
    shutil.rmtree(tmp_path / "m" / "coarse")
    with pytest.raises(InputError, match=r"is its own first stage by way of '\.'; expected another model"):
        WorldModel.load(tmp_path / "m")


def test_what_starts_from_nothing_says_nothing_of_a_first_stage(tmp_path: Path) -> None:
    """Files of models without one are what they were."""
    WorldModel.create(tiny_model()).save(tmp_path / "m")
    assert not {"coarse", "stage_steps", "backbone"} & set(json.loads((tmp_path / "m" / "config.json").read_text()))


def test_a_coarse_clip_becomes_signals_of_its_own_size() -> None:
    conditioning = shown(1, 2, (32, 32))[2]
    clip = Clip(torch.rand(1, 2, 3, 32, 32), torch.rand(1, 2, 1, 32, 32) + 1, conditioning.cameras)
    model = two_stages()
    found = model.encode(clip, torch.ones(1), coarse=clip.shrunk((8, 8))).conditioning.coarse
    assert found is not None and found.shape == (1, 2, 4, 8, 8)
    torch.testing.assert_close(found[0, 1, 0, 2, 3], 2 * clip.rgb[0, 1, 0, 8:12, 12:16].mean() - 1)
    torch.testing.assert_close(found[0, 1, 3, 2, 3], 1 / clip.depth[0, 1, 0, 10, 14] - 1)
