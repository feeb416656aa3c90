"""Geometry beside the best installable peers: `python -m benchmarks.geometry` (6 minutes with all cases).

One thread, contestants in turn, medians of CPU time, what they compute compared first. Peers that are not installed are
left out with a note that names them (Open3D, evo; kornia and PyAV always are).
"""

import importlib
import math
import sys
import tempfile
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.shared.timing import Result, compare, run_cases
from benchmarks.splats import speed
from geometry.camera.cameras import Cameras
from geometry.camera.projection import project, unproject
from geometry.camera.rays import plucker
from geometry.image.warping import backward_warp, forward_warp
from geometry.io.video import read_mp4, write_mp4
from geometry.mesh.tsdf import fuse_tsdf
from geometry.points.pointclouds import PointCloud, points_from_depth, voxel_downsample
from geometry.trajectory.metrics import ate, rpe
from geometry.trajectory.paths import orbit
from worldgen.evaluation.metrics.image import ssim

_CENTER = torch.tensor([0.0, 0.0, 0.5])


def views(count: int, hw: tuple[int, int]) -> Cameras:
    """Cameras around a point, float32."""
    return Cameras.from_fov(orbit(_CENTER, 3.0, 20.0, count), 50.0, hw)


def waves(count: int, hw: tuple[int, int]) -> torch.Tensor:
    """Smooth depth maps [count, 1, h, w] between 2 and 4 metres."""
    y, x = (torch.linspace(0, 6, side) for side in hw)
    phase = torch.arange(count)[:, None, None]
    return (3 + (x + phase).sin() * (y[:, None] - phase).cos())[:, None]


def agreed(what: str, ours: torch.Tensor, theirs: torch.Tensor, limit: float) -> str:
    """How far two results are apart, once that has been found to be within the limit."""
    apart = float((ours.double() - theirs.double()).abs().max())
    assert apart <= limit, f"{what}: results {apart:.2g} apart; expected at most {limit:.2g}"
    return f"results at most {apart:.1g} apart"


def plucker_maps(repeats: int) -> list[Result]:
    """Rays by kornia's `unproject_meshgrid`, turned into the world and completed to Plücker maps."""
    from kornia.geometry.depth import unproject_meshgrid

    results = []
    for count, hw in ((21, (72, 72)), (16, (320, 512))):
        cameras = views(count, hw)

        def by_kornia(cameras: Cameras = cameras, hw: tuple[int, int] = hw) -> torch.Tensor:
            K = cameras.K.clone()
            K[:, :2, 2] -= 0.5  # its pixels have their centers at whole numbers
            rays = unproject_meshgrid(*hw, K, normalize_points=True, dtype=K.dtype)
            turned = rays @ cameras.world_from_camera[:, None, :3, :3].mT
            moment = torch.linalg.cross(cameras.centers[:, None, None].expand_as(turned), turned)
            return torch.cat([turned, moment], -1).movedim(-1, -3)

        case = f"Plücker maps {count} x {hw[0]} x {hw[1]}"
        note = agreed(case, plucker(cameras), by_kornia(), 5e-6)
        runs = {"worldgen": lambda cameras=cameras: plucker(cameras), "kornia": by_kornia}
        results += compare(case, runs, "kornia", {}, repeats, note)
    return results


def unprojection(repeats: int) -> list[Result]:
    """Eight depth maps of 480 x 640 to world points."""
    o3d: Any = importlib.import_module("open3d")

    cameras, depth = views(8, (480, 640)), waves(8, (480, 640))
    images = [o3d.t.geometry.Image(np.ascontiguousarray(one[0].numpy())) for one in depth]
    K = cameras.K.double().clone()
    K[:, :2, 2] -= 0.5
    # Its tensors share no memory with torch's here: made once, outside the clock.
    lenses = [o3d.core.Tensor(one.numpy()) for one in K]
    poses = [o3d.core.Tensor(one.numpy()) for one in cameras.camera_from_world.double()]

    def by_open3d() -> list[Any]:
        make = o3d.t.geometry.PointCloud.create_from_depth_image
        return [make(*one, depth_scale=1.0, depth_max=100.0).point.positions for one in zip(images, lenses, poses)]

    ours = unproject(cameras, depth).flatten(1, 2)
    theirs = torch.from_numpy(np.stack([points.numpy() for points in by_open3d()]))
    pixel = project(cameras, theirs)[0].floor().long()  # its points come in the order of its threads
    row = (pixel[..., 1] * 640 + pixel[..., 0])[..., None].expand_as(theirs)
    case = "depth to world points 8 x 480 x 640"
    note = agreed(case, ours.gather(1, row), theirs, 1e-4)
    runs = {"worldgen": lambda: unproject(cameras, depth), "Open3D": by_open3d}
    return compare(case, runs, "Open3D", {"worldgen": 3.0}, repeats, note)


def warps(repeats: int) -> list[Result]:
    """Two images of 256 x 256 warped forward with a z-buffer; kornia only has the backward warp, by the target's
    depth."""
    from kornia.geometry.depth import warp_frame_depth

    cameras, depth, rgb = views(60, (256, 256))[:4], waves(4, (256, 256)), torch.rand(4, 3, 256, 256)
    sources, targets = cameras[:2], cameras[2:]
    K = targets.K.clone()
    K[:, :2, 2] -= 0.5
    source_from_target = sources.camera_from_world @ targets.world_from_camera

    def by_kornia() -> torch.Tensor:
        return warp_frame_depth(rgb[:2], depth[2:], source_from_target, K)

    def forward() -> list[Any]:
        return [forward_warp(rgb[n : n + 1], depth[n : n + 1], sources[n : n + 1], targets[n]) for n in range(2)]

    ours = backward_warp(rgb[:1], depth[2], targets[0], depth[:1], sources[:1])[2][0]
    both = unproject(targets[:1], depth[2:3])
    note = agreed("warp", ours, project(sources[0], both[0].flatten(0, 1))[0].view_as(ours), 1e-2)
    runs = {"worldgen, z-buffered": forward, "kornia, backward": by_kornia}
    return compare("warp 2 x 256 x 256", runs, "kornia, backward", {"worldgen, z-buffered": 1.5}, repeats, note)


def fusion(repeats: int) -> list[Result]:
    """Points of eight depth maps, one for each occupied cube of 2 cm."""
    o3d: Any = importlib.import_module("open3d")

    cameras, depth, rgb = views(8, (240, 320)), waves(8, (240, 320)), torch.rand(8, 3, 240, 320)
    cloud = points_from_depth(rgb, depth, cameras, None)
    theirs = o3d.t.geometry.PointCloud(o3d.core.Tensor(cloud.points.numpy()))
    theirs.point.colors = o3d.core.Tensor(cloud.colors.numpy())
    case = f"{len(cloud)} points, one a cube of 2 cm"
    counts = len(voxel_downsample(cloud, 0.02)), len(theirs.voxel_down_sample(0.02).point.positions)
    assert abs(counts[0] / counts[1] - 1) < 1e-3, f"{counts} cubes; expected the same but for rounding at their sides"
    runs: dict[str, Callable[[], Any]] = {
        "worldgen": lambda: voxel_downsample(PointCloud(cloud.points, cloud.colors), 0.02),
        "Open3D": lambda: theirs.voxel_down_sample(0.02),
    }
    return compare(
        case, runs, "Open3D", {}, repeats, f"{counts[0]} and {counts[1]} cubes; ours are summed in float64 and sorted"
    )


def surfaces(repeats: int) -> list[Result]:
    """Eight depth maps fused to a mesh."""
    from geometry.interop.open3d import fuse_tsdf_open3d
    from worldgen.scenes.families.family import draw
    from worldgen.scenes.rendering.renderer import render

    cameras = Cameras.from_fov(orbit(_CENTER, 3.0, 30.0, 8), 50.0, (240, 320))[None]
    clip = render(draw("tabletop", 0, [0], held_out=True), cameras, supersample=1)
    rgb, depth = clip.rgb[0], clip.depth[0]
    bounds = torch.tensor([[-1.2, -1.2, -0.1], [1.2, 1.2, 1.2]])
    runs = {
        "worldgen": lambda: fuse_tsdf(rgb, depth, cameras[0], 0.02, bounds=bounds),
        "Open3D": lambda: fuse_tsdf_open3d(rgb, depth, cameras[0], 0.02, bounds=bounds),
    }
    note = f"{len(runs['worldgen']().faces)} and {len(runs['Open3D']().faces)} triangles"
    return compare("TSDF of 8 x 240 x 320, 2 cm", runs, "Open3D", {}, repeats, note)


def trajectories(repeats: int) -> list[Result]:
    """ATE after a similarity, and RPE, of 200 poses."""
    from evo.core import metrics
    from evo.core.trajectory import PosePath3D

    true = orbit(_CENTER, 3.0, 20.0, 200).double()
    found = true.clone()
    found[:, :3, 3] = 1.2 * found[:, :3, 3] + 0.01 * torch.randn(200, 3, generator=torch.Generator().manual_seed(0))

    def by_evo() -> torch.Tensor:
        truth, path = (PosePath3D(poses_se3=list(poses.numpy())) for poses in (true, found))
        relation, rmse = metrics.PoseRelation, metrics.StatisticsType.rmse
        steps = []
        for part in (relation.translation_part, relation.rotation_angle_deg):
            steps.append(metrics.RPE(part, delta=1, delta_unit=metrics.Unit.frames, all_pairs=True))
            steps[-1].process_data((truth, path))
        path.align(truth, correct_scale=True)
        whole = metrics.APE(relation.translation_part)
        whole.process_data((truth, path))
        return torch.tensor([whole.get_statistic(rmse), *(step.get_statistic(rmse) for step in steps)]).double()

    def ours() -> torch.Tensor:
        return torch.stack([ate(found, true), *rpe(found, true)])

    note = agreed("trajectory errors", ours(), by_evo(), 1e-6)
    runs = {"worldgen": ours, "evo": by_evo}
    return compare("ATE (Sim3) and RPE of 200 poses", runs, "evo", {"worldgen": 20.0}, repeats, note)


def similarity(repeats: int) -> list[Result]:
    """SSIM of 32 pairs of images."""
    from kornia.metrics import ssim as kornia_ssim

    a, b = torch.rand(2, 32, 3, 128, 128, generator=torch.Generator().manual_seed(0))

    def by_kornia() -> torch.Tensor:
        return kornia_ssim(a, b, 11, padding="valid").mean((1, 2, 3))

    note = agreed("SSIM", ssim(a, b), by_kornia(), 1e-5)
    return compare("SSIM 32 x 3 x 128 x 128", {"worldgen": lambda: ssim(a, b), "kornia": by_kornia}, "kornia",
                   {"worldgen": 1.0}, repeats, note)  # fmt: skip


def videos(repeats: int) -> list[Result]:
    """64 frames of floats to MP4, by PyAV as it comes: the same encoder and options, its own conversion of colors.

    PyAV takes bytes: to make them of the floats is part of its work; beside it stands PyAV with bytes at hand.
    """
    import av

    y, x = torch.meshgrid(torch.arange(256.0), torch.arange(256.0), indexing="ij")
    frames = torch.arange(64.0)[:, None, None]
    rgb = torch.stack(
        [((x + 3 * frames) / 40).sin(), ((y - frames) / 30).cos(), ((x + y) / 50).sin() * frames.cos()], 1
    )
    rgb = (rgb + 1) / 2

    def as_bytes() -> np.ndarray:
        return (rgb * 255).round().byte().movedim(1, -1).contiguous().numpy()

    made = as_bytes()

    with tempfile.TemporaryDirectory() as folder:
        mine, theirs = Path(folder) / "ours.mp4", Path(folder) / "theirs.mp4"

        def by_pyav(raw: np.ndarray) -> None:
            with av.open(str(theirs), "w") as video:
                stream = video.add_stream("libx264", rate=Fraction(24))
                assert isinstance(stream, av.VideoStream)
                stream.width, stream.height, stream.pix_fmt = 256, 256, "yuv420p"
                stream.codec_context.thread_count, stream.codec_context.max_b_frames = 1, 0
                stream.codec_context.options = {"crf": "14", "preset": "medium"}
                for image in raw:
                    video.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
                video.mux(stream.encode())

        def ours() -> None:
            write_mp4(mine, rgb, 24.0)

        ours()
        by_pyav(made)
        errors = [float((read_mp4(path) - rgb).square().mean()) for path in (mine, theirs)]
        note = " and ".join(
            f"{-10 * math.log10(error):.1f} dB ({name})" for error, name in zip(errors, ("ours", "theirs"))
        )
        sizes = f"{mine.stat().st_size / 1e3:.0f} and {theirs.stat().st_size / 1e3:.0f} kB"
        runs: dict[str, Callable[[], object]] = {
            "worldgen": ours,
            "PyAV, bytes at hand": lambda: by_pyav(made),
            "PyAV": lambda: by_pyav(as_bytes()),
        }
        note = f"read back at {note}, {sizes} (ours and theirs)"
        return compare("MP4 64 x 256 x 256", runs, "PyAV", {"worldgen": 1.0}, repeats, note)


def main() -> int:
    """Run the requested cases and publish the table."""
    cases: dict[str, Callable[[int], list[Result]]] = {
        "plucker": plucker_maps, "unprojection": unprojection, "warp": warps, "points": fusion, "tsdf": surfaces,
        "trajectories": trajectories, "ssim": similarity, "mp4": videos,
        "splats": lambda repeats: [*speed(2000, repeats), *speed(20_000, min(repeats, 1))],
    }  # fmt: skip
    return run_cases("Geometry beside other libraries", __doc__, cases, repeats=9)


if __name__ == "__main__":
    sys.exit(main())
