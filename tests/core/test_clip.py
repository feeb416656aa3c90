"""Clips: one batch shape and one image size, and choosing among frames."""

import numpy as np
import pytest
import torch

from geometry.camera.cameras import Cameras
from geometry.errors import InputError
from worldgen.core.clip import Clip


def clip_of(batch: tuple[int, ...], **other: torch.Tensor) -> Clip:
    """A clip of random numbers, with some parts replaced."""
    hw = (4, 6)
    pose = torch.eye(4).repeat(*batch, 1, 1)
    pose[..., :3, 3] = torch.randn(*batch, 3)
    parts = {
        "rgb": torch.rand(*batch, 3, *hw),
        "depth": torch.rand(*batch, 1, *hw),
        "instances": torch.zeros(*batch, 1, *hw, dtype=torch.long),
    }
    return Clip.of_maps({**parts, **other}, Cameras.from_fov(pose, 50.0, hw))


@pytest.mark.parametrize(
    "other",
    [
        {"rgb": torch.rand(2, 4, 3, 4, 6)},
        {"rgb": torch.rand(2, 3, 3, 4, 5)},
        {"depth": torch.rand(2, 3, 4, 6)},
        {"depth": torch.rand(2, 3, 1, 6, 4)},
        {"rgb": torch.rand(2, 3, 3, 8, 12), "depth": torch.rand(2, 3, 1, 8, 12)},
        {"instances": torch.zeros(2, 2, 1, 4, 6, dtype=torch.long)},
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_parts_of_different_shapes_are_refused_in_one_line(other: dict[str, torch.Tensor]) -> None:
    with pytest.raises(InputError, match="expected one batch shape and one image size") as caught:
        clip_of((2, 3), **other)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("batch", [(3,), (2, 3), (2, 1, 3)])
def test_chosen_frames_keep_their_image_depth_id_and_camera(batch: tuple[int, ...]) -> None:
    clip = clip_of(batch)
    assert len(clip) == 3
    for index in ([2, 0], slice(1, 3), torch.tensor([True, False, True])):
        some = clip.frames(index)
        assert torch.equal(some.rgb, clip.rgb[..., index, :, :, :])
        assert torch.equal(some.cameras.centers, clip.cameras.centers[..., index, :])
        assert some.instances is not None and len(some) == 2


def test_one_clip_of_a_batch_is_the_whole_of_it() -> None:
    batch = clip_of((2, 3))
    one = batch[1]
    assert torch.equal(one.rgb, batch.rgb[1]) and torch.equal(one.depth, batch.depth[1])
    assert torch.equal(one.cameras.world_from_camera, batch.cameras.world_from_camera[1])
    assert one.instances is not None and one.instances.shape == (3, 1, 4, 6)


def test_further_maps_go_with_their_frames_and_have_the_clip_s_size() -> None:
    heat = torch.rand(2, 3, 2, 4, 6)
    clip = clip_of((2, 3), heat=heat)
    assert torch.equal(clip.maps()["heat"], heat) and torch.equal(clip[1].frames([2]).maps()["heat"], heat[1, [2]])
    assert clip.with_maps({"layout": torch.zeros(2, 3, 3, 4, 6)}).layout is not None
    with pytest.raises(InputError, match="clip: heat"):
        clip.with_maps({"heat": heat[:1]})


def test_a_clip_is_a_sequence_that_prints_short_and_shows_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    cameras = Cameras.from_fov(torch.eye(4).expand(5, 4, 4), 50.0, (6, 8))
    depth = torch.full((5, 1, 6, 8), 2.0)
    depth[0], depth[1] = 0, torch.inf
    clip = Clip(torch.rand(5, 3, 6, 8), depth, cameras)
    assert len(clip) == len(list(clip)) == 5
    assert all(torch.equal(frame.rgb, rgb[None]) for frame, rgb in zip(clip, clip.rgb))
    assert len(clip[-1]) == 1 and torch.equal(clip[-1].depth, clip.depth[4:])
    assert [len(part) for part in Clip(clip.rgb[None], depth[None], cameras[None])] == [5]
    with pytest.raises(IndexError):
        _ = clip[5]
    assert "[5] of 6x8 px" in repr(clip) and "20% unknown, 20% sky" in repr(clip) and len(repr(clip)) < 300
    images = clip.pil()
    assert len(images) == 5 and images[0].size == (8, 6)
    assert torch.equal(torch.from_numpy(np.array(images[3])).movedim(-1, 0), (clip.rgb[3] * 255).round().byte())
    markup = clip._repr_html_()
    assert markup.startswith("<pre>Clip(") and "data:image/png;base64," in markup and len(markup) < 60_000
    shown = []
    monkeypatch.setattr("PIL.Image.Image.show", lambda image: shown.append(image.size))
    clip.show()
    assert len(shown) == 1 and shown[0][0] >= 5 * 8


def test_a_sheet_of_large_clips_is_small() -> None:
    cameras = Cameras.from_fov(torch.eye(4).expand(40, 4, 4), 50.0, (200, 300))
    clip = Clip(torch.rand(40, 3, 200, 300), torch.rand(40, 1, 200, 300) + 1, cameras)
    assert len(clip._repr_html_()) < 1_500_000
