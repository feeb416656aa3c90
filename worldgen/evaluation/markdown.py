"""A report as readable tables: report.md."""

from collections.abc import Iterable, Mapping, Sequence

from worldgen.evaluation.metrics.control import CameraControl
from worldgen.evaluation.metrics.image import FAR_M
from worldgen.evaluation.metrics.intervals import RESAMPLES, Figure, Figures
from worldgen.evaluation.metrics.loops import Loops
from worldgen.evaluation.predictions import first_call
from worldgen.evaluation.report import COMPARED, ModelFacts, PartResult, Report

Columns = Mapping[str, tuple[str, int]]  # title and digits by figure

_IMAGES: Columns = {
    "psnr": ("PSNR dB", 2),
    "psnr_seen": ("seen dB", 2),
    "psnr_unseen": ("unseen dB", 2),
    "ssim": ("SSIM", 3),
    "sharpness": ("sharpness", 2),
    "flip": ("FLIP", 3),
    "looked_up": ("looked up", 2),
    "abs_rel": ("AbsRel", 3),
    "delta": ("δ < 1.25", 3),
    "given_abs_rel": ("AbsRel, given", 3),
    "given_delta": ("δ < 1.25, given", 3),
    "agreement": ("agreement", 3),
}
_CONSISTENCY: Columns = {
    "reprojection_db": ("reprojection dB", 2),
    "reprojection_below_db": ("dB below the truth's", 2),
    "reprojection_share": ("share of the way to it", 2),
    "shift_px": ("shift px", 2),
    "epipolar_px": ("epipolar px", 2),
    "tsed": ("TSED", 2),
}
_CONTROL: Columns = {
    "rot_deg": ("rotation °", 3),
    "rot_median_deg": ("median °", 3),
    "rot_p90_deg": ("p90 °", 3),
    "trans_m": ("translation m", 3),
    "rot_err": ("RotErr", 3),
    "trans_err": ("TransErr", 3),
    "cam_mc": ("CamMC", 3),
}
_LOOPS: Columns = {
    "psnr_quarter": ("a quarter round, dB", 2),
    "psnr_half": ("half round, dB", 2),
    "revisit_psnr": ("revisit PSNR dB", 2),
    "revisit_ssim": ("revisit SSIM", 3),
}
_DEPTHS = (
    " Seen: the surface is visible to some given camera, by true depth. AbsRel and δ: true depths up to "
    f"{FAR_M:g} m, no alignment, predicted sky counts as {FAR_M:g} m; *given*: depth of the given images. Agreement: "
    "how much of each other's pixels the given and the new images explain by the predicted depth; the truth's own is "
    "below 1, not all is seen twice."
)
_SHARPNESS = (
    "- PSNR likes blur, so sharpness stands beside it: the energy of an image's fine detail (what a Gaussian of 1/64 "
    "of the height takes away) over the truth's, on {}; 1 = as sharp, noise and jagged edges have more. "
    "FLIP (`pip install 'worldgen[evaluate]'`): how different an image looks when flipped with the truth, at 67 pixels "
    "a degree, 0 = equal. Looked up: share of the pixels that come from the given images."
)
_ORACLES = (
    " Oracle and depth baselines use the given images' true depth, which the model is never given; the backward warp "
    "uses the new view's too."
)
_DIFFERENCES = (
    "Means over scenes of the other model's figure minus the first model's, scene by scene, with intervals of the "
    "differences: without 0 in it, the difference is more than the choice of scenes."
)


def markdown(report: Report) -> str:
    """The report as readable tables."""
    parts, noun = report.parts, report.info.part_noun
    sections = [
        f"# {report.info.name.capitalize()} evaluation of `{report.model.name}`",
        _protocol(report),
        f"Weights {_weights(report.model)}, in {report.model.precision}; config sha256 `{report.config_sha256}`: "
        "figures compare only between reports of the same config.",
        *(f"Beside it `{other.name}`, weights {_weights(other)}." for other in report.other_models),
        *(_enlarged(model, report.info.size_px) for model in (report.model, *report.other_models) if model.enlarged_px),
        *(f"Skipped: {reason}." for reason in report.info.skipped or ()),
        "## Gain of one network call over the best baseline without learning",
        _gains(parts, noun),
    ]
    if report.other_models:
        sections += [f"## Differences to `{report.model.name}`", _DIFFERENCES, _differences(parts, noun)]
    sections += _consistency(parts, noun) + _control(parts, noun)
    if report.loops is not None:
        sections += _loops(report.loops)
    for part in parts:
        sections += _part(part)
    return "\n\n".join(sections) + "\n"


def table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [titles, ["---"] * len(titles), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def cell(figure: Figure | None, digits: int) -> str:
    """A figure as text: an interval as `mean [low, high]`, a dash where there is none."""
    if isinstance(figure, int | float):
        return f"{figure:.{digits}f}"
    if figure is None or figure.mean is None:
        return "–"
    low, high = (f"{end:.{digits}f}" if end is not None else "–" for end in (figure.low, figure.high))
    return f"{figure.mean:.{digits}f} [{low}, {high}]"


def sheet_name(part: str) -> str:
    """The file of a part's contact sheet."""
    return f"sheet-{part}.png"


def _weights(model: ModelFacts) -> str:
    return f"sha256 `{model.weights_sha256 or 'not from a file'}`"


def _enlarged(model: ModelFacts, size_px: int) -> str:
    return (
        f"Enlarged: `{model.name}` makes frames of {model.enlarged_px} px. It is given the images shrunk to that "
        f"(means of pixels); its images and inverse depth are enlarged to {size_px} px (bicubic)."
    )


def _cells(figures: Figures, columns: Columns) -> list[str]:
    return [cell(figures.get(name), digits) for name, (_, digits) in columns.items()]


def _titles(columns: Columns) -> list[str]:
    return [title for title, _ in columns.values()]


def _protocol(report: Report) -> str:
    sampling, unit = report.sampling, report.parts[0].unit
    exact = any(result.seen_fraction is not None for part in report.parts for result in part.given.values())
    lines = [
        report.info.description,
        "- Formulas over pixels, no learned features; PSNR and SSIM (11x11 Gaussian windows) are means over images."
        + _DEPTHS * exact,
        _SHARPNESS.format("the seen pixels but for their borders" if exact else "all pixels"),
        "- One call: the network's estimate from pure noise. Full sample: "
        f"{sampling.steps} {sampling.solver} steps, guidance {sampling.guidance:g}, seed {sampling.seed}. "
        f"Brackets: 95% bootstrap intervals over {unit} ({RESAMPLES} resamples)." + _ORACLES * exact,
    ]
    return "\n".join(lines)


def _gains(parts: Sequence[PartResult], noun: str) -> str:
    rows = [(part.name, given, result) for part in parts for given, result in part.given.items()]
    has_seen = any(result.seen_fraction is not None for *_, result in rows)
    columns = {name: _IMAGES[name] for name in ("psnr", "sharpness")}
    titles = _titles(columns)
    return table(
        [
            noun, "given", *(["seen share of pixels"] if has_seen else []), *(f"one call: {title}" for title in titles),
            "best baseline without learning", *(f"its {title}" for title in titles), "gain dB",
        ],
        [
            [
                name, str(given), *([cell(result.seen_fraction, 2)] if has_seen else []),
                *_cells(result.methods[first_call(result.methods)], columns), result.gain.over,
                *_cells(result.methods[result.gain.over], columns), cell(result.gain.db, 2),
            ]
            for name, given, result in rows
        ],
    )  # fmt: skip


def _differences(parts: Sequence[PartResult], noun: str) -> str:
    columns = {name: column for name, column in _IMAGES.items() if name in COMPARED}
    rows = [
        [part.name, str(given), method, *_cells(differences, columns)]
        for part in parts
        for given, result in part.given.items()
        for method, differences in result.against_first.items()
    ]
    return table([noun, "given", "method", *_titles(columns)], rows)


def _middle(part: PartResult) -> int:
    given = sorted(part.given)
    return given[len(given) // 2]


def _consistency(parts: Sequence[PartResult], noun: str) -> list[str]:
    having = [part for part in parts if part.consistency]
    if not having:
        return []
    rows = [
        [part.name, method, *_cells(figures, _CONSISTENCY)]
        for part in having
        for method, figures in part.consistency.items()
    ]
    return [
        "## Do the new views agree with each other?",
        f"With {_middle(having[0])} images given, by true depth and pose. Reprojection: PSNR of one new view warped "
        "into another, over what both see; its share is 0 for another scene's images and 1 for the true ones. Shift: "
        "how far from its true place a 7x7 patch at a corner matches best, within 4 px a side. Epipolar: symmetric "
        "distance of that match to the true line; TSED: share of pairs with at least 10 matches whose median distance "
        "is at most 2 px. Blur agrees with everything: the row mean's reprojection is good, its matches are not.",
        table([noun, "method", *_titles(_CONSISTENCY)], rows),
    ]


def _control(parts: Sequence[PartResult], noun: str) -> list[str]:
    having: list[tuple[PartResult, CameraControl]] = [(p, p.camera_control) for p in parts if p.camera_control]
    if not having:
        return []
    rows = [
        [part.name, method, *_cells(figures, _CONTROL)]
        for part, control in having
        for method, figures in control.methods.items()
    ]
    part, first = having[0]
    protocols = sorted({control.protocol for _, control in having} - {""})
    return [
        "## Camera control",
        f"With {_middle(part)} images given, poses of the new views of {first.scenes} scenes, recovered by rendering "
        "the true scene and comparing, started at the target camera. Floor: the same on true images, started 2° and "
        "0.08 m off. Copy nearest: what images from another camera measure, if the search gets there. "
        f"RotErr, TransErr, CamMC: {'; '.join(protocols) or 'of clips that move'}.",
        table([noun, "method", *_titles(_CONTROL)], rows),
    ]


def _loops(loops: Loops) -> list[str]:
    rows = [
        [how, method, *_cells(figures, _LOOPS)]
        for how, methods in loops.methods.items()
        for method, figures in methods.items()
    ]
    return [
        "## Once round and back",
        f"Closed orbits of {loops.scenes} scenes from one image. Revisit: the last view, at the camera of the "
        "image, against the image; the others against the truth.",
        table(["how", "method", *_titles(_LOOPS)], rows),
        f"![loops]({sheet_name('loops')})",
    ]


def _part(part: PartResult) -> list[str]:
    """A part's figures and its sheet, with the columns that any method has a figure for."""
    known = {name for result in part.given.values() for figures in result.methods.values() for name in figures}
    columns = {name: column for name, column in _IMAGES.items() if name in known}
    rows = [
        [str(given), method, *_cells(figures, columns)]
        for given, result in part.given.items()
        for method, figures in result.methods.items()
    ]
    return [
        f"## {part.name}{': ' * bool(part.about)}{part.about}",
        table(["given", "method", *_titles(columns)], rows),
        f"![{part.name}]({sheet_name(part.name)})",
        f"One {part.unit.removesuffix('s')} a row, depth bright when near. Columns: {', '.join(part.sheet_columns)}.",
    ]
