"""Paths relative to a capture: right whichever way its world is turned and wherever it is."""

import json
import warnings
from pathlib import Path

import pytest
import torch

from geometry.camera.projection import project
from geometry.errors import InputError, Note
from geometry.io.captures.nerfstudio import read_transforms, write_transforms
from geometry.io.formats import convert_cameras
from geometry.io.images import write_png
from geometry.rotation.transforms import rotation_about
from geometry.similarity import Similarity
from worldgen.core.clip import Clip
from worldgen.data.curation import squared_clip
from worldgen.models.world_model import WorldModel
from worldgen.pipelines.camera_path import CameraPath, OrbitRequest, camera_path
from worldgen.pipelines.inputs import read_inputs
from worldgen.pipelines.novel_views import Sampling
from worldgen.pipelines.orbit import orbit

SIDE = 16
UTM = torch.tensor([512345.678, 5403210.987, 431.5], dtype=torch.float64)


def path_of(model: WorldModel, folder: Path, given: list[int], **options) -> CameraPath:
    images = [folder / f"images/{n}.png" for n in given]
    file = options.pop("file", folder / "transforms.json")
    request = OrbitRequest(images, file, 8, **options)
    inputs = read_inputs(images, file, request.fov_deg, "crop", SIDE)
    return camera_path(model, inputs, request, Sampling(steps=1))


def moved(folder: Path, change: Similarity) -> None:
    """Move the world of a capture."""
    cameras = read_transforms(folder / "transforms.json").cameras
    names = [frame.file_path for frame in read_transforms(folder / "transforms.json").frames]
    write_transforms(folder / "transforms.json", change.apply(cameras), names)


def turn(axis: list[float], angle: float) -> Similarity:
    rotation = rotation_about(torch.tensor(axis).double(), torch.tensor(angle).double())
    return Similarity(torch.ones(()).double(), rotation, torch.tensor([1.0, -2, 3]).double())


@pytest.mark.parametrize("given", [[0, 2], [0], [1, 2, 5]])
def test_an_orbit_goes_round_the_same_way_in_a_world_turned_over(
    tiny: WorldModel, capture: Path, given: list[int]
) -> None:
    """COLMAP's and CO3D's worlds are some 110 degrees off."""
    options = {"radius": 3.3} if len(given) == 1 else {}
    with warnings.catch_warnings():
        warnings.simplefilter("error", Note)
        upright = path_of(tiny, capture, given, **options)
    assert upright.up.tolist() == [0, 0, 1]
    change = turn([1.0, 0.2, -0.1], 1.95)
    moved(capture, change)
    with pytest.warns(Note, match="degrees from \\+z"):
        tipped = path_of(tiny, capture, given, **options)
    assert torch.allclose(tipped.up, change.rotation @ upright.up, atol=1e-3)
    back = change.inverse().apply(tipped.cameras.to(torch.float64))
    first = upright.cameras.world_from_camera.double()
    # The azimuths start elsewhere, at the first given camera in both; the circle is the same.
    assert torch.allclose(back.world_from_camera, first, atol=2e-3), "the same circle, on the side that is given"
    assert tipped.elevation_deg == pytest.approx(upright.elevation_deg, abs=0.1)


def test_up_can_be_said(tiny: WorldModel, capture: Path) -> None:
    moved(capture, turn([1.0, 0.0, 0.0], 1.95))
    with warnings.catch_warnings():
        warnings.simplefilter("error", Note)
        path = path_of(tiny, capture, [0, 2], up="+z")
        assert path.up.tolist() == [0, 0, 1]
        assert path_of(tiny, capture, [0, 2], up=[0, -1, 0]).up.tolist() == [0, -1, 0]
    # All cameras of a path about an axis have the same height along it.
    heights = path.cameras.centers[:, 2]
    assert float(heights.max() - heights.min()) < 1e-5
    with pytest.raises(InputError, match="without cameras"):
        OrbitRequest(["a.png"], up="-y")
    with pytest.raises(InputError, match="expected auto"):
        OrbitRequest(["a.png"], "c.json", up="upwards")


def test_a_capture_near_z_keeps_z_to_the_bit(tiny: WorldModel, capture: Path) -> None:
    moved(capture, turn([1.0, 0.0, 0.0], 0.15))  # 8.6 degrees
    with warnings.catch_warnings():
        warnings.simplefilter("error", Note)
        estimated, asked = (path_of(tiny, capture, [0, 2], up=up) for up in ("auto", "+z"))
    assert torch.equal(estimated.cameras.world_from_camera, asked.cameras.world_from_camera)


@pytest.mark.parametrize("name", ["model", "poses.json", "a.tum", "poses.txt", "a.kitti", "own.json"])
def test_cameras_come_from_every_format_of_the_command(tiny: WorldModel, truth: Clip, capture: Path, name: str) -> None:
    """Those that name their images by name, files of poses in the order of the images."""
    wanted = path_of(tiny, capture, [0, 1, 2, 3, 4, 5])
    target = {"poses.json": "transforms.json", "poses.txt": "a.tum"}.get(name, name)
    convert_cameras(capture / "transforms.json", capture / f"made/{target}")
    (capture / f"made/{target}").rename(capture / name)
    file = capture / name
    if name == "model":
        (capture / "model").rename(capture / "sparse")
        file = capture
    poses_only = name in ("a.tum", "poses.txt", "a.kitti")
    found = path_of(tiny, capture, [0, 1, 2, 3, 4, 5], file=file, fov_deg=52.0 if poses_only else None)
    assert torch.allclose(found.cameras.world_from_camera, wanted.cameras.world_from_camera, atol=1e-5)
    assert torch.allclose(found.given.K, wanted.given.K, atol=1e-3)
    views = path_of(tiny, capture, [0, 1], views=file, fov_deg=52.0 if poses_only else None)
    assert len(views.cameras) == 6
    assert torch.allclose(views.cameras.world_from_camera.double(), truth.cameras.world_from_camera.double(), atol=1e-5)


def test_large_coordinates_are_kept_to_the_millimetre(tiny: WorldModel, capture: Path) -> None:
    """UTM: 5.4 million metres north, where float32 has steps of half a metre."""
    near = path_of(tiny, capture, [0, 1, 2])
    cameras = read_transforms(capture / "transforms.json").cameras
    moved(capture, Similarity(torch.ones(()).double() * 0.1, torch.eye(3).double(), UTM))  # 0.33 m apart
    images = [capture / f"images/{n}.png" for n in (0, 1, 2)]
    world = orbit(tiny, images, capture / "transforms.json", frames=8, steps=1, views=capture / "transforms.json")
    expected = 0.1 * cameras.centers + UTM
    assert world.clip.cameras.centers.dtype == torch.float64
    assert torch.allclose(world.clip.cameras.centers[:6], expected[:6], rtol=0, atol=1e-4)
    assert torch.allclose(world.given.cameras.centers, expected[:3], rtol=0, atol=1e-4)
    assert world.manifest["origin"] == expected[0].tolist()
    points = world.points.points
    assert points.dtype == torch.float64 and float((points - UTM).norm(dim=-1).median()) < 3
    world.save(capture / "out")
    back = read_transforms(capture / "out/transforms.json").cameras
    assert torch.allclose(back.centers[:6], expected[:6], rtol=0, atol=1e-4)
    assert json.loads((capture / "out/manifest.json").read_text())["origin"] == pytest.approx(expected[0].tolist())
    assert near.pivot.dtype == torch.float32


def test_cameras_given_as_values_may_be_far_away_too(tiny: WorldModel, truth: Clip) -> None:
    far = Similarity(torch.ones(()).double() * 0.1, torch.eye(3).double(), UTM).apply(truth.cameras.to(torch.float64))
    inputs = read_inputs(list(truth.rgb[:3]), far[:3], None, "crop", SIDE)
    steps = inputs.given.cameras.centers.double().diff(dim=0)
    assert torch.allclose(steps, far.centers[:3].diff(dim=0), rtol=0, atol=1e-6)
    assert torch.allclose(inputs.near_from_user.translation, -far.centers[0])


def test_curated_clips_keep_their_steps_too(capture: Path) -> None:
    before = squared_clip(list(read_transforms(capture / "transforms.json").frames), "crop", SIDE)
    moved(capture, Similarity(torch.ones(()).double() * 0.1, torch.eye(3).double(), UTM))
    clip = squared_clip(list(read_transforms(capture / "transforms.json").frames), "crop", SIDE)
    steps = 0.1 * before.cameras.centers.double().diff(dim=0)
    assert torch.allclose(clip.cameras.centers.double().diff(dim=0), steps, rtol=0, atol=1e-6)


def test_masked_pixels_and_missing_images_do_not_come_in(tiny: WorldModel, capture: Path) -> None:
    whole = read_inputs([capture / "images/0.png"], capture / "transforms.json", None, "crop", SIDE)
    mask = torch.ones(3, 64, 72)
    mask[:, 20:40, 20:40] = 0
    write_png(capture / "mask.png", mask)
    meta = json.loads((capture / "transforms.json").read_text())
    meta["frames"][0]["mask_path"] = "mask.png"
    (capture / "transforms.json").write_text(json.dumps(meta))
    masked = read_inputs([capture / "images/0.png"], capture / "transforms.json", None, "crop", SIDE)
    changed = (masked.given.rgb != whole.given.rgb).any(1)[0]
    assert bool(changed.any()) and not bool(changed[:, -4:].any())
    (capture / "images/5.png").unlink()
    with pytest.raises(InputError, match="skip_missing"):
        read_inputs([capture / "images/0.png"], capture / "transforms.json", None, "crop", SIDE)
    with pytest.warns(Note, match="1 of 6"):
        rest = read_inputs([capture / "images/0.png"], capture / "transforms.json", None, "crop", SIDE, True)
    assert len(rest.held_out_names) == 4


def test_the_head_on_its_table_is_orbited_on_the_side_that_its_photos_show(tiny: WorldModel, shared: Path) -> None:
    """A real COLMAP capture, whose up is 116 degrees from +z: the path passes near the photos that were not given."""
    folder = shared / "data/colmap_ethiopian_head"
    images = sorted((folder / "images").iterdir())[:4]
    inputs = read_inputs(images, folder, None, "crop", SIDE)
    others = inputs.held_out
    assert others is not None
    nearest = {}
    for up in ("+z", "auto"):
        path = camera_path(tiny, inputs, OrbitRequest(images, folder, 36, up=up), Sampling(steps=1))
        ahead = project(path.cameras, path.pivot.expand(36, 1, 3))[1]
        assert bool((ahead > 0).all())
        apart = torch.cdist(others.cameras.centers, path.cameras.centers).amin(1) / path.radius
        nearest[up] = float(apart.mean())
    assert nearest["auto"] < 0.15 < 0.5 < nearest["+z"], nearest


def test_a_single_posed_image_orbits_what_lies_ahead_beginning_where_it_was_taken(
    tiny: WorldModel, truth: Clip, capture: Path
) -> None:
    path = path_of(tiny, capture, [1], radius=2.0)
    center, ahead = truth.cameras.centers[1], truth.cameras.forward[1]
    assert torch.allclose(path.pivot, center + 2.0 * ahead, atol=1e-5)
    assert float(project(path.given, path.pivot.expand(1, 1, 3))[1]) == pytest.approx(2.0, abs=1e-4)
    assert torch.allclose(path.cameras.centers[0], center, atol=1e-4)
    assert torch.allclose(path.cameras.forward[0], ahead, atol=1e-4)
    assert path.scale == path.radius == 2.0 and path.metric


def test_an_orbit_of_several_images_begins_at_the_azimuth_of_the_first(
    tiny: WorldModel, truth: Clip, capture: Path
) -> None:
    """The capture's cameras are 60 degrees apart, frames of a circle of 8 are 45, counter-clockwise."""
    for first in (1, 2, 5):
        path = path_of(tiny, capture, [first, 3, 0])
        assert torch.allclose(path.cameras.centers[0], truth.cameras.centers[first], atol=2e-3)
        away = path.cameras.centers - path.pivot
        azimuth = torch.rad2deg(torch.atan2(away[:, 1], away[:, 0]))
        steps = torch.remainder(azimuth.diff(), 360)
        assert torch.allclose(steps, torch.full((7,), 45.0), atol=0.1)
