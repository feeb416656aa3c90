"""The held-out sets of every family, and their evaluation from end to end with a random model."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from geometry.errors import InputError
from tests.models.tiny import tiny_model
from tests.runtime.told import Told, assert_whole
from worldgen.evaluation.comparison import SpatialMetrics
from worldgen.evaluation.metrics.intervals import Interval
from worldgen.evaluation.predictions import FULL, ONE
from worldgen.evaluation.run import evaluate
from worldgen.evaluation.sets.families import FamiliesSet
from worldgen.models.world_model import WorldModel
from worldgen.pipelines.novel_views import Sampling
from worldgen.runtime.config import load

SMALL = FamiliesSet(("tabletop", "physics"), 0, 2, 16, 1, 4, 4.0, (1, 2), (0, 3), (1, 2))
# Of each family of the reports, scene 0: the first and last cameras' centers summed, and their images' mean colors.
MARKS = {
    "tabletop": [3.9705, -4.251, 2.2907, 0.6999, 0.7936, 0.7015, 0.7168, 0.8197, 0.7056],
    "room": [2.0216, 1.1435, 3.2483, 0.5556, 0.4509, 0.3305, 0.5631, 0.4642, 0.3352],
    "street": [19.1303, -0.0242, 2.9419, 0.3414, 0.2717, 0.2616, 0.3301, 0.2644, 0.25],
    "physics": [-6.3919, 6.5353, 5.2891, 0.5459, 0.4276, 0.4468, 0.5484, 0.4291, 0.4448],
    "texture_soup": [8.5482, -0.0496, 5.003, 0.7585, 0.7629, 0.7532, 0.7235, 0.7278, 0.7086],
}


@pytest.fixture(scope="module")
def frozen(root: Path) -> FamiliesSet:
    """The set of every report."""
    return load(FamiliesSet, root / "configs" / "evaluate_families.yaml")


def test_the_sets_of_the_reports_are_frozen(frozen: FamiliesSet) -> None:
    assert frozen.sha256 == "97db2762dd3727ec2b640877e18ef7d66598194629c41da7743f6aeaee3e2ffd", (
        "configs/evaluate_families.yaml has changed: figures would no longer compare with any report made before"
    )


def test_their_images_are_frozen_too(frozen: FamiliesSet) -> None:
    marks = {}
    for family in frozen.families:
        clip = replace(frozen, scenes=1).truth(family).clip
        ends = clip[0].frames([0, -1])
        marks[family] = torch.cat([ends.cameras.centers.sum(0), ends.rgb.mean((-2, -1)).flatten()])
    wrong = [name for name, mark in marks.items() if not torch.allclose(mark, torch.tensor(MARKS[name]), atol=1e-3)]
    assert not wrong, (
        "scenes, cameras or shading have changed: figures would no longer compare with any report made before: "
        f"{[(name, [round(float(x), 4) for x in marks[name]]) for name in wrong]}"
    )


@pytest.mark.parametrize("family", SMALL.families)
def test_more_scenes_leave_what_was_there_and_every_frame_has_its_time(family: str) -> None:
    small, large = (some.truth(family).clip for some in (replace(SMALL, scenes=1), SMALL))
    assert torch.equal(small.cameras.world_from_camera, large.cameras.world_from_camera[:1])
    assert torch.allclose(small.rgb, large.rgb[:1], atol=1e-5)
    if family == "physics":
        assert torch.allclose(large.cameras.time_s, torch.arange(4) / 4.0)


def test_every_family_and_number_given_has_its_figures(tmp_path: Path, model: WorldModel) -> None:
    told: Told = []
    report = evaluate(
        SMALL, model, Sampling(steps=2), other_models={"same": model}, full=("tabletop",),
        spatial=SpatialMetrics(consistency=True), output=tmp_path / "out", progress=lambda *at: told.append(at),
    )  # fmt: skip
    assert_whole(told, counted=False)  # cameras that stand still have no sweep
    assert [part.name for part in report.parts] == list(SMALL.families)
    for part in report.parts:
        for given in (1, 2):
            result = part.given[given]
            assert set(result.methods) >= {ONE, f"{ONE}: same", "copy nearest", "backward warp (oracle)"}
            assert (FULL in result.methods) == (part.name == "tabletop")
            for difference in result.against_first.values():
                assert difference["psnr"] == Interval(0.0, 0.0, 0.0, 2)
        assert set(part.consistency) >= {"true images (floor)", ONE, f"{ONE}: same"}
    assert report.plain()["other_models"] == [{"name": "same", "weights_sha256": None}]
    files = {path.name for path in (tmp_path / "out").iterdir()}
    assert files == {
        "manifest.json",
        "report.json",
        "report.md",
        "timings.json",
        "sheet-tabletop.png",
        "sheet-physics.png",
    }
    text = (tmp_path / "out" / "report.md").read_text("utf-8")
    for words in ("# Families evaluation", "## Differences to `tiny test`", "## Do the new views agree", "## physics"):
        assert words in text


def test_depth_has_a_unit_even_where_the_camera_stands_still(model: WorldModel, monkeypatch) -> None:
    truth = SMALL.truth("physics")
    poses = truth.clip.cameras.world_from_camera[:, :1].expand(-1, 4, 4, 4)
    still = replace(truth.clip, cameras=replace(truth.clip.cameras, world_from_camera=poses))
    monkeypatch.setattr(FamiliesSet, "truth", lambda *_: replace(truth, clip=still))
    report = evaluate(replace(SMALL, families=("physics",)), model, Sampling(steps=2))
    figures = report.part("physics").given[1].methods[ONE]
    for name, figure in figures.items():
        assert "unseen" in name or (isinstance(figure, Interval) and figure.mean is not None)


def test_bad_requests_are_refused_before_any_work(tmp_path: Path, model: WorldModel, monkeypatch) -> None:
    monkeypatch.setattr(FamiliesSet, "truth", lambda *_: pytest.fail("work was begun"))
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "mine.txt").write_text("mine")
    two = Sampling(steps=2)
    with pytest.raises(InputError, match="expected a new or empty folder"):
        evaluate(SMALL, model, two, output=tmp_path / "old")
    with pytest.raises(InputError, match="expected its size or a larger one"):
        evaluate(SMALL, model, two, other_models={"large": WorldModel.create(replace(tiny_model(), size_px=24))})
    with pytest.raises(InputError, match="samples for family 'room'"):
        evaluate(SMALL, model, two, full=("room",))
    with pytest.raises(InputError, match="loops are of tabletops"):
        evaluate(SMALL, model, two, spatial=SpatialMetrics(loop_scenes=1))
    with pytest.raises(InputError, match="expected 0 or more"):
        SpatialMetrics(pose_scenes=-1)


@pytest.mark.parametrize(
    "change",
    [{"families": ("moon",)}, {"families": ()}, {"families": ("room", "room")}, {"scenes": 0}, {"given": ()},
     {"given": (3,)}, {"given_frames": (0, 1)}, {"target_frames": ()}, {"target_frames": (1, 4)}, {"fps": 0.0}],
)  # fmt: skip
def test_sets_that_make_no_sense_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="expected"):
        replace(SMALL, **change)
