"""The student's benchmark."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from benchmarks import student
from benchmarks.shared.report import Report
from worldgen.models.world_model import WorldModel
from worldgen.pipelines.novel_views import Sampling
from worldgen.sampling.defaults import SamplingDefaults


def test_sharpness_is_that_of_edges_and_none_in_a_plain_image() -> None:
    torch.manual_seed(0)
    rgb = torch.rand(2, 1, 3, 8, 8)
    rgb[1] = 0.3
    found = student.sharpness(rgb)
    blurred = torch.nn.functional.avg_pool2d(rgb[0], 3, 1, 1)
    assert found[0] == pytest.approx(1 / 3, rel=0.2) and found[1] == 0  # the mean distance of two uniform numbers
    assert student.sharpness(blurred[None])[0] < 0.5 * found[0]


def test_every_contestant_is_set_beside_the_full_sample(tmp_path: Path, monkeypatch, capsys) -> None:
    few = Sampling(2, 1.0)
    chosen = {"full": Sampling(2, 1.5), "same": Sampling(2, 1.4999), "few": few}
    model = WorldModel.load("tiny")
    monkeypatch.setattr(student, "contestants", lambda *_: {name: (model, how) for name, how in chosen.items()})
    arguments = ["student", "--student", "tiny", "--scenes", "2", "--output", str(tmp_path / "out")]
    monkeypatch.setattr("sys.argv", arguments)
    assert student.main() == 0  # the "student" is nearly the full sample itself
    (table,) = Report.read(tmp_path / "out" / "report.json").tables
    assert [row[0] for row in table.rows] == ["full", "same", "few"]
    assert [row[1] for row in table.rows] == [4, 4, 2]
    same, few_off = (abs(row[3]["mean"] or 0) for row in table.rows if isinstance(row[3], dict))
    assert same < 0.02 < few_off
    assert "| few | 2 |" in capsys.readouterr().out
    assert (tmp_path / "out" / "sheet.png").stat().st_size > 1000
    assert student.main() == 2 and "out" in capsys.readouterr().err


def test_a_student_s_own_steps_are_what_it_is_compared_in() -> None:
    few, full = WorldModel.load("tiny"), WorldModel.load("tiny")
    few = replace(few, config=replace(few.config, sampling=SamplingDefaults(3, 1.0)))
    found = student.contestants(few, full)
    assert [model is few for model, _ in found.values()] == [False, True, False, False, False]
    settings = [(how.steps, how.guidance) for _, how in found.values()]
    assert settings == [(20, 1.5), (3, 1.0), (3, 1.0), (3, 1.5), (20, 1.0)]
