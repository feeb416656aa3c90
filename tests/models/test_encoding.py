"""Clips to what a denoiser takes, and back; every input of a model reaches it through the public functions."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from geometry.errors import InputError
from tests.models.tiny import BLOCK, CHANNELS, awake, posed, tiny_config
from worldgen.core.clip import Clip
from worldgen.core.conditioning import MemoryRender
from worldgen.core.modalities import MODALITIES, Modality
from worldgen.models.codec.pixel import PixelCodec
from worldgen.models.config import ModelConfig
from worldgen.models.text import TextConfig
from worldgen.models.world_model import WorldModel
from worldgen.pipelines.generation import generate
from worldgen.sampling.levels import Levels


@pytest.fixture(scope="module")
def model() -> WorldModel:
    """A random model with layouts, text and memory."""
    network = replace(tiny_config(layout=3 * BLOCK**2), memory_channels=5 * BLOCK**2, text_width=32)
    config = ModelConfig(
        "whole", 16, 3, PixelCodec(BLOCK, layout=True), text=TextConfig("words", width=32), network=network
    )
    made = WorldModel.create(config)
    awake(made.network)
    return made.training(False)


@pytest.fixture(scope="module")
def clip() -> Clip:
    """Two clips of three frames, everything known."""
    rgb, layout = torch.rand(2, 2, 3, 3, 16, 16)
    return Clip(rgb, 1 + torch.rand(2, 3, 1, 16, 16), posed(2, 3).cameras, layout=layout)


def given(**columns: int) -> Levels:
    """Levels of three frames where the first so many frames of some modalities are given."""
    known = torch.zeros(3, 3, dtype=torch.bool)
    for index, name in enumerate(("rgb", "depth", "layout")):
        known[: columns.get(name, 0), index] = True
    return Levels.given(known, 2)


def test_decoding_undoes_encoding_for_every_modality(model: WorldModel, clip: Clip) -> None:
    latent, conditioning, normalization = model.encode(clip)
    assert latent.shape == (2, 3, 7 * BLOCK**2, 4, 4) and conditioning.text is None and conditioning.memory is None
    back = model.decode(latent, normalization, clip.cameras)
    assert torch.allclose(back.rgb, clip.rgb, atol=1e-6) and torch.allclose(back.depth, clip.depth, rtol=1e-4)
    assert back.layout is not None and clip.layout is not None and torch.allclose(back.layout, clip.layout, atol=1e-6)
    loud = model.decode(2 * latent, normalization, clip.cameras)
    free = model.decode(2 * latent, normalization, clip.cameras, clamp=False)
    assert float(loud.rgb.max()) == 1 < float(free.rgb.max())


def test_a_generated_layout_comes_back_and_a_given_one_is_the_caller_s(model: WorldModel, clip: Clip) -> None:
    made = generate(model, clip, given(rgb=1))
    assert made.layout is not None and bool(made.layout.isfinite().all()) and bool((made.layout >= 0).all())
    assert clip.layout is not None and not torch.allclose(made.layout, clip.layout, atol=0.1)
    kept = generate(model, clip, given(layout=3)).layout
    assert kept is not None and torch.equal(kept, clip.layout)


def test_a_layout_that_never_comes_about_is_unknown(model: WorldModel, clip: Clip) -> None:
    matrix = given(rgb=1).matrix.clone()
    matrix[:, :, 2] = 1
    made = generate(model, Clip(clip.rgb, clip.depth, clip.cameras), Levels(matrix))
    assert made.layout is not None and bool(made.layout.isnan().all())


def test_prompt_memory_and_order_each_change_what_is_generated(model: WorldModel, clip: Clip) -> None:
    memory = MemoryRender(clip.rgb, clip.depth, torch.ones_like(clip.depth))
    order = torch.arange(3).expand(2, 3)
    plain = generate(model, clip, given(rgb=1)).rgb
    changes: list[dict[str, Any]] = [{"prompt": "a red ball"}, {"memory": memory}, {"order": order}]
    for options in changes:
        made = generate(model, clip, given(rgb=1), **options).rgb
        assert not torch.allclose(made[:, 1:], plain[:, 1:], atol=1e-3), options
    blind = MemoryRender(clip.rgb, clip.depth, torch.zeros_like(clip.depth))
    assert torch.equal(generate(model, clip, given(rgb=1), memory=blind).rgb, plain)


def test_each_clip_has_its_own_prompt_and_a_string_is_everyone_s(model: WorldModel, clip: Clip) -> None:
    both = model.encode(clip, prompt=["a red ball", ""]).conditioning
    assert both.text_mask is not None and both.text_mask.any(-1).tolist() == [True, False]
    one = model.encode(clip, prompt="a red ball").conditioning
    assert one.text_mask is not None and one.text is not None and both.text is not None
    assert one.text_mask.any(-1).tolist() == [True, True] and torch.allclose(one.text[1], both.text[0], atol=1e-6)


def test_a_causal_order_keeps_earlier_frames_from_later_ones(model: WorldModel, clip: Clip) -> None:
    changed = replace(clip, rgb=torch.cat([clip.rgb[:, :2], clip.rgb[:, 2:].flip(-1)], 1))
    order = torch.arange(3).expand(2, 3)
    first, second = (generate(model, c, given(rgb=3), order=order).depth for c in (clip, changed))
    assert torch.equal(first[:, :2], second[:, :2]) and not torch.equal(first[:, 2], second[:, 2])
    free, other = (generate(model, c, given(rgb=3)).depth for c in (clip, changed))
    assert not torch.equal(free[:, :2], other[:, :2])


def test_inputs_that_a_model_lacks_are_refused_in_one_line(clip: Clip) -> None:
    bare = WorldModel.create(ModelConfig("bare", 16, 3, PixelCodec(BLOCK), network=tiny_config()))
    with pytest.raises(InputError, match="1 prompts for 2 clips of 'bare', whose text is 'none'"):
        bare.encode(clip, prompt=["a ball"])
    with pytest.raises(InputError, match=r"a memory for 'bare'; expected a model with network.memory_channels"):
        bare.encode(clip, memory=MemoryRender(clip.rgb, clip.depth, torch.ones_like(clip.depth)))


def test_a_modality_from_outside_is_generated_and_comes_back(clip: Clip, monkeypatch: pytest.MonkeyPatch) -> None:
    gray = Modality("gray", 1, lambda clip, _: clip.rgb.mean(-3, keepdim=True), unit=True)
    monkeypatch.setitem(MODALITIES, "gray", gray)
    codec = PixelCodec(BLOCK, extra=("gray",))
    network = replace(tiny_config(), modalities={**CHANNELS, "gray": BLOCK**2})
    model = WorldModel.create(ModelConfig("gray", 16, 3, codec, network=network))
    awake(model.network)
    known = torch.zeros(3, 3, dtype=torch.bool)
    known[:, 0] = True
    made = generate(model.training(False), clip, Levels.given(known, 2))
    assert made.maps()["gray"].shape == (2, 3, 1, 16, 16) and torch.equal(made.rgb, clip.rgb)
    known[:, 2] = True
    kept = generate(model, clip, Levels.given(known, 2)).maps()["gray"]
    assert torch.allclose(kept, clip.rgb.mean(-3, keepdim=True), atol=1e-6)
