"""What a reader of a report sees."""

import math
from pathlib import Path

import pytest
import torch

from geometry.errors import InputError
from geometry.io.images import read_image
from worldgen.evaluation.metrics.intervals import interval
from worldgen.evaluation.report import markdown, write_report
from worldgen.evaluation.sets.orbit import OrbitEvaluation
from worldgen.pipelines.novel_views import Sampling
from worldgen.runtime.config import plain

CONFIG = OrbitEvaluation("tabletop", 0, 3, 16, 2, (1,), 2, {"narrow": 14.0})


@pytest.fixture
def report() -> dict:
    """Two methods, one spread; one figure is missing and one was never measured."""
    value = interval(torch.tensor([20.0, 20.0, 20.0]))
    methods = {
        "one call": {"psnr": value, "psnr_unseen": interval(torch.full((3,), math.nan))},
        "guess": {"ssim": value},
    }
    cell = {"seen_fraction": interval(torch.full((3,), 0.5)), "gain_db": {"over": "guess", **value}, "methods": methods}
    return {
        "evaluation": "orbit",
        "model": {"name": "thing", "weights_sha256": None},
        "sampling": plain(Sampling(steps=7)),
        "config": plain(CONFIG),
        "config_sha256": CONFIG.sha256,
        "spreads": {"narrow": {"half_angle_deg": 14.0, "sheet_columns": ["given (1)"], "given": {"1": cell}}},
    }


def test_every_figure_stands_in_its_column_and_a_missing_one_is_a_dash(report: dict) -> None:
    rows = [line.strip("| ").split(" | ") for line in markdown(report).splitlines() if line.startswith("|")]
    table = rows[rows.index(next(row for row in rows if "method" in row)) :]
    titled = [dict(zip(table[0], row)) for row in table[2:]]
    assert titled[0]["PSNR dB"] == "20.00 [20.00, 20.00]" and titled[1]["SSIM"] == "20.000 [20.000, 20.000]"
    assert titled[0]["unseen dB"] == titled[0]["SSIM"] == titled[1]["PSNR dB"] == "–"
    assert ["narrow", "1", "0.50 [0.50, 0.50]", "guess", "20.00 [20.00, 20.00]"] in rows


def test_a_report_says_how_it_was_made(report: dict) -> None:
    text = markdown(report)
    for words in ("`thing`", "3 held-out tabletop scenes", "7 euler steps", "no learned features", CONFIG.sha256):
        assert words in text


def test_a_failure_leaves_no_folder(tmp_path: Path, report: dict) -> None:
    with pytest.raises(ValueError):
        write_report(tmp_path / "new", report | {"bad": math.nan}, {}, {})
    assert list(tmp_path.iterdir()) == []


def test_an_old_folder_is_left_as_it_is(tmp_path: Path, report: dict) -> None:
    (tmp_path / "old").mkdir()
    with pytest.raises(InputError, match="expected a new folder"):
        write_report(tmp_path / "old", report, {}, {})
    assert list((tmp_path / "old").iterdir()) == []


def test_each_sheet_is_linked_under_the_name_it_is_written_to(tmp_path: Path, report: dict) -> None:
    sheet = torch.rand(3, 12, 20).mul(255).round() / 255
    write_report(tmp_path / "deep" / "new", report, {}, {"narrow": sheet})
    folder = tmp_path / "deep" / "new"
    assert torch.equal(read_image(folder / "sheet-narrow.png"), sheet)
    assert "(sheet-narrow.png)" in (folder / "report.md").read_text("utf-8")
