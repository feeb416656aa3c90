"""The held-out sets of every family, and their evaluation from end to end with a model that knows nothing."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from geometry.errors import InputError
from tests.models.tiny import tiny_model
from worldgen.evaluation.comparison import Geometry
from worldgen.evaluation.predictions import FULL, ONE
from worldgen.evaluation.sets import families
from worldgen.evaluation.sets.families import FamiliesEvaluation, evaluate_families, family_set
from worldgen.models.world_model import WorldModel
from worldgen.pipelines.novel_views import Sampling
from worldgen.runtime.config import load

SMALL = FamiliesEvaluation(("tabletop", "physics"), 0, 2, 16, 1, 4, 4.0, (1, 2), (0, 3), (1, 2))
# Of each family of the reports, scene 0: the first and last cameras' centers summed, and their images' mean colors.
MARKS = {
    "tabletop": [3.9705, -4.251, 2.2907, 0.6999, 0.7936, 0.7015, 0.7168, 0.8197, 0.7056],
    "room": [2.0216, 1.1435, 3.2483, 0.5556, 0.4509, 0.3305, 0.5631, 0.4642, 0.3352],
    "street": [19.1303, -0.0242, 2.9419, 0.3414, 0.2717, 0.2616, 0.3301, 0.2644, 0.25],
    "physics": [-6.3919, 6.5353, 5.2891, 0.5459, 0.4276, 0.4468, 0.5484, 0.4291, 0.4448],
    "texture_soup": [8.5482, -0.0496, 5.003, 0.7585, 0.7629, 0.7532, 0.7235, 0.7278, 0.7086],
}


@pytest.fixture(scope="module")
def frozen(root: Path) -> FamiliesEvaluation:
    """The evaluation of every report."""
    return load(FamiliesEvaluation, root / "configs" / "evaluate_families.yaml")


def test_the_sets_of_the_reports_are_frozen(frozen: FamiliesEvaluation) -> None:
    assert frozen.sha256 == "97db2762dd3727ec2b640877e18ef7d66598194629c41da7743f6aeaee3e2ffd", (
        "configs/evaluate_families.yaml has changed: figures would no longer compare with any report made before"
    )


def test_their_images_are_frozen_too(frozen: FamiliesEvaluation) -> None:
    marks = {}
    for family in frozen.families:
        _, clip = family_set(replace(frozen, scenes=1), family)
        ends = clip[0].frames([0, -1])
        marks[family] = torch.cat([ends.cameras.centers.sum(0), ends.rgb.mean((-2, -1)).flatten()])
    wrong = [name for name, mark in marks.items() if not torch.allclose(mark, torch.tensor(MARKS[name]), atol=1e-3)]
    assert not wrong, (
        "scenes, cameras or shading have changed: figures would no longer compare with any report made before: "
        f"{[(name, [round(float(x), 4) for x in marks[name]]) for name in wrong]}"
    )


@pytest.mark.parametrize("family", SMALL.families)
def test_more_scenes_leave_what_was_there_and_every_frame_has_its_time(family: str) -> None:
    _, small = family_set(replace(SMALL, scenes=1), family)
    _, large = family_set(SMALL, family)
    assert torch.equal(small.cameras.world_from_camera, large.cameras.world_from_camera[:1])
    assert torch.allclose(small.rgb, large.rgb[:1], atol=1e-5)
    if family == "physics":
        assert torch.allclose(large.cameras.time_s, torch.arange(4) / 4.0)


def test_every_family_and_number_given_has_its_figures(tmp_path: Path, model: WorldModel) -> None:
    steps: list[tuple[int, int]] = []
    report = evaluate_families(
        model, SMALL, Sampling(steps=2), tmp_path / "out", lambda *at: steps.append(at), ("tabletop",), {"same": model},
        Geometry(consistency=True),
    )  # fmt: skip
    total = 2 * 2 * (3 + 1)
    assert steps == [(i + 1, total) for i in range(total)]
    for family, part in report["families"].items():
        for given in "12":
            cell = part["given"][given]
            assert set(cell["methods"]) >= {ONE, f"{ONE}: same", "copy nearest", "backward warp (oracle)"}
            assert (FULL in cell["methods"]) == (family == "tabletop")
            for difference in cell["against_first"].values():
                assert difference["psnr"] == {"mean": 0.0, "low": 0.0, "high": 0.0, "scenes": 2}
        assert set(part["consistency"]) >= {"true images (floor)", ONE, f"{ONE}: same"}
    assert report["rivals"] == [{"name": "same", "weights_sha256": None}]
    files = {path.name for path in (tmp_path / "out").iterdir()}
    assert files == {"report.json", "report.md", "timings.json", "sheet-tabletop.png", "sheet-physics.png"}
    text = (tmp_path / "out" / "report.md").read_text("utf-8")
    for words in ("# Families evaluation", "## Differences to `tiny test`", "## Do the new views agree", "## physics"):
        assert words in text


def test_depth_has_a_unit_even_where_the_camera_stands_still(model: WorldModel, monkeypatch) -> None:
    scene, clip = family_set(SMALL, "physics")
    poses = clip.cameras.world_from_camera[:, :1].expand(-1, 4, 4, 4)
    still = replace(clip, cameras=replace(clip.cameras, world_from_camera=poses))
    monkeypatch.setattr(families, "family_set", lambda *_: (scene, still))
    report = evaluate_families(model, replace(SMALL, families=("physics",)), Sampling(steps=2))
    figures = report["families"]["physics"]["given"]["1"]["methods"][ONE]
    assert all(figure["mean"] is not None for name, figure in figures.items() if "unseen" not in name)


def test_bad_requests_are_refused_before_any_work(tmp_path: Path, model: WorldModel, monkeypatch) -> None:
    monkeypatch.setattr(families, "family_set", lambda *_: pytest.fail("work was begun"))
    (tmp_path / "old").mkdir()
    two = Sampling(steps=2)
    with pytest.raises(InputError, match="expected a new folder"):
        evaluate_families(model, SMALL, two, tmp_path / "old")
    with pytest.raises(InputError, match="expected the same size"):
        evaluate_families(
            model, SMALL, two, other_models={"large": WorldModel.create(replace(tiny_model(), size_px=24))}
        )
    with pytest.raises(InputError, match="samples for family 'room'"):
        evaluate_families(model, SMALL, two, sampled=("room",))
    with pytest.raises(InputError, match="loops are of tabletops"):
        evaluate_families(model, SMALL, two, geometry=Geometry(loop_scenes=1))
    with pytest.raises(InputError, match="expected 0 or more"):
        Geometry(pose_scenes=-1)


@pytest.mark.parametrize(
    "change",
    [{"families": ("moon",)}, {"families": ()}, {"families": ("room", "room")}, {"scenes": 0}, {"given": ()},
     {"given": (3,)}, {"given_frames": (0, 1)}, {"target_frames": ()}, {"target_frames": (1, 4)}, {"fps": 0.0}],
)  # fmt: skip
def test_sets_that_make_no_sense_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="expected"):
        replace(SMALL, **change)
