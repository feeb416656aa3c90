"""An evaluation as a folder: `report.json`, `report.md`, `timings.json` and a contact sheet for each of its parts."""

import json
from pathlib import Path
from typing import Any

from torch import Tensor

from geometry.io.images import write_png
from worldgen.evaluation.comparison import COMPARED
from worldgen.evaluation.metrics.image import FAR_M
from worldgen.evaluation.metrics.intervals import RESAMPLES
from worldgen.runtime.atomic_dir import new_folder

_COLUMNS = {
    "psnr": ("PSNR dB", 2),
    "psnr_seen": ("seen dB", 2),
    "psnr_unseen": ("unseen dB", 2),
    "ssim": ("SSIM", 3),
    "abs_rel": ("AbsRel", 3),
    "delta": ("δ < 1.25", 3),
    "given_abs_rel": ("AbsRel, given", 3),
    "given_delta": ("δ < 1.25, given", 3),
    "agreement": ("agreement", 3),
}
# What each kind of evaluation is made of: the key of its parts in a report, and what one of them is called.
_PARTS = {"orbit": ("spreads", "spread"), "families": ("families", "family"), "captures": ("captures", "capture")}


def write_report(output: Path, report: dict[str, Any], timings: dict[str, Any], sheets: dict[str, Tensor]) -> None:
    """Write a new folder, whole or not at all. The same evaluation gives the same bytes, but for timings.json.

    sheets  [3, h, w] by the name of the part

    Raises InputError when the folder exists or cannot be written.
    """
    with new_folder(output) as folder:
        for name, data in (("report.json", report), ("timings.json", timings)):
            text = json.dumps(data, indent=2, allow_nan=False, ensure_ascii=False)
            (folder / name).write_text(text + "\n", encoding="utf-8")
        (folder / "report.md").write_text(markdown(report), encoding="utf-8")
        for part, sheet in sheets.items():
            write_png(folder / _sheet_name(part), sheet)


def markdown(report: dict[str, Any]) -> str:
    """The report as readable tables."""
    model, kind = report["model"], report["evaluation"]
    key, called = _PARTS[kind]
    parts = [
        f"# {kind.capitalize()} evaluation of `{model['name']}`",
        _protocol(report),
        f"Weights sha256 `{model['weights_sha256'] or 'not from a file'}`, in {model.get('precision', 'fp32')}; "
        f"config sha256 `{report['config_sha256']}`: figures compare only between reports of the same config.",
        *(f"Beside it `{rival['name']}`, weights sha256 `{rival['weights_sha256'] or 'not from a file'}`."
          for rival in report.get("rivals", ())),
        *(f"Skipped: {reason}." for reason in report.get("skipped", ())),
        "## Gain of one network call over the best blind baseline",
        _gains(report[key], called),
    ]  # fmt: skip
    if "rivals" in report:
        parts += [f"## Differences to `{model['name']}`", _DIFFERENCES, _differences(report[key], called)]
    for spatial, section in _SPATIAL.items():
        having = {name: part for name, part in report[key].items() if spatial in part}
        parts += section(having, called) if having else []
    if "loops" in report:
        parts += _loops(report["loops"])
    for name, part in report[key].items():
        rows = [
            [str(given), method, *(_cell(figures.get(figure), digits) for figure, (_, digits) in _shown(part).items())]
            for given, cell in part["given"].items()
            for method, figures in cell["methods"].items()
        ]
        parts += [
            f"## {name}{_about(kind, part)}",
            table(["given", "method", *(title for title, _ in _shown(part).values())], rows),
            f"![{name}]({_sheet_name(name)})",
            f"One scene a row, depth bright when near. Columns: {', '.join(part['sheet_columns'])}.",
        ]
    return "\n\n".join(parts) + "\n"


_DIFFERENCES = (
    "Means over scenes of the other model's figure minus the first model's, scene by scene, with intervals of the "
    "differences: without 0 in it, the difference is more than the choice of scenes."
)


def _about(kind: str, part: dict[str, Any]) -> str:
    if kind == "orbit":
        return f": cameras within ±{part['half_angle_deg']:g}°"
    if kind == "captures":
        return f": {part['format']} of {part['images']} images"
    return ""


def _shown(part: dict[str, Any]) -> dict[str, tuple[str, int]]:
    """The columns that any method of a part has a figure for."""
    known = {name for cell in part["given"].values() for figures in cell["methods"].values() for name in figures}
    return {name: column for name, column in _COLUMNS.items() if name in known}


def _protocol(report: dict[str, Any]) -> str:
    sampling, kind = report["sampling"], report["evaluation"]
    scenes = "views" if kind == "captures" else "scenes"
    lines = [
        _SETS[kind](report["config"]),
        "- Formulas over pixels, no learned features; PSNR and SSIM (11x11 Gaussian windows) are means over images."
        + (_DEPTHS if kind != "captures" else ""),
        "- One call: the network's estimate from pure noise. Full sample: "
        f"{sampling['steps']} {sampling['solver']} steps, guidance {sampling['guidance']:g}, seed {sampling['seed']}. "
        f"Brackets: 95% bootstrap intervals over {scenes} ({RESAMPLES} resamples)."
        + (_ORACLES if kind != "captures" else ""),
    ]
    return "\n".join(lines)


_DEPTHS = (
    " Seen: the surface is visible to some given camera, by true depth. AbsRel and δ: true depths up to "
    f"{FAR_M:g} m, no alignment, predicted sky counts as {FAR_M:g} m; *given*: depth of the given images. Agreement: "
    "how much of each other's pixels the given and the new images explain by the predicted depth; the truth's own is "
    "below 1, not all is seen twice."
)
_ORACLES = (
    " Oracle and depth baselines use the given images' true depth, which the model never sees; the backward warp "
    "uses the new view's too."
)


def _orbit_set(config: dict[str, Any]) -> str:
    rays = f"{config['supersample']}x{config['supersample']}"
    return (
        f"- {config['scenes']} held-out {config['family']} scenes (seed {config['seed']}) of {config['size_px']} px, "
        f"{rays} rays a pixel. Given: images with their cameras, no depth. Asked: {config['targets']} new views a "
        "scene, the same for every number given, and all depth."
    )


def _families_set(config: dict[str, Any]) -> str:
    rays = f"{config['supersample']}x{config['supersample']}"
    return (
        f"- {config['scenes']} held-out scenes a family (seed {config['seed']}) of {config['size_px']} px, {rays} rays "
        f"a pixel, recorded by the family's own cameras: {config['frames']} frames at {config['fps']:g} a second. "
        f"Given: frames {config['given_frames']} in this order, with their cameras, no depth. Asked: frames "
        f"{config['target_frames']} at their own times, and all depth. Oracles and *seen* take the world for still. "
        "Where all cameras of a clip are in one place, its depths are in units of the first image's nearest quarter."
    )


def _captures_set(config: dict[str, Any]) -> str:
    return (
        f"- Images made square ({config['fit']}) and {config['size_px']} px in size; the given ones are spread over "
        "the capture (each next one is the farthest from those before), the rest are held out, as many as "
        f"{config['most_views']} spread alike. Each is made by itself from the nearest given images that fit the "
        "model beside it; the baselines see all given ones."
    )


_SETS = {"orbit": _orbit_set, "families": _families_set, "captures": _captures_set}


def _gains(parts: dict[str, Any], called: str) -> str:
    has_seen = any("seen_fraction" in cell for part in parts.values() for cell in part["given"].values())
    rows = [
        [
            name,
            given,
            *([_cell(cell["seen_fraction"], 2)] if has_seen else []),
            cell["gain_db"]["over"],
            _cell(cell["gain_db"], 2),
        ]
        for name, part in parts.items()
        for given, cell in part["given"].items()
    ]
    seen = ["seen share of pixels"] if has_seen else []
    return table([called, "given", *seen, "best blind baseline", "gain dB"], rows)


def _differences(parts: dict[str, Any], called: str) -> str:
    figures = {name: column for name, column in _COLUMNS.items() if name in COMPARED}
    rows = [
        [name, given, method, *(_cell(differences.get(figure), digits) for figure, (_, digits) in figures.items())]
        for name, part in parts.items()
        for given, cell in part["given"].items()
        for method, differences in cell["against_first"].items()
    ]
    return table([called, "given", "method", *(title for title, _ in figures.values())], rows)


def _middle(parts: dict[str, Any]) -> str:
    given = sorted(int(number) for number in next(iter(parts.values()))["given"])
    return str(given[len(given) // 2])


def _consistency(parts: dict[str, Any], called: str) -> list[str]:
    columns = {
        "reprojection_db": ("reprojection dB", 2),
        "reprojection_below_db": ("dB below the truth's", 2),
        "reprojection_share": ("share of the way to it", 2),
        "shift_px": ("shift px", 2),
        "epipolar_px": ("epipolar px", 2),
        "tsed": ("TSED", 2),
    }
    rows = [
        [name, method, *(_cell(figures.get(figure), digits) for figure, (_, digits) in columns.items())]
        for name, part in parts.items()
        for method, figures in part["consistency"].items()
    ]
    return [
        "## Do the new views agree with each other?",
        f"With {_middle(parts)} images given, by true depth and pose. Reprojection: PSNR of one new view warped into "
        "another, over what both see; its share is 0 for another scene's images and 1 for the true ones. Shift: how "
        "far from its true place a 7x7 patch at a corner matches best, within 4 px a side. Epipolar: symmetric "
        "distance of that match to the true line; TSED: share of pairs with at least 10 matches whose median distance "
        "is at most 2 px. Blur agrees with everything: the row mean's reprojection is good, its matches are not.",
        table([called, "method", *(title for title, _ in columns.values())], rows),
    ]


def _control(parts: dict[str, Any], called: str) -> list[str]:
    columns = {
        "rot_deg": ("rotation °", 3),
        "rot_median_deg": ("median °", 3),
        "rot_p90_deg": ("p90 °", 3),
        "trans_m": ("translation m", 3),
        "rot_err": ("RotErr", 3),
        "trans_err": ("TransErr", 3),
        "cam_mc": ("CamMC", 3),
    }
    rows = [
        [name, method, *(_cell(figures.get(figure), digits) for figure, (_, digits) in columns.items())]
        for name, part in parts.items()
        for method, figures in part["camera_control"]["methods"].items()
    ]
    control = next(iter(parts.values()))["camera_control"]
    protocols = sorted({part["camera_control"]["protocol"] for part in parts.values()} - {""})
    return [
        "## Do cameras go where they are told?",
        f"With {_middle(parts)} images given, poses of the new views of {control['scenes']} scenes, recovered by "
        "rendering the true scene and comparing, started at the camera asked for. Floor: the same on true images, "
        "started 2° and 0.08 m off. Copy nearest: what images from another camera measure, if the search gets there. "
        f"RotErr, TransErr, CamMC: {'; '.join(protocols) or 'of clips that move'}.",
        table([called, "method", *(title for title, _ in columns.values())], rows),
    ]


_SPATIAL = {"consistency": _consistency, "camera_control": _control}


def _loops(loops: dict[str, Any]) -> list[str]:
    columns = {
        "psnr_quarter": ("a quarter round, dB", 2),
        "psnr_half": ("half round, dB", 2),
        "revisit_psnr": ("revisit PSNR dB", 2),
        "revisit_ssim": ("revisit SSIM", 3),
    }
    rows = [
        [how, method, *(_cell(figures.get(figure), digits) for figure, (_, digits) in columns.items())]
        for how, methods in loops["methods"].items()
        for method, figures in methods.items()
    ]
    return [
        "## Once round and back",
        f"Closed orbits of {loops['scenes']} scenes from one image. Revisit: the last view, at the camera of the "
        "image, against the image; the others against the truth.",
        table(["how", "method", *(title for title, _ in columns.values())], rows),
        f"![loops]({_sheet_name('loops')})",
    ]


def _cell(figure: Any, digits: int) -> str:
    if isinstance(figure, float):
        return f"{figure:.{digits}f}"
    if figure is None or figure["mean"] is None:
        return "–"
    low, high = (f"{figure[end]:.{digits}f}" if figure[end] is not None else "–" for end in ("low", "high"))
    return f"{figure['mean']:.{digits}f} [{low}, {high}]"


def table(titles: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    lines = [titles, ["---"] * len(titles), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _sheet_name(part: str) -> str:
    return f"sheet-{part}.png"
