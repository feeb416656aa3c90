"""The shape of a second stage: what it may be, and that what it may not be is said in one line."""

from typing import Any

import pytest
import torch

from geometry.errors import InputError
from tests.models.network.unet.small import shown
from worldgen.models.config import ModelConfig
from worldgen.models.network.backbones import BACKBONES
from worldgen.models.network.unet.config import UNetConfig
from worldgen.models.network.unet.network import MultiViewUNet
from worldgen.runtime.config import build, plain

WRONG: list[tuple[dict[str, Any], str]] = [
    ({"modalities": {"rgb": 3}}, "expected rgb: 3 and depth: 1"),
    ({"modalities": {"rgb": 48, "depth": 16}}, "codec of block 1"),
    ({"widths": (8, 8, 8, 8)}, "expected five multiples of 8"),
    ({"widths": (8, 8, 12, 8, 16)}, "expected five multiples of 8"),
    ({"widths": (8, 8, 8, 8, 0)}, "expected five multiples of 8"),
    ({"widths": (8, 8, 8, 8, 16), "heads": 4}, "width 16 with 4 heads; expected heads of a multiple of 8"),
    ({"heads": 3}, "width 128 with 3 heads"),
    ({"heads": 0}, "width 128 with 0 heads"),
    ({"planes": 7}, "7 planes"),
    ({"nearest": 0.0}, "expected at least 8, and more than 0"),
    ({"nearest": float("nan")}, "expected at least 8, and more than 0"),
    ({"match_channels": (12, 0)}, "0] channels to match"),
    ({"sources": 0}, "0 sources"),
    ({"text_width": -1}, "text_width -1; expected 0 or more"),
    ({"without": ("volume", "magic")}, r"without \['magic'\]; expected without some of volume, blending, look-up"),
    ({"memory_channels": 5}, "memory_channels 5; expected 0"),
]


@pytest.mark.parametrize(("options", "said"), WRONG)
def test_a_shape_that_cannot_work_is_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said) as error:
        UNetConfig(**options)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("options", [{"widths": (8,) * 5, "heads": 1}, {"widths": (8, 16, 24, 32, 48), "heads": 3}])
def test_every_shape_that_is_not_refused_works(options: dict[str, Any]) -> None:
    config = UNetConfig(planes=8, sources=1, match_channels=(1, 1), **options)
    assert config.width == options["widths"][-1]
    assert MultiViewUNet(config)(*shown(1, 2)).shape == (1, 2, 4, 16, 16)


def test_a_model_s_file_says_it_and_sides_are_multiples_of_16() -> None:
    facts = {
        "name": "x", "size_px": 32, "backbone": "unet", "codec": {"block": 1}, "network": {"widths": [8, 8, 8, 8, 16],
        "heads": 2},
    }  # fmt: skip
    config = build(ModelConfig, facts, "here")
    assert config.network == UNetConfig(widths=(8, 8, 8, 8, 16), heads=2) and config.multiple == 16
    assert build(ModelConfig, plain(config), "here") == config
    with pytest.raises(InputError, match="size_px 24 of backbone 'unet'; expected a multiple of 16"):
        build(ModelConfig, {**facts, "size_px": 24}, "here")


def test_a_first_stage_is_for_networks_that_read_what_it_makes() -> None:
    assert [name for name, kind in BACKBONES.items() if kind.two_stages] == ["unet"]
    with pytest.raises(InputError, match="coarse 'tiny' with backbone 'dit'; expected unet"):
        ModelConfig("x", coarse="tiny")


@pytest.mark.parametrize(
    ("size_px", "hw", "found"),
    [
        (64, (128, 128), (64, 64)),
        (64, (128, 256), (64, 128)),
        (64, (512, 128), (256, 64)),
        (64, (32, 32), (32, 32)),
        (64, (16, 64), (16, 64)),
        (64, (96, 112), (64, 72)),
        (64, (28, 28), (24, 24)),
    ],
)
def test_a_first_stage_s_frames_have_its_own_size_and_never_more_pixels(
    size_px: int, hw: tuple[int, int], found: tuple[int, int]
) -> None:
    assert ModelConfig("x", size_px).multiple == 8
    assert ModelConfig("x", size_px).size_within(hw) == found


def test_fresh_weights_are_a_function_of_torch_s_generator() -> None:
    config = UNetConfig(widths=(8,) * 5, heads=1)
    torch.manual_seed(1)
    first = MultiViewUNet(config).state_dict()
    torch.manual_seed(1)
    assert all(torch.equal(value, first[name]) for name, value in MultiViewUNet(config).state_dict().items())
