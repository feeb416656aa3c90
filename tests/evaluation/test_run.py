"""A set from outside the package is evaluated as the package's own are."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from geometry.camera.cameras import Cameras
from geometry.errors import InputError, Note
from geometry.trajectory.paths import orbit
from tests.runtime.told import Told, assert_whole
from worldgen.core.clip import Clip
from worldgen.evaluation import Part, SetInfo, SpatialMetrics, Truth, evaluate
from worldgen.evaluation.baselines import BLIND, ORACLES
from worldgen.evaluation.predictions import ONE
from worldgen.models.world_model import WorldModel
from worldgen.pipelines.novel_views import Sampling

FRAMES, TWO_STEPS = 5, Sampling(steps=2)


def clips(count: int) -> Clip:
    """Random clips [count, 5] with depth, cameras on a circle."""
    cameras = Cameras.from_fov(orbit(torch.zeros(3), 2.0, 20.0, FRAMES), 50.0, (16, 16))
    generator = torch.Generator().manual_seed(0)
    rgb = torch.rand(count, FRAMES, 3, 16, 16, generator=generator)
    depth = 1.5 + torch.rand(count, FRAMES, 1, 16, 16, generator=generator)
    return Clip(rgb, depth, cameras[None][[0] * count])


@dataclass(frozen=True)
class Walls:
    """A set of one's own."""

    seed: int = 3
    names: tuple[str, ...] = ("brick", "plaster")

    @property
    def info(self) -> SetInfo:
        return SetInfo("walls", "walls", "wall", 16, self, f"- Walls of seed {self.seed}.", self.seed)

    def parts(self) -> list[Part]:
        return [
            Part(name, lambda: Truth(clips(2)), 2, (0, 2), (1, 3), (1, 2), about="a wall", facts={"height_m": 2.5})
            for name in self.names
        ]


@dataclass(frozen=True)
class Photos:
    """A set of views made one by one, without depth."""

    @property
    def info(self) -> SetInfo:
        return SetInfo("photos", "albums", "album", 16, self, "- Photos.")

    def parts(self) -> Sequence[Part]:
        one = clips(1)
        bare = Truth(replace(one, depth=torch.zeros_like(one.depth)))
        return (Part("a", lambda: bare, 3, (4, 0), (1, 2, 3), (1, 2), exact=False, by_view=True),)


def test_a_set_from_outside_gets_every_figure_and_a_report(tmp_path: Path, model: WorldModel) -> None:
    told: Told = []
    report = evaluate(
        Walls(), model, TWO_STEPS, full=["brick"], spatial=SpatialMetrics(consistency=True), output=tmp_path / "out",
        progress=lambda *at: told.append(at),
    )  # fmt: skip
    assert_whole(told)
    assert {"brick", "plaster"} & {stage.split()[0] for _, stage in told}
    plain = json.loads((tmp_path / "out" / "report.json").read_text("utf-8"))
    assert plain == report.plain() and plain["evaluation"] == "walls" and plain["walls"]["brick"]["height_m"] == 2.5
    assert plain["config"] == {"seed": 3, "names": ["brick", "plaster"]}
    methods = report.part("plaster").given[2].methods
    swept = {"plane sweep", "plane sweep, soft", "plane warp, blurred"}
    assert set(methods) == {ONE, *BLIND, *swept, *ORACLES, "constant depth", "row depth"}
    assert set(report.part("plaster").consistency) >= {ONE, "row mean"}
    text = (tmp_path / "out" / "report.md").read_text("utf-8")
    for words in ("# Walls evaluation", "- Walls of seed 3.", "| wall | given |", "## brick: a wall", "true depth"):
        assert words in text
    assert (tmp_path / "out" / "sheet-plaster.png").is_file()


def test_views_without_depth_are_predicted_one_by_one_and_compared_as_images(model: WorldModel) -> None:
    report = evaluate(Photos(), model, TWO_STEPS)
    for given, result in report.part("a").given.items():
        swept = {"plane sweep", "plane sweep, soft", "plane warp, blurred"} if given > 1 else set()
        assert set(result.methods) == {ONE, *BLIND, *swept} and result.seen_fraction is None, given
        assert {figure.scenes for figures in result.methods.values() for figure in figures.values()} == {3}  # type: ignore[union-attr]
    assert list(report.timings())[-1] == "seconds_per_view_and_step"
    assert report.part("a").sheet_columns[0] == "given, in their order (1)"


@dataclass(frozen=True)
class Cracked(Walls):
    """A set of which one wall cannot be loaded."""

    cracked: str = "plaster"

    def parts(self) -> list[Part]:
        def load() -> Truth:
            raise RuntimeError("it fell down")

        return [replace(part, load=load) if part.name == self.cracked else part for part in super().parts()]


def test_a_part_that_fails_later_is_left_out_and_what_is_finished_is_kept(tmp_path: Path, model: WorldModel) -> None:
    names = ("brick", "plaster", "wood")
    with pytest.warns(Note, match="wall plaster is left out: RuntimeError it fell down"):
        report = evaluate(Cracked(names=names), model, TWO_STEPS, output=tmp_path / "out")
    plain = json.loads((tmp_path / "out" / "report.json").read_text("utf-8"))
    assert list(plain["walls"]) == ["brick", "wood"] and plain["skipped"] == ["plaster: RuntimeError it fell down"]
    assert "Skipped: plaster: RuntimeError it fell down." in (tmp_path / "out" / "report.md").read_text("utf-8")
    whole = evaluate(Walls(names=names), model, TWO_STEPS).plain()["walls"]
    assert report.plain()["walls"] == {name: whole[name] for name in ("brick", "wood")}
    with pytest.raises(RuntimeError, match="it fell down"):
        evaluate(Cracked(names=names, cracked="brick"), model, TWO_STEPS, output=tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_the_model_s_own_sampling_is_the_default(model: WorldModel) -> None:
    report = evaluate(Photos(), model)
    assert report.sampling == Sampling.of(model)


def test_sets_that_cannot_be_evaluated_are_refused(model: WorldModel) -> None:
    with pytest.raises(InputError, match="each of another name"):
        evaluate(Walls(names=("brick", "brick")), model)
    with pytest.raises(InputError, match="at least one"):
        evaluate(Walls(names=()), model)
    with pytest.raises(InputError, match="loops are of tabletops"):
        evaluate(Walls(), model, spatial=SpatialMetrics(loop_scenes=1))
    with pytest.raises(InputError, match="samples for wall 'straw'; expected some of brick, plaster"):
        evaluate(Walls(), model, full=["straw"])


@pytest.mark.parametrize(
    "change",
    [{"name": "../up"}, {"given": ()}, {"given": (0,)}, {"given": (3,)}, {"targets": ()}, {"targets": (2,)}],
)  # fmt: skip
def test_a_part_that_makes_no_sense_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="expected"):
        replace(Walls().parts()[0], **change)
