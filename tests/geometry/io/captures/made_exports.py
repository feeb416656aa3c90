"""The cameras of `made.world_cameras` in the formats of tools and benchmarks, by hand from their definitions."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from geometry.camera.cameras import Cameras
from geometry.io.images import write_depth_png
from tests.geometry.io.captures.made import HW, world_cameras, write_images, wxyz

H, W = HW
COUNT = 3
FLIP = torch.diag(torch.tensor([1.0, -1, -1, 1])).double()
TO_Y_UP = torch.tensor([[0.0, 1, 0, 0], [0, 0, 1, 0], [1, 0, 0, 0], [0, 0, 0, 1]]).double()  # (z, x, y) -> (x, y, z)


def square_pixels(focal: float = 21.0, middle: bool = False) -> Cameras:
    """Those cameras with one focal length, and the principal point in the middle where a format has no other."""
    cameras = world_cameras(COUNT)
    K = cameras.K.clone()
    K[:, 0, 0] = K[:, 1, 1] = focal
    if middle:
        K[:, 0, 2], K[:, 1, 2] = W / 2, H / 2
    return Cameras(cameras.world_from_camera, K, HW)


def write_llff(folder: Path) -> Cameras:
    cameras = square_pixels(middle=True)
    right, down, forward, center = cameras.world_from_camera[:, :3].unbind(-1)
    lens = torch.tensor([H, W, 21.0]).double().expand(COUNT, 3)
    matrix = torch.stack([down, right, -forward, center, lens], -1)
    bounds = torch.tensor([1.0, 9.0]).double().expand(COUNT, 2)
    np.save(folder / "poses_bounds.npy", torch.cat([matrix.flatten(1), bounds], 1).numpy())
    write_images(folder / "images", [f"{n}.png" for n in range(COUNT)])
    return cameras


def write_opensfm(folder: Path) -> Cameras:
    cameras, shots = world_cameras(COUNT), {}
    K, side = cameras.K[0], max(HW)
    for n, pose in enumerate(cameras.camera_from_world):
        w, *axis = wxyz(pose[:3, :3])
        vector = np.array(axis) / np.linalg.norm(axis) * 2 * np.arctan2(np.linalg.norm(axis), w)
        shots[f"{n}.png"] = {"rotation": vector.tolist(), "translation": pose[:3, 3].tolist(), "camera": "v2 a",
                             "capture_time": 0.5 * n, "orientation": 1}  # fmt: skip
    lens = {"projection_type": "brown", "width": W, "height": H, "k1": 0, "k2": 0, "k3": 0, "p1": 0, "p2": 0}
    lens |= {"focal_x": float(K[0, 0]) / side, "focal_y": float(K[1, 1]) / side}
    lens |= {"c_x": (float(K[0, 2]) - W / 2) / side, "c_y": (float(K[1, 2]) - H / 2) / side}
    few = {"cameras": {}, "shots": {"x": {}}}
    (folder / "reconstruction.json").write_text(json.dumps([few, {"cameras": {"v2 a": lens}, "shots": shots}]))
    write_images(folder / "images", list(shots))
    return cameras


def write_co3d(folder: Path, isotropic: bool = True) -> Cameras:
    """In PyTorch3D x is to the left and y up, points are rows, and NDC runs to the left and up."""
    cameras, frames = world_cameras(COUNT), []
    turn = torch.diag(torch.tensor([-1.0, -1, 1])).double()
    half = np.array([W / 2, H / 2])
    scale = np.array([min(half)] * 2) if isotropic else half
    for n, pose in enumerate(cameras.camera_from_world):
        K = cameras.K[n].numpy()
        viewpoint = {
            "R": (turn @ pose[:3, :3]).T.tolist(), "T": (turn @ pose[:3, 3]).tolist(),
            "focal_length": (K[[0, 1], [0, 1]] / scale).tolist(),
            "principal_point": ((half - K[:2, 2]) / scale).tolist(),
        }  # fmt: skip
        viewpoint |= {"intrinsics_format": "ndc_isotropic"} if isotropic else {}
        path = f"cup/110_1/images/frame{n:06d}.png"
        frames.append({"sequence_name": "110_1", "frame_number": n, "frame_timestamp": n / 2,
                       "image": {"path": path, "size": [H, W]}, "viewpoint": viewpoint})  # fmt: skip
        write_images(folder, [path])
    (folder / "cup/frame_annotations.jgz").write_bytes(gzip.compress(json.dumps(frames[::-1]).encode()))
    return cameras


def write_tum_rgbd(folder: Path) -> Cameras:
    cameras = Cameras.from_fov(world_cameras(COUNT).world_from_camera, 50.0, HW)
    rows = ["# timestamp tx ty tz qx qy qz qw"]
    for n, pose in enumerate(cameras.world_from_camera):
        w, x, y, z = wxyz(pose[:3, :3])
        rows.append(" ".join(map(repr, [100.0 + n + 0.008, *pose[:3, 3].tolist(), x, y, z, w])))
    (folder / "groundtruth.txt").write_text("\n".join(rows) + "\n")
    names = [f"rgb/{100 + n}.png" for n in range(COUNT + 1)]
    write_images(folder, names)
    for part, offset in (("rgb", 0.0), ("depth", 0.012)):
        lines = [f"{100 + n + offset} {part}/{100 + n}.png" for n in range(COUNT + 1)]  # the last has no pose
        (folder / f"{part}.txt").write_text("# " + part + "\n" + "\n".join(lines) + "\n")
    for n in range(COUNT + 1):
        write_depth_png(folder / f"depth/{100 + n}.png", torch.full((1, *HW), 1.0 + n), 1 / 5000)
    return cameras


def write_seven_scenes(folder: Path) -> Cameras:
    cameras = Cameras.from_fov(world_cameras(COUNT).world_from_camera, 50.0, HW)
    for n, pose in enumerate(cameras.world_from_camera):
        text = "\n".join("\t ".join(f"{v:.12e}" for v in row) for row in pose.tolist())
        (folder / f"frame-{n:06d}.pose.txt").write_text(text + "\n")
        write_images(folder, [f"frame-{n:06d}.color.png"])
    return cameras


def arkit(cameras: Cameras) -> torch.Tensor:
    """OpenGL axes in a world with y up."""
    return TO_Y_UP @ cameras.world_from_camera @ FLIP


def write_polycam(folder: Path) -> Cameras:
    cameras = world_cameras(COUNT)
    for n, pose in enumerate(arkit(cameras)):
        K, data = cameras.K[n], {"width": W, "height": H, "timestamp": 500000 * n, "blur_score": 3.0}
        data |= {"fx": float(K[0, 0]), "fy": float(K[1, 1]), "cx": float(K[0, 2]), "cy": float(K[1, 2])}
        data |= {f"t_{i}{j}": float(pose[i, j]) for i in range(3) for j in range(4)}
        path = folder / f"keyframes/corrected_cameras/{100 + n}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(data))
        write_images(folder, [f"keyframes/corrected_images/{100 + n}.png"])
    return cameras


def write_record3d(folder: Path) -> Cameras:
    cameras, poses = world_cameras(COUNT), []
    for pose in arkit(cameras):
        w, x, y, z = wxyz(pose[:3, :3])
        poses.append([x, y, z, w, *pose[:3, 3].tolist()])
    meta = {"poses": poses, "K": cameras.K[0].T.flatten().tolist(), "w": W, "h": H, "fps": 2}
    (folder / "metadata.json").write_text(json.dumps(meta))
    write_images(folder, [f"rgb/{n}.png" for n in range(COUNT)])
    return cameras


def write_metashape(folder: Path) -> Cameras:
    """A chunk that its transform scales by 2, turns and moves into the world."""
    cameras = world_cameras(COUNT)
    turn = torch.tensor([[0.0, 0, 1], [1, 0, 0], [0, 1, 0]]).double()
    shift = torch.tensor([5.0, -1, 2]).double()
    K, rows = cameras.K[0].tolist(), []
    for n, pose in enumerate(cameras.world_from_camera):
        inner = torch.eye(4).double()
        inner[:3, :3], inner[:3, 3] = turn.T @ pose[:3, :3], turn.T @ (pose[:3, 3] - shift) / 2
        text = " ".join(map(repr, inner.flatten().tolist()))
        rows.append(f'<camera id="{n}" sensor_id="0" label="{n}"><transform>{text}</transform></camera>')
    rows.append('<camera id="9" sensor_id="0" label="9"/>')
    move = f"<rotation>{' '.join(map(repr, turn.flatten().tolist()))}</rotation><scale>2</scale>"
    move += f"<translation>{' '.join(map(repr, shift.tolist()))}</translation>"
    lens = f"<f>{K[1][1]}</f><b1>{K[0][0] - K[1][1]}</b1><cx>{K[0][2] - W / 2}</cx><cy>{K[1][2] - H / 2}</cy>"
    (folder / "cameras.xml").write_text(
        f'<?xml version="1.0" encoding="UTF-8"?><document version="1.5"><chunk label="a"><sensors>'
        f'<sensor id="0" type="frame"><resolution width="{W}" height="{H}"/><calibration class="adjusted">{lens}'
        f"</calibration></sensor></sensors><cameras>{''.join(rows)}</cameras><transform>{move}</transform>"
        "</chunk></document>"
    )
    write_images(folder / "images", [f"{n}.png" for n in range(COUNT)])
    return cameras


# By name: what writes it into a folder, what is read, and what its files do not say.
EXPORTS: dict[str, tuple[Callable[[Path], Cameras], str, dict[str, Any]]] = {
    "LLFF": (write_llff, "", {}),
    "OpenSfM": (write_opensfm, "reconstruction.json", {}),
    "CO3D": (write_co3d, "cup/frame_annotations.jgz", {}),
    "TUM RGB-D": (write_tum_rgbd, "", {"fov_deg": 50.0}),
    "7-Scenes": (write_seven_scenes, "", {"fov_deg": 50.0}),
    "Polycam": (write_polycam, "", {}),
    "Record3D": (write_record3d, "metadata.json", {}),
    "Metashape": (write_metashape, "cameras.xml", {}),
}
