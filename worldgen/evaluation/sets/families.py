"""`worldgen evaluate families`: held-out scenes of every family, recorded by the cameras that suit them."""

from dataclasses import dataclass
from functools import partial

from geometry.errors import InputError
from worldgen.evaluation.metrics.control import RenderedScenes
from worldgen.evaluation.sets.evaluation_set import Part, SetInfo, Truth
from worldgen.runtime.config import digest
from worldgen.scenes.cameras.sampling import ClipSpec
from worldgen.scenes.families.family import FAMILIES, draw, views
from worldgen.scenes.rendering.renderer import render


@dataclass(frozen=True)
class FamiliesSet:
    """Held-out scenes of several families, a part each (`configs/evaluate_families.yaml`).

    Attributes:
        families: Of scenes.
        seed: Of the series of held-out scenes, which training never draws from.
        scenes: A family.
        size_px: Side of the frames.
        supersample: Rays per pixel and axis.
        frames: Of a clip, as `worldgen.scenes.families.family.views` records it: every frame at its own time.
        fps: Frames a second.
        given: Numbers of known images to evaluate with; the targets are the same for each.
        given_frames: The clip's frames in the order in which they are given.
        target_frames: The clip's frames that are predicted.
    """

    families: tuple[str, ...]
    seed: int
    scenes: int
    size_px: int
    supersample: int
    frames: int
    fps: float
    given: tuple[int, ...]
    given_frames: tuple[int, ...]
    target_frames: tuple[int, ...]

    def __post_init__(self) -> None:
        unknown = [name for name in self.families if name not in FAMILIES]
        if unknown or not self.families or len(set(self.families)) != len(self.families):
            raise InputError(f"families {list(self.families)}; expected some of {', '.join(FAMILIES)}, each once")
        if min(self.scenes, self.size_px, self.supersample, *self.given, len(self.given)) < 1 or not self.fps > 0:
            raise InputError(
                f"{self.scenes} scenes with {list(self.given)} given images of {self.size_px} px, {self.supersample} "
                f"rays a pixel and axis, {self.fps} frames a second; expected at least 1 of each"
            )
        used = [*self.given_frames, *self.target_frames]
        if (
            max(self.given) > len(self.given_frames)
            or not self.target_frames
            or len(set(used)) != len(used)
            or not set(used) <= set(range(self.frames))
        ):
            raise InputError(
                f"frames {list(self.given_frames)} given and {list(self.target_frames)} predicted of {self.frames}; "
                f"expected different ones below {self.frames}, at least {max(self.given)} given and 1 predicted"
            )

    @property
    def sha256(self) -> str:
        """The hash of the values: figures compare only where it is the same."""
        return digest(self)

    @property
    def info(self) -> SetInfo:
        """What a report states about the set."""
        rays = f"{self.supersample}x{self.supersample}"
        description = (
            f"- {self.scenes} held-out scenes a family (seed {self.seed}) of {self.size_px} px, {rays} rays a pixel, "
            f"recorded by the family's own cameras: {self.frames} frames at {self.fps:g} a second. Given: frames "
            f"{list(self.given_frames)} in this order, with their cameras, no depth. Predicted: frames "
            f"{list(self.target_frames)} at their own times, and all depth. Oracles and *seen* take the world for "
            "still. Where all cameras of a clip are in one place, its depths are in units of the first image's nearest "
            "quarter."
        )
        return SetInfo("families", "families", "family", self.size_px, self, description, self.seed)

    def parts(self) -> list[Part]:
        """A part for each family."""
        return [
            Part(
                family, partial(self.truth, family), self.scenes, self.given_frames, self.target_frames, self.given,
                near_far_m=FAMILIES[family].near_far_m,
            )
            for family in self.families
        ]  # fmt: skip

    def truth(self, family: str) -> Truth:
        """The clips of one family and the scenes they show.

        Args:
            family: A name in `families`.

        Returns:
            Clips [scenes, frames], each frame at its own time, rendered on the CPU. A scene and its cameras do not
            depend on how many others there are.
        """
        numbers = list(range(self.scenes))
        scene = draw(family, self.seed, numbers, held_out=True)
        spec = ClipSpec(self.frames, self.fps, (self.size_px, self.size_px))
        cameras = views(family, scene, self.seed, numbers, True, spec)
        return Truth(render(scene, cameras, self.supersample), RenderedScenes(scene, self.supersample))
