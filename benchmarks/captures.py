"""Geometry on real captures: `python -m benchmarks.captures DATA --output out/real`.

DATA holds any of these folders: fox (transforms.json), colmap_ethiopian_head (a COLMAP model), nuscenes_frame and
ddad_scene_a (cameras with LiDAR). Features that two images share are measured by our cameras and by COLMAP's own
code with the same parameters; LiDAR sweeps are drawn over the images they belong to, to be looked at.
"""

import importlib
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.shared.report import Report, Table, command, publish, reporting_errors
from geometry.camera.cameras import Cameras
from geometry.camera.rays import camera_directions
from geometry.image.epipolar import essential, sampson_distance
from geometry.io.captures.colmap import read_colmap
from geometry.io.captures.ddad import read_ddad
from geometry.io.captures.nerfstudio import read_transforms
from geometry.io.captures.nuscenes import read_nuscenes_frame
from geometry.io.captures.posed import PosedImages
from geometry.io.images import write_png
from geometry.shapes import Float
from worldgen.data.measures import ImageMeasures, matches
from worldgen.runtime.contact_sheet import depth_image

_NEIGHBORS = 2  # images further on that each is compared with
_DOT_PX = 2  # half a LiDAR point's width, per 1000 pixels of image


@dataclass(frozen=True)
class Pair:
    """Two images of a capture, by place, and the pixels [n, 2] at which they show the same."""

    first: int
    second: int
    uv: tuple[Float[Tensor, "n 2"], Float[Tensor, "n 2"]]


def matched(captured: PosedImages, count: int | None = None) -> list[Pair]:
    """Features that neighbors share, in the pixels of the images."""
    looks = [ImageMeasures.of(frame.read(), frame.camera) for frame in captured.frames[:count]]
    sizes = [torch.tensor([f.hw[1] / k.camera.hw[1], f.hw[0] / k.camera.hw[0]]).double() for f, k in
             zip(captured.frames, looks)]  # fmt: skip
    pairs = []
    for i in range(len(looks)):
        for j in range(i + 1, min(i + 1 + _NEIGHBORS, len(looks))):
            a, b = matches(looks[i], looks[j])
            if len(a) >= 8:
                pairs.append(Pair(i, j, (a * sizes[i], b * sizes[j])))
    return pairs


def observed(model: Any) -> list[Pair]:
    """The points of a COLMAP model that neighbors both saw."""
    pairs = []
    for i in range(len(model.images)):
        for j in range(i + 1, min(i + 1 + _NEIGHBORS, len(model.images))):
            place = {int(point): n for n, point in enumerate(model.observed[j]) if point >= 0}
            both = [(n, place[int(point)]) for n, point in enumerate(model.observed[i]) if int(point) in place]
            if len(both) >= 8:
                rows = torch.tensor(both).T
                pairs.append(Pair(i, j, (model.observed_uv[i][rows[0]], model.observed_uv[j][rows[1]])))
    return pairs


def our_errors(captured: PosedImages, pairs: list[Pair]) -> Float[Tensor, "n"]:
    """Sampson distances of all matches, in pixels: on the plane z = 1, times the focal length."""
    found = []
    for pair in pairs:
        a, b = (captured.frames[n].camera for n in (pair.first, pair.second))
        rays = [camera_directions(c, uv[None])[0, :, :2] for c, uv in zip((a, b), pair.uv)]
        found.append(_focal(a, b) * sampson_distance(essential(a, b), *rays))
    return torch.cat(found)


def colmaps_errors(cameras: list[tuple[Any, Any]], captured: PosedImages, pairs: list[Pair]) -> Float[Tensor, "n"]:
    """The same by COLMAP's code, for its own cameras with their poses (cam_from_world)."""
    pycolmap = importlib.import_module("pycolmap")
    found = []
    for pair in pairs:
        (lens_a, pose_a), (lens_b, pose_b) = cameras[pair.first], cameras[pair.second]
        rays = [lens.cam_from_img(uv.numpy()) for lens, uv in zip((lens_a, lens_b), pair.uv)]
        E = pycolmap.essential_matrix_from_pose(pose_b * pose_a.inverse())
        squared = np.array(pycolmap.compute_squared_sampson_error(*rays, E))
        focal = _focal(captured.frames[pair.first].camera, captured.frames[pair.second].camera)
        found.append(focal * torch.from_numpy(squared).sqrt())
    return torch.cat(found)


def _focal(a: Cameras, b: Cameras) -> float:
    return float(torch.stack([c.K.diagonal()[:2] for c in (a, b)]).mean())


def fox_by_colmap(path: Path) -> list[tuple[Any, Any]]:
    """The cameras of a transforms.json as COLMAP has them, worked out from the file alone."""
    pycolmap = importlib.import_module("pycolmap")
    meta = json.loads(path.read_text())
    lens = pycolmap.Camera(
        model="OPENCV",
        width=int(meta["w"]),
        height=int(meta["h"]),
        params=[meta[key] for key in ("fl_x", "fl_y", "cx", "cy", "k1", "k2", "p1", "p2")],
    )
    cameras = []
    for frame in meta["frames"]:
        world_from_camera = np.array(frame["transform_matrix"]) @ np.diag([1.0, -1, -1, 1])
        camera_from_world = np.linalg.inv(world_from_camera)
        cameras.append((lens, pycolmap.Rigid3d(camera_from_world[:3])))
    return cameras


def models_by_colmap(folder: Path) -> list[tuple[Any, Any]]:
    """The cameras of a COLMAP model as COLMAP reads it, in the order of the images' ids."""
    model = importlib.import_module("pycolmap").Reconstruction(str(folder))
    images = [model.images[n] for n in sorted(model.images)]
    return [(model.cameras[image.camera_id], image.cam_from_world()) for image in images]


def overlay(captured: PosedImages, index: int) -> Float[Tensor, "3 h w"]:
    """An image with the LiDAR points in its view, colored by depth, bright when near."""
    frame = captured.frames[index]
    rgb = frame.read()
    depth = frame.read_depth(frame.camera.to(torch.float32))
    side = 2 * max(1, round(_DOT_PX * max(frame.hw) / 1000)) + 1
    near = torch.where(depth > 0, 1 / depth, 0.0)
    spread = torch.nn.functional.max_pool2d(near[None], side, 1, side // 2)[0]
    points = torch.where(spread > 0, 1 / spread, 0.0)
    return torch.where(spread > 0, depth_image(points, 2.0, 60.0), rgb)


def table(data: Path) -> Table:
    """A row for each capture that is there: matches, medians and means by us and by COLMAP."""
    found: list[tuple[str, PosedImages, list[Pair], list[tuple[Any, Any]]]] = []
    if (fox := data / "fox" / "transforms.json").is_file():
        captured = read_transforms(fox)
        found.append(("fox", captured, matched(captured), fox_by_colmap(fox)))
    for images in (data / "colmap_ethiopian_head").rglob("images.*"):
        if images.suffix in (".txt", ".bin"):
            model = read_colmap(images.parent, need_images=False)
            found.append(("ethiopian head", model.images, observed(model), models_by_colmap(images.parent)))
    rows = []
    for name, captured, pairs, cameras in found:
        ours, theirs = our_errors(captured, pairs), colmaps_errors(cameras, captured, pairs)
        errors = [float(e) for e in (ours.median(), theirs.median(), ours.mean(), theirs.mean())]
        rows.append((name, len(pairs), len(ours), *errors, float((ours - theirs).abs().max())))
    columns = {
        "capture": "", "pairs": "", "matches": "", "median px, ours": ".4f", "median px, COLMAP's": ".4f",
        "mean px, ours": ".4f", "mean px, COLMAP's": ".4f", "most apart": ".1g",
    }  # fmt: skip
    return Table.of(columns, rows)


@reporting_errors
def main() -> int:
    """Publish the table, and draw the LiDAR sweeps on request."""
    parser = command(__doc__)
    parser.add_argument("data", type=Path, help="the folder of the captures")
    parser.add_argument("--output", type=Path, help="where to draw LiDAR over images")
    arguments = parser.parse_args()
    if arguments.output:
        for name, path, read in (
            ("nuscenes", arguments.data / "nuscenes_frame" / "sample.json", read_nuscenes_frame),
            ("ddad", arguments.data / "ddad_scene_a" / "scene.json", read_ddad),
        ):
            if path.is_file():
                captured = read(path)
                for n in range(len(captured)):
                    write_png(arguments.output / f"{name}_{n}.png", overlay(captured, n))
    notes = ["Sampson distances of features that two images share, by our cameras and by COLMAP's own code."]
    return publish(Report.now("Geometry on real captures", [table(arguments.data)], notes), arguments.report)


if __name__ == "__main__":
    sys.exit(main())
