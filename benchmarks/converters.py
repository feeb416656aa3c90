"""The same point through every camera convention: `python -m benchmarks.converters`.

Random cameras over images of any shape with principal points off their middle; a point visible to each must land on the
same pixel. The libraries that are installed (kornia, OpenCV, pycolmap) project it themselves, given the camera in their
convention (`geometry.camera.conversion`); every convention is also written and read back. Exits with 1 if a
case is more than 1e-4 pixels off.
"""

import sys
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from benchmarks.shared.report import Report, Table, command, missing, publish
from geometry.camera import conversion, tool_parameters
from geometry.camera.cameras import Cameras
from geometry.camera.projection import project
from geometry.rotation.quaternions import matrix_from_quaternion_wxyz
from geometry.rotation.transforms import rigid

LIMIT_PX = 1e-4


def cases(count: int, seed: int) -> Iterator[tuple[Cameras, Tensor]]:
    """Cameras [n] in float64 with a world point [n, 1, 3] each; those of one image size together."""
    draw = torch.Generator().manual_seed(seed)
    while count:
        here = min(count, 100)
        height, width = torch.randint(16, 4001, (2,), generator=draw).tolist()
        u = torch.rand(here, 12, generator=draw, dtype=torch.float64)
        turn = matrix_from_quaternion_wxyz(torch.randn(here, 4, generator=draw, dtype=torch.float64))
        K = torch.eye(3, dtype=torch.float64).repeat(here, 1, 1)
        K[:, 0, 0], K[:, 1, 1] = max(height, width) * (0.3 + 3 * u[:, 0]), max(height, width) * (0.3 + 3 * u[:, 1])
        K[:, 0, 2], K[:, 1, 2] = width * (0.2 + 0.6 * u[:, 2]), height * (0.2 + 0.6 * u[:, 3])
        cameras = Cameras(rigid(turn, 20 * (u[:, 4:7] - 0.5)), K, (height, width))
        pixel = torch.stack([width * u[:, 7], height * u[:, 8], torch.ones_like(u[:, 0])], -1)
        ray = (torch.linalg.inv(K) @ pixel[..., None]).squeeze(-1) * 10 ** (2 * u[:, 9:10] - 0.5)
        yield cameras, ((turn @ ray[..., None]).squeeze(-1) + cameras.centers)[:, None]
        count -= here


def read_back(name: str, cameras: Cameras, points: Tensor) -> Tensor:
    """Pixels of cameras written in a convention and read again."""
    return project(conversion.cameras_from(name, *conversion.cameras_to(name, cameras), cameras.hw), points)[0]


def through_parameters(name: str, cameras: Cameras, points: Tensor) -> Tensor:
    """The same by the parameters a tool has in place of matrices."""
    if name == "pytorch3d":
        parameters = tool_parameters.cameras_to_pytorch3d(cameras)
        view = points @ parameters["R"] + parameters["T"][:, None]
        ndc = (
            parameters["focal_length"][:, None] * view[..., :2] / view[..., 2:] + parameters["principal_point"][:, None]
        )
        return points.new_tensor([cameras.hw[1], cameras.hw[0]]) / 2 - min(cameras.hw) / 2 * ndc
    if name == "colmap":
        back = tool_parameters.cameras_from_colmap(*tool_parameters.cameras_to_colmap(cameras), cameras.hw)
    else:
        back = tool_parameters.cameras_from_realestate10k(tool_parameters.cameras_to_realestate10k(cameras), cameras.hw)
    return project(back, points)[0]


def by_kornia(cameras: Cameras, points: Tensor) -> Tensor:
    """kornia's PinholeCamera; its pixels have their centers at whole numbers."""
    from kornia.geometry.camera import PinholeCamera

    pose, K = conversion.cameras_to("kornia", cameras)
    four = torch.eye(4, dtype=K.dtype).repeat(len(K), 1, 1)
    four[:, :3, :3] = K
    height, width = (torch.full((len(K),), float(side), dtype=K.dtype) for side in cameras.hw)
    return PinholeCamera(four, pose, height, width).project(points) + 0.5


def by_opencv(cameras: Cameras, points: Tensor) -> Tensor:
    """OpenCV's projectPoints."""
    import cv2

    pose, K = conversion.cameras_to("opencv", cameras)
    found = []
    for n in range(len(K)):
        rotation = cv2.Rodrigues(pose[n, :3, :3].numpy())[0]
        uv = cv2.projectPoints(points[n].numpy(), rotation, pose[n, :3, 3].numpy(), K[n].numpy(), None)[0]
        found.append(torch.from_numpy(uv[:, 0]))
    return torch.stack(found) + 0.5


def by_pycolmap(cameras: Cameras, points: Tensor) -> Tensor:
    """COLMAP's own camera and rigid motion."""
    import pycolmap

    quaternion, translation, K = tool_parameters.cameras_to_colmap(cameras)
    xyzw = quaternion[:, [1, 2, 3, 0]].numpy()
    found = []
    for n in range(len(K)):
        lens = [K[n, 0, 0], K[n, 1, 1], K[n, 0, 2], K[n, 1, 2]]
        camera = pycolmap.Camera(
            model="PINHOLE", width=cameras.hw[1], height=cameras.hw[0], params=[float(x) for x in lens]
        )
        motion: Any = pycolmap.Rigid3d(pycolmap.Rotation3d(xyzw[n]), translation[n].numpy())
        found.append(torch.from_numpy(camera.img_from_cam(motion * points[n].numpy())).reshape(-1, 2))
    return torch.stack(found)


def contestants() -> tuple[dict[str, Callable[[Cameras, Tensor], Tensor]], list[str]]:
    """All ways to project a point by name, and notes of libraries that are not installed."""
    ways: dict[str, Callable[[Cameras, Tensor], Tensor]] = {}
    left_out = []
    for name in conversion.CONVENTIONS:
        ways[f"{name}, written and read"] = lambda c, p, name=name: read_back(name, c, p)
    for name in ("pytorch3d", "colmap", "realestate10k"):
        ways[f"{name}, by its parameters"] = lambda c, p, name=name: through_parameters(name, c, p)
    for name, module, way in (
        ("kornia", "kornia", by_kornia),
        ("OpenCV", "cv2", by_opencv),
        ("pycolmap", "pycolmap", by_pycolmap),
    ):
        try:
            __import__(module)
        except ImportError as error:
            left_out.append(missing(name, error))
        else:
            ways[f"{name}, projected by the library"] = way
    return ways, left_out


def main() -> int:
    """Publish the largest difference of each way."""
    parser = command(__doc__)
    parser.add_argument("--cases", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    ways, left_out = contestants()
    worst, failing = dict.fromkeys(ways, 0.0), dict.fromkeys(ways, 0)
    for cameras, points in cases(arguments.cases, arguments.seed):
        uv, _ = project(cameras, points)
        for name, way in ways.items():
            off = (way(cameras, points) - uv).norm(dim=-1)
            worst[name] = max(worst[name], float(off.max()))
            failing[name] += int((~(off <= LIMIT_PX)).sum())
    table = Table.of(
        {"convention": "", "most off, px": ".1e", "failing": ""}, [(name, worst[name], failing[name]) for name in ways]
    )
    notes = [f"{arguments.cases} cases; failing: more than {LIMIT_PX:g} px off.", *left_out]
    misses = [f"{name}: {count} of {arguments.cases} cases" for name, count in failing.items() if count]
    return publish(Report.now("Camera conventions", [table], notes, misses), arguments.report)


if __name__ == "__main__":
    sys.exit(main())
