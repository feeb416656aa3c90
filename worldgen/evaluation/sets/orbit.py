"""`worldgen evaluate orbit`: a few images of held-out tabletops in, new views and depth out, beside the truth."""

from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from geometry.camera.cameras import Cameras
from geometry.errors import InputError
from worldgen.core.clip import Clip
from worldgen.evaluation.metrics.control import RenderedScenes
from worldgen.evaluation.sets.evaluation_set import Part, SetInfo, Truth
from worldgen.runtime.config import digest
from worldgen.runtime.rng import Stream, stream
from worldgen.scenes.cameras.viewpoints import NUMBERS, ring
from worldgen.scenes.families.tabletop import tabletop
from worldgen.scenes.rendering.renderer import render


@dataclass(frozen=True)
class OrbitSet:
    """Held-out tabletops seen from arcs of several widths, a part each (`configs/evaluate_orbit.yaml`).

    Attributes:
        family: Of the scenes; tabletop.
        seed: Of the series of held-out scenes, which training never draws from.
        scenes: How many.
        size_px: Side of the frames.
        supersample: Rays per pixel and axis.
        given: Numbers of known images to evaluate with; the targets are the same for each.
        targets: New views a scene.
        spreads_deg: Half angle of the arc the cameras stand on, by name; the order of the names is part of the set.
    """

    family: str
    seed: int
    scenes: int
    size_px: int
    supersample: int
    given: tuple[int, ...]
    targets: int
    spreads_deg: dict[str, float]

    def __post_init__(self) -> None:
        if self.family != "tabletop":
            raise InputError(f"scenes of family {self.family!r}; expected tabletop")
        if min(self.scenes, self.targets, self.size_px, self.supersample, *self.given, len(self.given)) < 1:
            raise InputError(
                f"{self.scenes} scenes with {list(self.given)} given and {self.targets} target images of "
                f"{self.size_px} px, {self.supersample} rays a pixel and axis; expected at least 1 of each"
            )
        wrong = [name for name in self.spreads_deg if not name.isidentifier()]
        if wrong or not self.spreads_deg:
            raise InputError(f"spreads named {wrong or 'not at all'}; expected plain words, which name files")

    @property
    def sha256(self) -> str:
        """The hash of the values: figures compare only where it is the same."""
        return digest(self)

    @property
    def info(self) -> SetInfo:
        """What a report states about the set."""
        rays = f"{self.supersample}x{self.supersample}"
        description = (
            f"- {self.scenes} held-out {self.family} scenes (seed {self.seed}) of {self.size_px} px, {rays} rays a "
            f"pixel. Given: images with their cameras, no depth. Predicted: {self.targets} new views a scene, the same "
            "for every number given, and all depth."
        )
        return SetInfo("orbit", "spreads", "spread", self.size_px, self, description, self.seed, loops=True)

    def parts(self) -> list[Part]:
        """A part for each spread."""
        frames = range(max(self.given) + self.targets)
        order, targets = tuple(frames[: max(self.given)]), tuple(frames[max(self.given) :])
        return [
            Part(
                spread, partial(self.truth, spread), self.scenes, order, targets, self.given,
                about=f"cameras within ±{half_angle_deg:g}°", facts={"half_angle_deg": half_angle_deg},
            )
            for spread, half_angle_deg in self.spreads_deg.items()
        ]  # fmt: skip

    def truth(self, spread: str) -> Truth:
        """The frames of one spread and the scenes they show.

        Args:
            spread: A name in `spreads_deg`.

        Returns:
            Clips [scenes, max(given) + targets]: the first k frames are given, the last are the targets. Rendered on
            the CPU, whatever device is evaluated, so that the set is the same.
        """
        scene = tabletop(self.seed, list(range(self.scenes)), held_out=True)
        return Truth(render(scene, self._cameras(spread), self.supersample), RenderedScenes(scene, self.supersample))

    def clip(self, spread: str) -> Clip:
        """The frames of one spread alone (`truth`)."""
        return self.truth(spread).clip

    def _cameras(self, spread: str) -> Cameras:
        """Cameras from streams of their own for each (scene, spread, role), so that a larger `given`, more scenes or
        another spread at the end of the list leave all other cameras as they were."""
        place = 1 + list(self.spreads_deg).index(spread)  # 0 would be the scene's own stream
        per_scene, per_frame = [], []
        for scene in range(self.scenes):
            given, targets = (stream(Stream.HELD_OUT_SCENES, self.seed, scene, place, role) for role in (0, 1))
            per_scene.append(given.random(NUMBERS))
            frames = [given.random((max(self.given), NUMBERS)), targets.random((self.targets, NUMBERS))]
            per_frame.append(np.concatenate(frames))
        for_scenes, for_frames = (torch.from_numpy(np.stack(draws)).float() for draws in (per_scene, per_frame))
        angles = torch.full((self.scenes,), self.spreads_deg[spread])
        return ring(for_scenes, for_frames, angles, (self.size_px, self.size_px))
