"""An evaluation as a folder: `report.json`, `report.md`, `timings.json` and a contact sheet for each spread."""

import json
from pathlib import Path
from typing import Any

from torch import Tensor

from geometry.io.images import write_png
from worldgen.evaluation.image import FAR_M
from worldgen.evaluation.intervals import RESAMPLES
from worldgen.folders import whole_folder

_COLUMNS = {
    "psnr": ("PSNR dB", 2),
    "psnr_seen": ("seen dB", 2),
    "psnr_unseen": ("unseen dB", 2),
    "ssim": ("SSIM", 3),
    "abs_rel": ("AbsRel", 3),
    "delta": ("δ < 1.25", 3),
    "given_abs_rel": ("AbsRel, given", 3),
    "given_delta": ("δ < 1.25, given", 3),
}


def write_report(output: Path, report: dict[str, Any], timings: dict[str, Any], sheets: dict[str, Tensor]) -> None:
    """Write a new folder, whole or not at all. The same evaluation gives the same bytes, but for timings.json.

    sheets  [3, h, w] by spread

    Raises InputError when the folder exists or cannot be written.
    """
    with whole_folder(output) as folder:
        for name, data in (("report.json", report), ("timings.json", timings)):
            text = json.dumps(data, indent=2, allow_nan=False, ensure_ascii=False)
            (folder / name).write_text(text + "\n", encoding="utf-8")
        (folder / "report.md").write_text(markdown(report), encoding="utf-8")
        for spread, sheet in sheets.items():
            write_png(folder / _sheet_name(spread), sheet)


def markdown(report: dict[str, Any]) -> str:
    """The report as readable tables."""
    model = report["model"]
    parts = [
        f"# Orbit evaluation of `{model['name']}`",
        _protocol(report),
        f"Weights sha256 `{model['weights_sha256'] or 'not from a file'}`, "
        f"config sha256 `{report['config_sha256']}`; figures compare only between reports of the same config.",
        "## Gain of one network call over the best blind baseline",
        _gains(report["spreads"]),
    ]
    for spread, result in report["spreads"].items():
        rows = [
            [str(given), method, *(_cell(figures.get(key), digits) for key, (_, digits) in _COLUMNS.items())]
            for given, cell in result["given"].items()
            for method, figures in cell["methods"].items()
        ]
        parts += [
            f"## {spread}: cameras within ±{result['half_angle_deg']:g}°",
            _table(["given", "method", *(title for title, _ in _COLUMNS.values())], rows),
            f"![{spread}]({_sheet_name(spread)})",
            f"One scene a row, depth bright when near. Columns: {', '.join(result['sheet_columns'])}.",
        ]
    return "\n\n".join(parts) + "\n"


def _protocol(report: dict[str, Any]) -> str:
    config, sampling = report["config"], report["sampling"]
    rays = f"{config['supersample']}x{config['supersample']}"
    lines = [
        f"- {config['scenes']} held-out {config['family']} scenes (seed {config['seed']}) of {config['size_px']} px, "
        f"{rays} rays a pixel. Given: pictures with their cameras, no depth. Asked: {config['targets']} new views a "
        "scene, the same for every number given, and all depth.",
        "- Formulas over pixels, no learned features; PSNR and SSIM (11x11 Gaussian windows) are means over pictures. "
        "Seen: the surface is visible to some given camera, by true depth. AbsRel and δ: true depths up to "
        f"{FAR_M:g} m, no alignment, predicted sky counts as {FAR_M:g} m; *given*: depth of the given pictures.",
        "- One call: the network's estimate from pure noise. Full sample: "
        f"{sampling['steps']} {sampling['solver']} steps, guidance {sampling['guidance']:g}, seed {sampling['seed']}. "
        f"Brackets: 95% bootstrap intervals over scenes ({RESAMPLES} resamples). Oracle and depth baselines use "
        "the given pictures' true depth, which the model never sees.",
    ]
    return "\n".join(lines)


def _gains(spreads: dict[str, Any]) -> str:
    rows = [
        [spread, given, _cell(cell["seen_fraction"], 2), cell["gain_db"]["over"], _cell(cell["gain_db"], 2)]
        for spread, result in spreads.items()
        for given, cell in result["given"].items()
    ]
    return _table(["spread", "given", "seen share of pixels", "best blind baseline", "gain dB"], rows)


def _cell(figure: dict[str, Any] | None, digits: int) -> str:
    if figure is None or figure["mean"] is None:
        return "–"
    low, high = (f"{figure[end]:.{digits}f}" if figure[end] is not None else "–" for end in ("low", "high"))
    return f"{figure['mean']:.{digits}f} [{low}, {high}]"


def _table(titles: list[str], rows: list[list[str]]) -> str:
    lines = [titles, ["---"] * len(titles), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _sheet_name(spread: str) -> str:
    return f"sheet-{spread}.png"
