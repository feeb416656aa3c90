"""A folder as users have them: right files of all kinds, wrong ones, links, odd names, results of former runs."""

import json
import random
import shutil
import struct
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
import yaml
from PIL import Image

from geometry.camera.cameras import Cameras
from geometry.io.captures.nerfstudio import write_transforms
from geometry.io.formats import write, write_cameras
from geometry.io.images import write_depth_png
from geometry.mesh.meshes import Mesh
from geometry.trajectory.paths import orbit
from tests.models.tiny import tiny_model
from tests.training.codec.test_trainer import run_of as codec_run_of
from worldgen.cli import main
from worldgen.evaluation.sets.families import FamiliesSet
from worldgen.evaluation.sets.orbit import OrbitSet
from worldgen.models.world_model import WorldModel
from worldgen.runtime.atomic_dir import new_folder
from worldgen.runtime.config import plain
from worldgen.training.codec.config import CodecRun
from worldgen.training.config.data import DataConfig
from worldgen.training.config.run import RunConfig
from worldgen.training.config.train import TrainConfig

FORMER = {
    "old-world": "world",
    "old-gallery": "gallery of scenes",
    "old-evaluation": "evaluation",
    "old-model": "model",
    "old-world-and-mine": "world",
}  # results of former runs by their kind
SIZE = 16
HEAD = "camera: {position: 0 -3 1.5 m, look_at: 0 0 0.5 m, fov: 50 deg}\nsize: 16x16\nfps: 8\nmoves:\n"


def build(work: Path) -> None:
    """Fill a new folder, which becomes the current one of the runs; its parent gets what is beside it."""
    work.mkdir(parents=True)
    _images(work)
    _captures(work)
    _poses(work)
    _assets(work)
    _configurations(work)
    _links(work)
    _former(work)
    (work.parent / "home" / ".config").mkdir(parents=True)
    (work.parent / "home" / ".config" / "settings.json").write_text("{}")
    (work.parent / "tmp").mkdir()
    (work.parent / "beside.txt").write_text("mine")


def _pixels(seed: int, size: tuple[int, int] = (SIZE, SIZE), mode: str = "RGB") -> Image.Image:
    noise = random.Random(seed).randbytes(size[0] * size[1] * 3)
    return Image.frombytes("RGB", size, noise).convert(mode)


def _images(work: Path) -> None:
    for seed, (name, mode) in enumerate(
        {
            "a.png": "RGB", "b.jpg": "RGB", "c.webp": "RGB", "d.tiff": "RGB", "e.bmp": "RGB", "f.gif": "P",
            "gray.png": "L", "alpha.png": "RGBA", "palette.png": "P", "bilevel.png": "1", "inks.jpg": "CMYK",
            "name with spaces.png": "RGB", "schön-日本.png": "RGB", "two\nlines.png": "RGB", "-dash.png": "RGB",
            "UPPER.PNG": "RGB", "no-suffix": "RGB", "%s{0}.png": "RGB",
        }.items()
    ):  # fmt: skip
        _pixels(seed, mode=mode).save(work / name, format="PNG" if name == "no-suffix" else None)
    _pixels(30, (40, 9)).save(work / "wide.png")
    _pixels(31, (1, 1)).save(work / "pixel.png")
    turned = Image.Exif()
    turned[0x0112] = 6
    _pixels(32, (20, 16)).save(work / "turned.jpg", exif=turned)
    Image.new("I;16", (SIZE, SIZE), 3000).save(work / "sixteen.png")
    whole = (work / "a.png").read_bytes()
    (work / "cut.png").write_bytes(whole[: len(whole) // 2])
    (work / "empty.png").write_bytes(b"")
    (work / "text.png").write_text("not an image")
    header = struct.pack(">IIBBBBB", 200_000, 200_000, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    (work / "huge.png").write_bytes(whole[:8] + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk)))
    (work / "readonly.png").write_bytes(whole)
    (work / "readonly.png").chmod(0o444)


def cameras(count: int = 4) -> Cameras:
    """On a circle around the origin, looking at it."""
    path = Cameras.from_fov(orbit(torch.zeros(3), 2.0, 20.0, count), 50.0, (SIZE, SIZE))
    return Cameras(path.world_from_camera, path.K, path.hw, time_s=torch.arange(count) / 4)


def _captures(work: Path) -> None:
    names = [f"{n}.png" for n in range(4)]

    def capture(name: str, change: Callable[[dict], object] = lambda data: None) -> Path:
        folder = work / name
        folder.mkdir()
        for seed, image in enumerate(names):
            _pixels(seed).save(folder / image)
        write_transforms(folder / "transforms.json", cameras(), names)
        data = json.loads((folder / "transforms.json").read_text())
        change(data)
        (folder / "transforms.json").write_text(json.dumps(data))
        return folder

    def with_depth(data: dict) -> None:
        for n, frame in enumerate(data["frames"]):
            frame["depth_file_path"] = f"depth/{n}.png"

    capture("capture")
    (capture("capture-lacks-images") / "2.png").unlink()
    (capture("capture-cut") / "transforms.json").write_text('{"frames": [{"file_path": "0.p')
    (capture("capture-damaged-image") / "1.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    _pixels(9, (7, 12)).save(capture("capture-sizes") / "3.png")
    capture("capture-empty", lambda data: data.update(frames=[]))
    capture("capture-nan", lambda data: data["frames"][0]["transform_matrix"][0].__setitem__(3, float("nan")))
    capture("capture-times", lambda data: [f.update(time=n / 4) for n, f in enumerate(data["frames"])])
    folder = capture("capture-depth", with_depth)
    for n in range(4):
        write_depth_png(folder / "depth" / f"{n}.png", torch.full((1, SIZE, SIZE), 2.0), 0.001)
    capture("capture in a\nfolder of odd name")
    for name in ("colmap", "colmap-cut"):
        write_cameras(work / name / "sparse" / "0", cameras())
        for n in range(4):
            (work / name / "images" / "frames").mkdir(parents=True, exist_ok=True)
            _pixels(n).save(work / name / "images" / "frames" / f"{n:05d}.png")
    cut = next(path for path in sorted((work / "colmap-cut" / "sparse" / "0").iterdir()) if "images" in path.name)
    cut.write_bytes(cut.read_bytes()[:-30])
    (work / "photos").mkdir()
    for n in range(3):
        _pixels(n).save(work / "photos" / f"IMG_{n}.JPG")
    (work / "nothing").mkdir()
    (work / "empty").mkdir()


def _poses(work: Path) -> None:
    for name in ("path.json", "path.tum", "path.kitti", "path.re10k", "transforms_path.json"):
        write_cameras(work / name, cameras())
    shutil.copy(work / "path.tum", work / "trajectory.txt")
    (work / "orbit.yaml").write_text(HEAD + "  - {orbit: {by: 90 deg, around: 0 0 0 m}, for: 0.3 s}\n")
    (work / "moves.yaml").write_text(HEAD + "  - hold: 0.1 s\n  - pan: 30\n")
    (work / "garbage.json").write_text('{"a": [1, 2')
    (work / "list.json").write_text("[1, null, {}]")
    (work / "deep.json").write_text("[" * 100_000)
    (work / "garbage.yaml").write_text("a: [b\n\t: {")
    (work / "bytes.bin").write_bytes(random.Random(0).randbytes(300))
    (work / "latin.txt").write_bytes("grün".encode("latin-1"))
    (work / "empty.json").write_bytes(b"")


def _assets(work: Path) -> None:
    mesh = Mesh(torch.rand(4, 3), torch.tensor([[0, 1, 2], [1, 2, 3]]))
    for name in ("mesh.ply", "mesh.obj", "mesh.glb"):
        write(work / name, mesh, "mesh")
    write(work / "video.mp4", torch.rand(4, 3, SIZE, SIZE), "video")
    (work / "cut.mp4").write_bytes((work / "video.mp4").read_bytes()[:200])


def _configurations(work: Path) -> None:
    WorldModel.create(replace(tiny_model(), frames=4)).save(work / "model")
    shutil.copytree(work / "model", work / "model-cut")
    weights = work / "model-cut" / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    (work / "model-without-weights").mkdir()
    shutil.copy(work / "model" / "config.json", work / "model-without-weights")
    train = TrainConfig(
        steps=2, batch=1, frames=(2,), warmup=1, precision="fp32", device="cpu", checkpoint_every=1, log_every=1,
        sheet_every=2, averages=(0.05, 0.1), average_every=1,
    )  # fmt: skip
    data = DataConfig(views=2, pool=1, reuse=2, supersample=1)
    run = RunConfig(Path("new-run"), tiny_model(), data, train=train)
    codec: CodecRun = codec_run_of(Path("new-codec"), steps=2, batch=1)
    orbits = OrbitSet("tabletop", 0, 1, SIZE, 1, (1,), 1, {"narrow": 14.0, "full": 180.0})
    families = FamiliesSet(("tabletop",), 0, 1, SIZE, 1, 3, 4.0, (1,), (0, 2), (1,))
    for name, value in {"run": run, "codec": codec, "orbit-set": orbits, "families-set": families}.items():
        (work / f"{name}.yaml").write_text(yaml.safe_dump(plain(value), sort_keys=False))
    (work / "unknown-key.yaml").write_text((work / "run.yaml").read_text() + "surprise: 1\n")
    (work / "on-a-base.yaml").write_text("base: run.yaml\ntrain: {steps: 1}\n")
    (work / "base-of-itself.yaml").write_text("base: base-of-itself.yaml\n")


def _links(work: Path) -> None:
    for name, target in {
        "link.png": "a.png", "dangling.png": "nowhere.png", "loop": "loop", "loop-a": "loop-b", "loop-b": "loop-a",
        "link-to-capture": "capture", "link-to-home": "../home", "link-to-old": "old-world", "dangling-folder": "no/x",
        "nothing/around": "..",
    }.items():  # fmt: skip
        (work / name).symlink_to(target)


def _former(work: Path) -> None:
    for name, kind in FORMER.items():
        with new_folder(work / name, kind=kind) as out:
            (out / "frames").mkdir()
            (out / "frames" / "00000.png").write_bytes((work / "a.png").read_bytes())
            (out / "report.json").write_text("{}")
    (work / "old-world-and-mine" / "notes.txt").write_text("mine")
    (work / "mine").mkdir()
    (work / "mine" / "manifest.json").write_text(json.dumps({"generator": "mine", "files": ["manifest.json"]}))
    (work / "mine" / "letter.txt").write_text("mine")
    (work / "readonly").mkdir()
    (work / "readonly" / "a.txt").write_text("mine")
    (work / "readonly").chmod(0o555)
    assert main(["train", str(work / "run.yaml"), f"output={work / 'old-run'}"]) == 0
    source = [str(work / "capture"), "--frames", "2", "--size-px", "8", "--output", str(work / "old-curation")]
    assert main(["curate", *source]) == 0
