"""Models on the disk."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from geometry.errors import InputError
from tests.models.tiny import awake, posed, shown, tiny_model
from worldgen.models.config import ModelConfig
from worldgen.models.world_model import WorldModel
from worldgen.runtime.config import build, plain
from worldgen.runtime.precision import computes_half


@pytest.fixture
def model() -> WorldModel:
    """A model whose every weight matters."""
    made = WorldModel.create(tiny_model())
    awake(made.network)
    return made


def answer(model: WorldModel) -> torch.Tensor:
    """What the model says of the same input, whatever the model."""
    torch.manual_seed(1)
    (x, level), conditioning = shown(2, 3), posed(2, 3)
    return model.denoiser()(x, level, conditioning)


def test_a_saved_model_comes_back_bit_for_bit(model: WorldModel, tmp_path: Path) -> None:
    model.save(tmp_path / "m")
    loaded = WorldModel.load(tmp_path / "m")
    assert loaded.config == model.config and loaded.channels == (48, 16)
    assert torch.equal(answer(loaded), answer(model))
    assert not any(parameter.requires_grad for parameter in loaded.network.parameters())
    assert {path.name for path in (tmp_path / "m").iterdir()} == {"config.json", "weights.safetensors"}


def test_an_int8_model_says_nearly_the_same_in_less_than_half_the_space(model: WorldModel, tmp_path: Path) -> None:
    model.save(tmp_path / "full")
    model.save(tmp_path / "small", int8=True)
    small = WorldModel.load(tmp_path / "small")
    full_size, small_size = ((tmp_path / n / "weights.safetensors").stat().st_size for n in ("full", "small"))
    # Every weight within half a step; through the whole of a network of white noise that is one or two percent.
    for name, value in model.network.state_dict().items():
        step = value.abs().amax(-1, keepdim=True) / 127
        assert bool(((small.network.state_dict()[name] - value).abs() <= 0.501 * step).all()), name
    assert 0 < (answer(small) - answer(model)).norm() / answer(model).norm() < 0.02
    assert small_size < 0.5 * full_size


def test_products_in_bfloat16_say_nearly_the_same_and_leave_the_rest_in_float32(
    model: WorldModel, tmp_path: Path
) -> None:
    model.save(tmp_path / "m")
    half, whole = (WorldModel.load(tmp_path / "m", precision=name) for name in ("bf16", "fp32"))
    assert torch.equal(answer(whole), answer(model)) and answer(half).dtype == torch.float32
    # bfloat16 has 8 binary digits; through the whole of a network of white noise that is a percent.
    assert 0 < (answer(half) - answer(model)).norm() / answer(model).norm() < 0.03
    assert {value.dtype for value in half.state().values()} == {torch.float32}
    exact = answer(half if computes_half("auto", half.device) else whole)
    assert torch.equal(answer(WorldModel.load(tmp_path / "m", precision="auto")), exact)


def test_an_unknown_precision_is_refused() -> None:
    with pytest.raises(InputError, match="'fp8'; expected auto, bf16, fp32"):
        WorldModel.load("tiny", precision="fp8")


def test_the_digest_names_the_weights(model: WorldModel, tmp_path: Path) -> None:
    model.save(tmp_path / "a")
    model.save(tmp_path / "b")
    model.network.head["rgb"].bias.add_(1e-3)  # type: ignore[union-attr,operator]
    model.save(tmp_path / "c")
    a, b, c = (WorldModel.load(tmp_path / name).weights_sha256 for name in "abc")
    assert a == b != c and len(a) == 64


def test_saving_again_replaces_the_model(model: WorldModel, tmp_path: Path) -> None:
    model.save(tmp_path)
    awake(model.network)
    model.save(tmp_path, int8=False)
    assert torch.equal(answer(WorldModel.load(tmp_path)), answer(model))


def ruined(folder: Path, how: str) -> None:
    """Damage a saved model."""
    config, weights = folder / "config.json", folder / "weights.safetensors"
    data = json.loads(config.read_text())
    match how:
        case "no weights":
            weights.unlink()
        case "no config":
            config.unlink()
        case "half of the weights":
            weights.write_bytes(weights.read_bytes()[: weights.stat().st_size // 2])
        case "weights that are noise":
            weights.write_bytes(bytes(range(256)) * 20)
        case "empty weights":
            weights.write_bytes(b"")
        case "config that is no JSON":
            config.write_text("{")
        case "config that is no text":
            config.write_bytes(b"\xff\xfe\x00\x81")
        case "config that is no mapping":
            config.write_text("[1, 2]")
        case "config of an unknown key":
            config.write_text(json.dumps({**data, "colour": "red"}))
        case "config of another width":
            config.write_text(json.dumps({**data, "network": {**data["network"], "width": 64}}))
        case "config of another codec":
            config.write_text(json.dumps({**data, "codec": {"block": 8}}))
        case "config of another ray order":
            config.write_text(json.dumps({**data, "plucker_order": "moment,direction"}))
        case "int8 weights without scales":
            save_file({n: v for n, v in load_file(weights).items() if not n.endswith(":scale")}, weights)


@pytest.mark.parametrize(
    "how",
    [
        "no weights",
        "no config",
        "half of the weights",
        "weights that are noise",
        "empty weights",
        "config that is no JSON",
        "config that is no text",
        "config that is no mapping",
        "config of an unknown key",
        "config of another width",
        "config of another codec",
        "config of another ray order",
        "int8 weights without scales",
    ],
)
def test_a_damaged_model_is_refused_in_one_line_that_names_it(model: WorldModel, tmp_path: Path, how: str) -> None:
    model.save(tmp_path / "damaged", int8=how.startswith("int8"))
    ruined(tmp_path / "damaged", how)
    with pytest.raises(InputError) as caught:
        WorldModel.load(tmp_path / "damaged")
    message = str(caught.value)
    assert "\n" not in message and ("damaged" in message or "expected" in message or "knows" in message), message


@pytest.mark.parametrize("name", ["nothing of this name", "/nowhere/at/all"])
def test_a_model_that_is_not_there_is_refused_by_name(name: str) -> None:
    with pytest.raises(InputError, match=name):
        WorldModel.load(name)


def test_a_model_s_config_survives_being_plain_data() -> None:
    config = tiny_model()
    assert build(ModelConfig, json.loads(json.dumps(plain(config))), "here") == config


def test_a_stored_config_with_an_old_name_still_loads(model: WorldModel, tmp_path: Path) -> None:
    model.save(tmp_path)
    file = tmp_path / "config.json"
    assert '"neighbors": 2' in file.read_text()
    file.write_text(file.read_text().replace("neighbors", "neighbours"))
    assert torch.equal(answer(WorldModel.load(tmp_path)), answer(model))


@pytest.mark.parametrize("wrong", [{"size_px": 18}, {"depth_signal": "metres"}])
def test_a_config_that_contradicts_itself_is_refused(wrong: dict) -> None:
    config = tiny_model()
    with pytest.raises(InputError):
        ModelConfig(**{"name": "x", "codec": config.codec, "network": config.network, **wrong})


def test_modalities_in_another_order_than_the_codec_stacks_them_are_refused() -> None:
    config = tiny_model()
    swapped = replace(config.network, modalities=dict(reversed(config.network.modalities.items())))
    with pytest.raises(InputError, match="order"):
        replace(config, network=swapped)


def test_a_model_goes_where_the_command_line_would_put_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a device the one that `auto` is; a device that is not there is refused before anything is read."""
    asked: list[str] = []
    monkeypatch.setattr(
        "worldgen.models.world_model.pick_device", lambda name: asked.append(name) or torch.device("cpu")
    )
    assert WorldModel.load("tiny").device == torch.device("cpu") and asked == ["auto"]
    monkeypatch.undo()
    assert WorldModel.load("tiny", torch.device("cpu")).device == torch.device("cpu")
    with pytest.raises(InputError, match="device 'toaster'"):
        WorldModel.load("tiny", "toaster")
