"""Modalities: maps to signals and back, and where they are unknown."""

import pytest
import torch

from geometry.camera.cameras import Cameras
from worldgen.core.clip import Clip
from worldgen.core.modalities import MODALITIES, Modality, channels_of, column, maps_of, signals_of
from worldgen.core.normalization import Normalization

SCALE = 2.0


@pytest.fixture
def clip() -> Clip:
    """One clip [1, 2] with a hole in the second frame's depth, sky above it, and a layout of the first frame alone."""
    pose = torch.eye(4).repeat(1, 2, 1, 1)
    depth = 1 + 5 * torch.rand(1, 2, 1, 4, 6)
    depth[0, 1, 0, 2, 3], depth[0, 1, 0, 0] = 0, torch.inf
    layout = torch.rand(1, 2, 3, 4, 6)
    layout[:, 1] = torch.nan
    return Clip(torch.rand(1, 2, 3, 4, 6), depth, Cameras.from_fov(pose, 50.0, (4, 6)), layout=layout)


def test_maps_come_back_from_their_signals_where_they_are_known(clip: Clip) -> None:
    normalization = Normalization.of(clip.cameras, torch.tensor([SCALE]))
    signals, known = signals_of(clip, normalization, MODALITIES)
    assert all(bool(signal.isfinite().all()) for signal in signals.values())
    assert [name for name in MODALITIES if name not in known] == ["rgb"], "colors are always known"
    assert int((~known["depth"]).sum()) == 1 and known["layout"].flatten(2).all(-1).tolist() == [[True, False]]
    maps, own = maps_of(signals, normalization), clip.maps()
    assert torch.equal(maps["rgb"], clip.rgb) and torch.equal(maps["layout"][:, 0], own["layout"][:, 0])
    near = known["depth"] & (clip.depth < torch.inf)
    assert torch.allclose(maps["depth"][near], clip.depth[near], rtol=1e-4)
    assert bool(maps["depth"][~near].isinf().all()), "sky, and what is unknown, is far away"


def test_a_map_that_is_missing_is_unknown_everywhere(clip: Clip) -> None:
    bare = Clip(clip.rgb, clip.depth, clip.cameras)
    normalization = Normalization.of(bare.cameras, torch.tensor([SCALE]))
    signals, known = signals_of(bare, normalization, ["layout"])
    assert signals["layout"].shape == (1, 2, 3, 4, 6) and not signals["layout"].any() and not known["layout"].any()


def test_signals_in_0_to_1_are_folded_to_signed_ones_and_back() -> None:
    signal = torch.randint(0, 257, (5,)) / 256
    for modality in MODALITIES.values():
        assert torch.equal(modality.unsigned(modality.signed(signal)), signal)
    assert MODALITIES["rgb"].signed(torch.tensor([0.0, 1.0])).tolist() == [-1, 1]
    assert MODALITIES["depth"].signed(torch.tensor([-1.0, 2.0])).tolist() == [-1, 2]


def test_columns_and_channels_are_found_by_name_in_any_order() -> None:
    modalities = {"layout": 12, "rgb": 48, "depth": 16}
    assert column(modalities, "depth") == 2
    assert channels_of(modalities, "rgb") == slice(12, 60) and channels_of(modalities, "layout") == slice(0, 12)


def test_a_modality_of_a_map_takes_what_the_clip_has_under_its_name(clip: Clip) -> None:
    normals = torch.nn.functional.normalize(torch.randn(1, 2, 3, 4, 6), dim=-3)
    modality, normalization = Modality.of_map("normals", 3), Normalization.of(clip.cameras, torch.tensor([SCALE]))
    assert modality.encode(clip, normalization) is None
    signal = modality.encode(clip.with_maps({"normals": normals}), normalization)
    assert signal is not None and torch.equal(modality.decode(signal, normalization), normals)
