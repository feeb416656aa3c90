"""What a report shows its reader."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from geometry.errors import InputError
from geometry.io.images import read_image
from worldgen.evaluation.markdown import markdown
from worldgen.evaluation.metrics.intervals import Interval, interval
from worldgen.evaluation.report import Gain, GivenResult, ModelFacts, PartResult, Report
from worldgen.evaluation.run import write_report
from worldgen.evaluation.sets.orbit import OrbitSet
from worldgen.pipelines.novel_views import Sampling

SET = OrbitSet("tabletop", 0, 3, 16, 2, (1,), 2, {"narrow": 14.0})


@pytest.fixture
def report() -> Report:
    """Two methods, one spread; one figure is missing and one was never measured."""
    value = interval(torch.tensor([20.0, 20.0, 20.0]))
    result = GivenResult(
        seen_fraction=interval(torch.full((3,), 0.5)),
        gain=Gain("guess", value),
        methods={
            "one call": {"psnr": value, "sharpness": value, "psnr_unseen": interval(torch.full((3,), math.nan))},
            "guess": {"ssim": value, "looked_up": interval(torch.full((3,), 0.25))},
        },
        against_first={},
    )
    part = PartResult(
        "narrow", "cameras within ±14°", "scenes", {"half_angle_deg": 14.0}, {1: result}, {1: {"one call": 0.5}},
        ("given (1)",), torch.rand(3, 12, 20).mul(255).round() / 255, {}, None,
    )  # fmt: skip
    model = ModelFacts("thing", None, "fp32")
    return Report(SET.info, model, (), Sampling(steps=7), (part,), None, {"device": "cpu", "threads": 1})


def test_every_figure_stands_in_its_column_and_a_missing_one_is_a_dash(report: Report) -> None:
    rows = [line.strip("| ").split(" | ") for line in markdown(report).splitlines() if line.startswith("|")]
    table = rows[rows.index(next(row for row in rows if "method" in row)) :]
    titled = [dict(zip(table[0], row)) for row in table[2:]]
    assert titled[0]["PSNR dB"] == "20.00 [20.00, 20.00]" and titled[1]["SSIM"] == "20.000 [20.000, 20.000]"
    assert titled[0]["unseen dB"] == titled[0]["SSIM"] == titled[1]["PSNR dB"] == "–"
    assert titled[1]["looked up"] == "0.25 [0.25, 0.25]" and "FLIP" not in titled[0]


def test_whatever_is_best_has_its_psnr_and_sharpness_beside_it(report: Report) -> None:
    rows = [line.strip("| ").split(" | ") for line in markdown(report).splitlines() if line.startswith("|")]
    twenty = "20.00 [20.00, 20.00]"
    assert dict(zip(rows[0], rows[2])) == {
        "spread": "narrow", "given": "1", "seen share of pixels": "0.50 [0.50, 0.50]",
        "one call: PSNR dB": twenty, "one call: sharpness": twenty, "best baseline without learning": "guess",
        "its PSNR dB": "–", "its sharpness": "–", "gain dB": twenty,
    }  # fmt: skip


def test_a_report_states_how_it_was_made(report: Report) -> None:
    text = markdown(report)
    for words in ("`thing`", "3 held-out tabletop scenes", "7 euler steps", "no learned features", SET.sha256):
        assert words in text


def test_the_plain_report_has_every_figure_under_its_key(report: Report) -> None:
    plain = report.plain()
    assert list(plain) == ["evaluation", "model", "sampling", "config", "config_sha256", "spreads"]
    assert plain["model"] == {"name": "thing", "weights_sha256": None}
    part = plain["spreads"]["narrow"]
    assert list(part) == ["half_angle_deg", "sheet_columns", "given"]
    twenty = {"mean": 20.0, "low": 20.0, "high": 20.0, "scenes": 3}
    assert list(part["given"]["1"]) == ["seen_fraction", "gain_db", "methods"]
    assert part["given"]["1"]["gain_db"] == {"over": "guess", **twenty}
    quarter = {"mean": 0.25, "low": 0.25, "high": 0.25, "scenes": 3}
    assert part["given"]["1"]["methods"]["guess"] == {"ssim": twenty, "looked_up": quarter}
    half = replace(report, model=ModelFacts("thing", "abc", "bf16"), other_models=(ModelFacts("x", None, "fp32"),))
    assert half.plain()["model"] == {"name": "thing", "weights_sha256": "abc", "precision": "bf16"}
    assert half.plain()["other_models"] == [{"name": "x", "weights_sha256": None}]
    small = replace(report, model=ModelFacts("thing", None, "fp32", 8))
    assert small.plain()["model"] == {"name": "thing", "weights_sha256": None, "enlarged_px": 8}
    assert "Enlarged: `thing` makes frames of 8 px." in markdown(small) and "Enlarged" not in markdown(report)
    assert report.timings()["seconds_per_clip_and_step"] == {"narrow": {"1": {"one call": 0.5}}}


def test_a_failure_leaves_no_folder(tmp_path: Path, report: Report) -> None:
    nan = Interval(math.nan, math.nan, math.nan, 1)
    result = replace(report.parts[0].given[1], seen_fraction=nan)
    with pytest.raises(ValueError):
        write_report(tmp_path / "new", replace(report, parts=(replace(report.parts[0], given={1: result}),)))
    assert list(tmp_path.iterdir()) == []


def test_an_old_folder_is_left_as_it_is(tmp_path: Path, report: Report) -> None:
    write_report(tmp_path / "old", report)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "old").iterdir()}
    with pytest.raises(InputError, match="expected a new or empty folder"):
        write_report(tmp_path / "old", report)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "old").iterdir()} == before


def test_each_sheet_is_linked_under_the_name_it_is_written_to(tmp_path: Path, report: Report) -> None:
    write_report(tmp_path / "deep" / "new", report)
    folder = tmp_path / "deep" / "new"
    assert torch.equal(read_image(folder / "sheet-narrow.png"), report.parts[0].sheet)
    assert "(sheet-narrow.png)" in (folder / "report.md").read_text("utf-8")
