"""Shards: clips in WebDataset tar files, with an index by which any clip is one seek away.

A clip KEY is the members KEY.clip.json (cameras, caption, source), KEY.000.rgb.png, KEY.000.depth.png, KEY.001.rgb.png
... (depth only where some is known, 16 bits). Any WebDataset reader can read the tars. `index.json` lists where the
members are; without it the tars are scanned. Equal clips give equal bytes.
"""

import io
import json
import math
import tarfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from geometry.camera.cameras import Cameras
from geometry.camera.lenses import Lens
from geometry.errors import InputError
from geometry.io.files import read_json, replacing, write_file
from geometry.io.images import decode_depth_png, decode_png, depth_unit, encode_depth_png, encode_png
from geometry.values import as_value
from worldgen.core.clip import Clip
from worldgen.runtime.rng import Stream, stream

_FORMAT = "worldgen clip 1"
_TAR_END = 1024  # a tar ends in two blocks of zeros


@as_value
@dataclass(frozen=True)
class Sample:
    """A clip of a shard.

    Attributes:
        key: Unique in a data set; letters, digits, - and _.
        clip: Batch shape [f].
        caption: What it shows.
        source: Where its images come from.
        names: Of its images.
    """

    key: str
    clip: Clip
    caption: str = ""
    source: str = ""
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.key or not self.key.replace("-", "").replace("_", "").isalnum():
            raise InputError(f"sample key {self.key!r}; expected letters, digits, - and _")
        if len(self.clip.cameras.shape) != 1:
            raise InputError(f"sample of cameras of shape {tuple(self.clip.cameras.shape)}; expected [frames]")


def write_shard(path: Path, samples: Iterable[Sample]) -> int:
    """Write clips as one tar, completely or not at all; images as 8-bit PNG, depth as 16-bit PNG.

    Args:
        path: The tar.
        samples: The clips.

    Returns:
        Their number.

    Raises:
        InputError: A repeated key, images with NaN or Inf, or a path that cannot be written.
    """
    keys: set[str] = set()
    with replacing(path) as temporary, tarfile.open(temporary, "w", format=tarfile.USTAR_FORMAT) as tar:
        for sample in samples:
            if sample.key in keys:
                raise InputError(f"{path}: sample key {sample.key!r} given twice; expected each once")
            keys.add(sample.key)
            for name, data in _members(sample):
                entry = tarfile.TarInfo(f"{sample.key}.{name}")
                entry.size, entry.mode = len(data), 0o644
                tar.addfile(entry, io.BytesIO(data))
    return len(keys)


def _members(sample: Sample) -> list[tuple[str, bytes]]:
    clip, cameras = sample.clip, sample.clip.cameras
    known = clip.depth[clip.depth > 0]
    unit = depth_unit(known) if known.numel() else None
    facts = {
        "format": _FORMAT, "caption": sample.caption, "source": sample.source, "names": list(sample.names),
        "hw": list(cameras.hw), "metres_per_unit": unit, "K": cameras.K.double().tolist(),
        "world_from_camera": cameras.world_from_camera.double().tolist(), "view": cameras.view.tolist(),
        "time_s": cameras.time_s.double().tolist(),
    }  # fmt: skip
    if cameras.lens is not None:
        lens = cameras.lens
        reach = [r if math.isfinite(r) else None for r in lens.reach.double().tolist()]
        facts["lens"] = {
            "kind": lens.kind.tolist(), "coefficients": lens.coefficients.double().tolist(), "reach": reach
        }  # fmt: skip
    members = [("clip.json", json.dumps(facts, allow_nan=False).encode())]
    for n, (rgb, depth) in enumerate(zip(clip.rgb, clip.depth)):
        members.append((f"{n:03d}.rgb.png", encode_png(rgb)))
        if unit is not None and bool((depth > 0).any()):
            members.append((f"{n:03d}.depth.png", encode_depth_png(depth, unit)))
    return members


def write_index(folder: Path) -> None:
    """Write `index.json` for the tars in a folder.

    Args:
        folder: The folder.

    Raises:
        InputError: No tars, or broken ones.
    """
    write_file(folder / "index.json", json.dumps({"format": _FORMAT, "shards": _scan(folder)}).encode())


def _scan(folder: Path) -> dict[str, dict[str, dict[str, list[int]]]]:
    """Shard -> key -> member -> [offset, size]."""
    paths = sorted(folder.glob("*.tar")) if folder.is_dir() else []
    if not paths:
        raise InputError(f"{folder}: no *.tar; expected a folder of shards")
    shards: dict[str, dict[str, dict[str, list[int]]]] = {}
    for path in paths:
        clips: dict[str, dict[str, list[int]]] = {}
        try:
            with path.open("rb") as file:
                file.seek(-_TAR_END, io.SEEK_END)
                if any(file.read()):  # tarfile itself reads a truncated tar as a short one
                    raise tarfile.ReadError
            with tarfile.open(path, "r:") as tar:
                for entry in tar:
                    key, _, name = entry.name.partition(".")
                    if entry.isfile():
                        clips.setdefault(key, {})[name] = [entry.offset_data, entry.size]
        except (tarfile.TarError, OSError, ValueError) as error:
            raise InputError(f"{path}: truncated or not a tar; expected a shard") from error
        if broken := [key for key, members in clips.items() if "clip.json" not in members]:
            raise InputError(f"{path}: {broken[0]} without clip.json; expected shards of worldgen")
        shards[path.name] = clips
    return shards


class Shards:
    """The clips of a folder of shards, by number, in the order of shards and of clips in them."""

    def __init__(self, folder: Path):
        """Raises InputError for a folder without shards, or an index that does not fit them."""
        self.folder = folder
        index = folder / "index.json"
        shards = read_json(index, "an index of shards", 2**31).get("shards") if index.is_file() else _scan(folder)
        if not isinstance(shards, dict) or not any(shards.values()):
            raise InputError(f"{index}: no clips; expected an index of shards")
        if missing := [name for name in shards if not (folder / name).is_file()]:
            raise InputError(
                f"{folder}: no shard {missing[0]}, of {len(missing)} missing; expected what its index lists"
            )
        self._entries = [(name, key, members) for name, clips in shards.items() for key, members in clips.items()]

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def keys(self) -> list[str]:
        """The clips' keys."""
        return [key for _, key, _ in self._entries]

    def __getitem__(self, number: int) -> Sample:
        """One clip. Raises InputError for a shard that is damaged or gone, IndexError beyond the last."""
        name, key, members = self._entries[number]
        where = f"{self.folder / name}: {key}"
        try:
            with (self.folder / name).open("rb") as file:
                data = {}
                for member, (offset, size) in sorted(members.items()):
                    file.seek(offset)
                    data[member] = file.read(size)
            return _sample(key, data, where)
        except InputError:
            raise
        except Exception as error:  # a damaged file can raise nearly anything
            raise InputError(f"{where}: damaged ({type(error).__name__}); expected a clip of a shard") from error


def _sample(key: str, data: dict[str, bytes], where: str) -> Sample:
    facts: dict[str, Any] = json.loads(data["clip.json"])
    if facts.get("format") != _FORMAT:
        raise InputError(f"{where}: format {str(facts.get('format'))[:40]!r}; expected {_FORMAT!r}")
    height, width = (int(side) for side in facts["hw"])
    poses = torch.tensor(facts["world_from_camera"], dtype=torch.float64)
    cameras = Cameras(
        poses.float(), torch.tensor(facts["K"], dtype=torch.float64).float(), (height, width),
        torch.tensor(facts["view"]), torch.tensor(facts["time_s"], dtype=torch.float32), _lens(facts.get("lens")),
    )  # fmt: skip
    rgb, depth = [], []
    for n in range(len(poses)):
        rgb.append(decode_png(data[f"{n:03d}.rgb.png"], where))
        map_data = data.get(f"{n:03d}.depth.png")
        unknown = torch.zeros(1, height, width)
        depth.append(unknown if map_data is None else decode_depth_png(map_data, facts["metres_per_unit"], where))
    clip = Clip(torch.stack(rgb), torch.stack(depth), cameras)
    return Sample(key, clip, str(facts["caption"]), str(facts["source"]), tuple(map(str, facts["names"])))


def _lens(facts: dict[str, Any] | None) -> Lens | None:
    if facts is None:
        return None
    reach = [math.inf if r is None else r for r in facts["reach"]]
    return Lens(torch.tensor(facts["kind"]), torch.tensor(facts["coefficients"]).float(), torch.tensor(reach).float())


class ShardStream:
    """Training batches from shards: a function of (seed, step) alone, of which each rank takes its slice.

    An epoch is one permutation of the clips, and continues in the next batch; there is no state to save.
    """

    def __init__(
        self, shards: Shards, batch: int, frames: Sequence[int], seed: int = 0, rank: int = 0, world_size: int = 1
    ):
        """Raises InputError for a batch that is not a multiple of the ranks."""
        if batch < 1 or batch % world_size or not 0 <= rank < world_size:
            raise InputError(f"batch of {batch} for rank {rank} of {world_size}; expected a multiple of the ranks")
        self.shards, self.batch_size, self.frames, self.seed = shards, batch, tuple(frames), seed
        self.rank, self.world_size = rank, world_size

    def numbers(self, step: int) -> list[int]:
        """Which clips the whole batch of a step holds, over all ranks."""
        size = len(self.shards)
        places = range(step * self.batch_size, (step + 1) * self.batch_size)
        orders = {e: stream(Stream.TRAINING, self.seed, e, 0, 5).permutation(size) for e in {p // size for p in places}}
        return [int(orders[place // size][place % size]) for place in places]

    def batch(self, step: int) -> Clip:
        """This rank's clips [b, f] of a step; the number of frames and their order are drawn.

        Raises InputError for clips of different sizes, or with too few frames.
        """
        frames = int(stream(Stream.TRAINING, self.seed, step, 0, 6).choice(np.array(self.frames)))
        share = self.batch_size // self.world_size
        clips = []
        for place, number in list(enumerate(self.numbers(step)))[self.rank * share : (self.rank + 1) * share]:
            sample = self.shards[number]
            if len(sample.clip) < frames:
                raise InputError(f"clip {sample.key} of {len(sample.clip)} frames; expected at least {frames}")
            order = stream(Stream.TRAINING, self.seed, step, place + 1, 6).permutation(len(sample.clip))
            clips.append(sample.clip.frames(torch.from_numpy(order[:frames])))
        sizes = {clip.cameras.hw for clip in clips}
        if len(sizes) != 1:
            raise InputError(f"clips of sizes {sorted(sizes)} in one batch; expected shards of one size")
        rows = torch.arange(len(clips) * frames).view(len(clips), frames)
        cameras = Cameras.cat([clip.cameras for clip in clips])[rows]
        return Clip(torch.stack([clip.rgb for clip in clips]), torch.stack([clip.depth for clip in clips]), cameras)
