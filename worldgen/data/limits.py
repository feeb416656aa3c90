"""How captures become clips, and the limits of what is kept: the options of `worldgen curate`."""

from dataclasses import dataclass, field

from geometry.errors import InputError


@dataclass(frozen=True)
class Limits:
    """The limits of what is kept. Lengths in pixels are on copies whose longer side is 256.

    Attributes:
        max_blur: 0 (sharp) to 1 (Crete et al. 2007).
        min_contrast: Standard deviation of the luminance.
        min_brightness: Mean luminance.
        max_brightness: Mean luminance.
        min_likeness: Correlation of neighboring video frames; less, without matching features, is a cut.
        max_residual_px: Median symmetric epipolar distance of matched features under the given cameras.
        max_jump: Distance from one video frame's camera to the next, over the median distance.
        min_motion: Distance that features move through a clip, in shares of the side; less is a still.
        max_motion: Distance that features move from one video frame to the next; more is too fast.
    """

    max_blur: float = 0.6
    min_contrast: float = 0.03
    min_brightness: float = 0.04
    max_brightness: float = 0.97
    min_likeness: float = 0.5
    max_residual_px: float = 2.0
    max_jump: float = 20.0
    min_motion: float = 0.005
    max_motion: float = 0.25

    def __post_init__(self) -> None:
        if not (0 <= self.min_brightness < self.max_brightness <= 1 and min(self.max_residual_px, self.max_jump) > 0):
            raise InputError(f"{self}; expected 0 <= min_brightness < max_brightness <= 1 and positive limits")


@dataclass(frozen=True)
class Curation:
    """How captures become clips.

    Attributes:
        size_px: Side of the square frames.
        frames: Frames of a clip.
        every: Take every n-th image of each camera.
        fit: How images become square: crop or pad.
        captures_per_shard: Captures that go into one tar; a resumed run repeats at most that many.
        skip_missing: Leave images out that a capture names and that are missing, instead of dropping the capture.
        limits: What is kept.
    """

    size_px: int = 64
    frames: int = 8
    every: int = 1
    fit: str = "crop"
    captures_per_shard: int = 32
    skip_missing: bool = False
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        if not (self.size_px >= 8 and self.frames >= 2 and self.every >= 1 and self.captures_per_shard >= 1):
            raise InputError(
                f"clips of {self.frames} frames of {self.size_px} px, every {self.every}; "
                "expected at least 2 frames of 8 px, every 1"
            )
        if self.fit not in ("crop", "pad"):
            raise InputError(f"fit {self.fit!r}; expected crop or pad")
