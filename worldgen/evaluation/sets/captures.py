"""`worldgen evaluate captures`: some images of a real capture in, its other views out."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from geometry.camera.cameras import Cameras
from geometry.errors import InputError
from geometry.image.framing import DETAIL, square
from geometry.io.captures.posed import near_origin
from geometry.values import as_value
from worldgen.core.clip import Clip
from worldgen.core.view_distance import spread_order
from worldgen.data.captures import Capture, find_captures, read_images
from worldgen.evaluation.sets.evaluation_set import Part, SetInfo, Truth
from worldgen.runtime.config import digest


@dataclass(frozen=True)
class CapturesConfig:
    """How captures are read and which views are predicted.

    Attributes:
        size_px: Side of the images.
        given: Numbers of images to give.
        most_views: Held-out views of a capture to predict at most, spread over it.
        fit: "crop" to the center square, or "pad" to a square by repeating the border.
        seed: Of the bootstrap.
    """

    size_px: int = 64
    given: tuple[int, ...] = (4, 8)
    most_views: int = 32
    fit: str = "crop"
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.size_px, self.most_views, *self.given, len(self.given)) < 1:
            raise InputError(
                f"{list(self.given)} images of {self.size_px} px given for {self.most_views} views; expected at "
                "least 1 of each"
            )
        if self.fit not in ("crop", "pad"):
            raise InputError(f"fit {self.fit!r}; expected crop or pad")

    @property
    def sha256(self) -> str:
        """The hash of the values: figures compare only where it is the same."""
        return digest(self)


@as_value
@dataclass(frozen=True)
class SquareCapture:
    """A capture's images as one clip [f] of squares, depth unknown, and their names."""

    name: str
    kind: str
    clip: Clip
    files: tuple[str, ...]


@as_value
@dataclass(frozen=True)
class CapturesSet:
    """Held-out views of real captures, a part each; there is no true depth, so only images are compared.

    Attributes:
        config: How they were read.
        captures: Those with enough images.
        skipped: Which ones have too few, and how many.
    """

    config: CapturesConfig
    captures: tuple[SquareCapture, ...]
    skipped: tuple[str, ...] = ()

    @staticmethod
    def read(config: CapturesConfig, sources: Sequence[Path]) -> "CapturesSet":
        """All captures in files and folders.

        Args:
            config: How to read them.
            sources: Files and folders (`worldgen.data.captures.find_captures`).

        Returns:
            The set. Captures of too few images beside others are skipped, and the report lists them.

        Raises:
            InputError: No capture is found, one is broken, two have one name, or all have too few images.
        """
        found = [capture for source in sources for capture in find_captures(Path(source))]
        names = [capture.name for capture in found]
        if len(set(names)) != len(names):
            raise InputError(f"captures {names}; expected each once")
        kept: list[SquareCapture] = []
        skipped: list[str] = []
        for capture in found:
            clip, files = read_capture(capture, config.size_px, config.fit)
            if len(clip) <= max(config.given):
                skipped.append(f"{capture.name}: {len(clip)} images, not more than the {max(config.given)} to be given")
            else:
                kept.append(SquareCapture(capture.name, capture.kind, clip, files))
        if not kept:
            raise InputError(f"nothing to evaluate ({'; '.join(skipped)}); expected more images, or a smaller `given=`")
        return CapturesSet(config, tuple(kept), tuple(skipped))

    @property
    def info(self) -> SetInfo:
        """What a report states about the set."""
        config = self.config
        description = (
            f"- Images made square ({config.fit}) and {config.size_px} px in size; the given ones are spread over the "
            "capture (each next one is the farthest from those before), the rest are held out, as many as "
            f"{config.most_views} spread alike. Each is predicted by itself from up to four nearest given images; the "
            "baselines use all given ones."
        )
        return SetInfo(
            "captures", "captures", "capture", config.size_px, config, description, config.seed, skipped=self.skipped
        )

    def parts(self) -> list[Part]:
        """A part for each capture. The held-out views are the same whatever is given."""
        return [self._part(capture) for capture in self.captures]

    def _part(self, capture: SquareCapture) -> Part:
        clip, files, most = capture.clip, capture.files, max(self.config.given)
        order = tuple(spread_order(clip.cameras))
        targets = tuple(sorted(order[most:][: self.config.most_views]))
        facts = {
            "format": capture.kind,
            "images": len(clip),
            "given_images": [files[i] for i in order[:most]],
            "held_out": [files[i] for i in targets],
        }
        return Part(
            capture.name, partial(_truth, clip), len(targets), order[:most], targets, self.config.given,
            about=f"{capture.kind} of {len(clip)} images", facts=facts, exact=False, by_view=True,
        )  # fmt: skip


def read_capture(capture: Capture, size_px: int, fit: str) -> tuple[Clip, tuple[str, ...]]:
    """A capture's images as one clip [f] of squares without lens distortion, depth unknown, and their names.

    Args:
        capture: What to read.
        size_px: Side of the squares.
        fit: "crop" to the center square, or "pad" to a square by repeating the border.

    Raises:
        InputError: The capture is broken.
    """
    images, _ = near_origin([image.shrunk(DETAIL * size_px) for image in capture.read().frames])
    pairs = []
    for image, rgb in zip(images, read_images(images)):
        flat, camera, _ = image.flattened(rgb)
        pairs.append(square(flat, camera, fit, size_px))
    cameras = Cameras.cat([camera[None] for _, camera in pairs])
    rgb = torch.stack([rgb for rgb, _ in pairs])
    return Clip(rgb, torch.zeros_like(rgb[:, :1]), cameras), tuple(image.file_path for image in images)


def _truth(clip: Clip) -> Truth:
    return Truth(Clip(clip.rgb[None], clip.depth[None], clip.cameras[None]))
