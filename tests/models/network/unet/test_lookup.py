"""Looking up: places agree with the reference in `geometry.stereo`, and only permitted sources count."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from geometry.camera.cameras import Cameras
from geometry.camera.lenses import Lens, LensKind
from geometry.rotation.transforms import look_at
from geometry.stereo.warping import TargetRays, warp_at_inverse_depth
from tests.models.network.unet.small import scene
from worldgen.models.network.unet.lookup import FrameRays, Sources

LENSES = {
    "pinhole": None,
    "opencv": (LensKind.OPENCV, [-0.1, 0.02, 0.001, 0.002]),
    "fisheye": (LensKind.FISHEYE, [-0.02, 0.003]),
    "f_theta": (LensKind.F_THETA, [0.0, -0.03]),
    "equirectangular": (LensKind.EQUIRECTANGULAR, []),
}


def cameras_of(lens: str, hw: tuple[int, int], frames: int = 4, batch: int = 2) -> Cameras:
    """Cameras [b, f] about one unit from the origin, all of one lens."""
    eyes = torch.nn.functional.normalize(torch.randn(batch * frames, 3) + torch.tensor([0.0, -3.0, 0.5]), dim=-1)
    pose = look_at(eyes, 0.2 * torch.randn(batch * frames, 3))
    made = None
    if (kind := LENSES[lens]) is not None:
        made = Lens.of(kind[0], torch.tensor([kind[1]]).expand(batch * frames, -1))
    cameras = Cameras.from_fov(pose, 60.0, hw)
    cameras.K[..., 0, 1], cameras.K[..., :2, 2] = 0.1 * hw[1], cameras.K[..., :2, 2] + 0.4  # skewed and off center
    return replace(cameras, lens=made).reshape(batch, frames)


def everything(batch: int, frames: int) -> Tensor:
    return torch.ones(batch, frames, frames, dtype=torch.bool)


@pytest.mark.parametrize("hw", [(6, 10), (12, 7)])
@pytest.mark.parametrize("lens", LENSES)
def test_places_are_where_the_reference_looks(lens: str, hw: tuple[int, int]) -> None:
    cameras, images = cameras_of(lens, hw), torch.rand(2, 4, 3, *hw)
    inverse = 0.5 + torch.rand(2, 4, 1, hw[0] * hw[1])
    sources = Sources.of(torch.tensor([[True, False, True, True]] * 2), everything(2, 4), 3)
    assert sources.index.tolist() == [[0, 2, 3]] * 2
    places = FrameRays.of(cameras, sources, hw).places(inverse)
    found = places.of(sources.of_frames(images))
    shown_somewhere = 0
    for clip in range(2):
        at = cameras[clip, [0, 2, 3]]
        for frame in range(4):
            target = cameras[clip, frame]
            colors, seen = warp_at_inverse_depth(images[clip, [0, 2, 3]], at, target, inverse[clip, frame].view(1, *hw))
            # What the reference calls not shown where the target's own lens shows nothing has no ray at all.
            here = places.seen[clip, :, frame, 0].view(3, *hw) > 0
            shown = TargetRays.of(at, target).shown.view(1, *hw)
            assert torch.equal(here & shown, seen[:, 0].expand(3, -1, -1))
            both = seen.expand_as(colors)
            mine = found[clip, :, :, frame, 0].view(3, 3, *hw)
            torch.testing.assert_close(mine[both], colors[both], atol=2e-5, rtol=0)
            shown_somewhere += int(seen.sum())
    assert shown_somewhere > 200


def test_at_the_true_depth_of_a_scene_the_same_colors_are_found() -> None:
    clip, normalization = scene(3, (48, 64))
    cameras = normalization.normalize(clip.cameras).to(torch.float32)
    inverse = (normalization.signal_from_depth(clip.depth) + 1).flatten(3)
    sources = Sources.of(torch.tensor([[True, False, False]]), everything(1, 3), 8)
    rays = FrameRays.of(cameras, sources, (48, 64))
    errors = []
    for off in (1.0, 0.8, 1.2):
        places = rays.places(off * inverse)
        found = places.of(sources.of_frames(clip.rgb))[0, 0, :, 2, 0]
        seen = places.seen[0, 0, 2, 0] > 0
        assert seen.float().mean() > 0.8
        errors.append((found - clip.rgb[0, 2].flatten(1)).abs().mean(0)[seen])
    assert errors[0].median() < 0.01 and errors[0].mean() < 0.6 * min(errors[1].mean(), errors[2].mean())


def test_a_frame_finds_itself_at_every_depth() -> None:
    hw = (6, 10)
    cameras, images = cameras_of("pinhole", hw), torch.rand(2, 4, 3, *hw)
    sources = Sources.of(torch.tensor([[False, True, False, False]] * 2), everything(2, 4), 8)
    places = FrameRays.of(cameras, sources, hw).places(torch.rand(2, 4, 5, 60))
    found = places.of(sources.of_frames(images))[:, 0, :, 1]
    torch.testing.assert_close(found, images[:, 1].flatten(2)[:, :, None].expand(-1, -1, 5, -1), atol=1e-5, rtol=0)
    assert bool((places.seen[:, 0, 1] == 1).all())
    torch.testing.assert_close(places.ratio[:, 0, 1], torch.ones(2, 5, 60))


def test_points_behind_a_source_or_outside_its_image_are_not_seen() -> None:
    behind = look_at(torch.tensor([[0.0, 0.0, 0.0], [0.0, 3.0, 0.0]]), torch.tensor([[0.0, 1.0, 0.0], [0.0, 5.0, 0.0]]))
    cameras = Cameras.from_fov(behind, 60.0, (8, 8)).reshape(1, 2)
    sources = Sources.of(torch.tensor([[False, True]]), everything(1, 2), 1)
    rays = FrameRays.of(cameras, sources, (8, 8))
    seen = rays.places(torch.tensor([1.0, 1 / 30])[:, None].expand(1, 2, 2, 64)).seen[0, 0, 0]
    assert bool((seen[0] == 0).all()), "one unit ahead is behind a camera that stands three units ahead"
    assert bool((seen[1] == 1).all()), "thirty units ahead it is seen, inside the smaller part of the view"
    aside = look_at(torch.tensor([[0.0, 0.0, 0.0]] * 2), torch.tensor([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]]))
    cameras = Cameras.from_fov(aside, 60.0, (8, 8)).reshape(1, 2)
    assert bool((FrameRays.of(cameras, sources, (8, 8)).places(torch.rand(1, 2, 3, 64)).seen[0, 0, 0] == 0).all())


def test_other_resolutions_are_of_the_same_image() -> None:
    """Rays of half the resolution pass between those of the whole."""
    cameras, half = cameras_of("fisheye", (8, 12)), (4, 6)
    sources = Sources.of(torch.tensor([[True, False, False, False]] * 2), everything(2, 4), 1)
    whole, small = (FrameRays.of(cameras, sources, hw).places(torch.ones(2, 4, 1, 1)) for hw in ((8, 12), half))

    def halved(pixels: Tensor) -> Tensor:
        return pixels.reshape(2, 1, 4, 4, 2, 6, 2, -1).mean((4, 6)).flatten(3, 4)

    inside = halved(whole.seen[:, :, :, 0])[..., 0] == 1
    apart = (halved(whole.position[:, :, :, 0]) - small.position[:, :, :, 0]).abs()[inside]
    assert inside.sum() > 100 and apart.max() < 0.02
    torch.testing.assert_close(
        halved(whole.ratio[:, :, :, 0])[..., 0][inside], small.ratio[:, :, :, 0][inside], atol=0.02, rtol=0
    )


def test_clips_with_fewer_known_frames_use_each_of_theirs_once_and_nothing_else() -> None:
    known = torch.tensor([[False, True, False, True], [False, False, True, False], [False] * 4])
    sources = Sources.of(known, everything(3, 4), 8)
    assert sources.index.shape == (3, 2) and sources.index[0].tolist() == [1, 3] and sources.index[1, 0] == 2
    assert sources.allowed[0].all() and sources.allowed[1, :, 0].all()
    assert not sources.allowed[1, :, 1].any() and not sources.allowed[2].any()


def test_no_more_than_so_many_sources_and_at_least_one() -> None:
    known = torch.ones(1, 5, dtype=torch.bool)
    assert Sources.of(known, everything(1, 5), 3).index.tolist() == [[0, 1, 2]]
    assert Sources.of(known, everything(1, 5), 8).index.tolist() == [[0, 1, 2, 3, 4]]
    assert Sources.of(~known, everything(1, 5), 8).index.shape == (1, 1)


def test_of_too_many_sources_those_stay_that_most_frames_may_use() -> None:
    order = torch.tensor([[2, 0, 1, 0]])
    sources = Sources.of(torch.ones(1, 4, dtype=torch.bool), order[:, :, None] >= order[:, None], 3)
    assert sources.index.tolist() == [[1, 3, 2]]
    assert sources.allowed[0].tolist() == [[True] * 3, [True, True, False], [True] * 3, [True, True, False]]


def test_what_is_not_allowed_is_not_seen_from_anywhere() -> None:
    cameras = cameras_of("pinhole", (6, 6))
    allowed = everything(2, 4)
    allowed[0, 1, 2] = False
    sources = Sources.of(torch.tensor([[True, False, True, False]] * 2), allowed, 8)
    free = Sources.of(torch.tensor([[True, False, True, False]] * 2), everything(2, 4), 8)
    inverse = torch.rand(2, 4, 3, 36)
    seen, all_seen = (FrameRays.of(cameras, s, (6, 6)).places(inverse).seen for s in (sources, free))
    assert all_seen[0, :, 1].any(-1).any(-1).all() and not seen[0, 1, 1].any()
    all_seen[0, 1, 1] = 0
    assert torch.equal(seen, all_seen)


def test_of_frames_takes_the_sources_of_each_clip() -> None:
    sources = Sources.of(torch.tensor([[False, True, True], [True, False, True]]), everything(2, 3), 8)
    assert sources.of_frames(torch.arange(6.0).view(2, 3)).tolist() == [[1, 2], [3, 5]]


def test_the_cosine_is_of_the_angle_at_the_point() -> None:
    """Two cameras that look at one point from directions 90 degrees apart, and one with itself."""
    poses = look_at(torch.tensor([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0]]), torch.zeros(3))
    cameras = Cameras.from_fov(poses, 60.0, (3, 3)).reshape(1, 2)
    sources = Sources.of(torch.tensor([[True, False]]), everything(1, 2), 1)
    cosines = FrameRays.of(cameras, sources, (3, 3)).cosines(torch.ones(1, 2, 1, 9))
    torch.testing.assert_close(cosines[0, 0, :, 0, 4], torch.tensor([1.0, 0.0]), atol=1e-5, rtol=0)


def test_without_numbers_there_are_as_many_sources_as_there_can_be() -> None:
    with FakeTensorMode():
        for frames, count in ((2, 2), (5, 3)):
            assert Sources.of(torch.zeros(2, frames).bool(), everything(2, frames), 3).index.shape == (2, count)
