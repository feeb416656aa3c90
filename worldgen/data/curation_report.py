"""What a curation kept and dropped, and why: report.md, report.json and two sheets of images."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from geometry.errors import InputError
from geometry.image.framing import DETAIL, square
from geometry.io.files import write_file
from geometry.io.images import write_png
from worldgen.data.captures import Capture
from worldgen.runtime.contact_sheet import grid

_SHOWN, _COLUMNS, _THUMBNAIL_PX = 32, 8, 96


def write_curation_report(
    output: Path, captures: Sequence[Capture], records: list[dict[str, Any]], settings: Mapping[str, Any]
) -> dict[str, Any]:
    """Write the report of a curation's records, one a capture, into its folder. Returns what report.json holds.

    settings  of the curation, as plain data
    """
    images = [image for record in records for image in record["images"]]
    dropped = Counter(image["reason"].split(":")[0] for image in images if image["clip"] is None)
    report = {
        "captures": len(records),
        "unreadable": sum("unreadable" in record for record in records),
        "images": len(images),
        "kept": sum(image["clip"] is not None for image in images),
        "dropped": dict(dropped.most_common()),
        "clips": sum(len(record["clips"]) for record in records),
        "curation": dict(settings),
        "records": records,
    }
    write_file(output / "report.json", json.dumps(report, indent=1, allow_nan=False).encode())
    shown = {kind: _sheet(output / f"{kind}.png", captures, records, kind == "kept") for kind in ("kept", "dropped")}
    write_file(output / "report.md", _markdown(report, shown).encode())
    return report


def _sheet(path: Path, captures: Sequence[Capture], records: list[dict[str, Any]], kept: bool) -> list[str]:
    """Write a sheet of some images, evenly chosen; returns a line about each."""
    rows = [
        (capture, image)
        for capture, record in zip(captures, records)
        for image in record["images"]
        if (image["clip"] is not None) == kept
    ]
    rows = [rows[n * len(rows) // _SHOWN] for n in range(_SHOWN)] if len(rows) > _SHOWN else rows
    images: list[Tensor] = []
    lines: list[str] = []
    read: dict[str, Any] = {}
    for capture, image in rows:
        try:
            if capture.name not in read:
                read = {capture.name: {frame.file_path: frame for frame in capture.read().frames}}
            frame = read[capture.name][image["name"]].shrunk(DETAIL * _THUMBNAIL_PX)
            images.append(square(frame.read(), frame.camera, "crop", _THUMBNAIL_PX)[0])
        except (InputError, KeyError):  # gone since it was measured
            continue
        lines.append(f"{capture.name}: {image['name']}" + (f", {image['reason']}" if image["reason"] else ""))
    if images:
        tiles = [images[n : n + _COLUMNS] for n in range(0, len(images), _COLUMNS)]
        write_png(path, grid(tiles, enlarge=1))
    return lines


def _markdown(report: dict[str, Any], shown: dict[str, list[str]]) -> str:
    lines = [
        "# Curation", "",
        f"{report['captures']} captures ({report['unreadable']} unreadable), {report['images']} images: "
        f"{report['kept']} kept in {report['clips']} clips, {report['images'] - report['kept']} dropped.", "",
        "| why dropped | images |", "|---|---|", *(f"| {why} | {n} |" for why, n in report["dropped"].items()),
        "", "| capture | format | images | kept | clips | median epipolar residual, px | dropped for |",
        "|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    for record in report["records"]:
        images = record["images"]
        residuals = sorted(step["residual_px"] for step in record["steps"] if step["residual_px"] is not None)
        reasons = Counter(image["reason"].split(":")[0] for image in images if image["clip"] is None)
        why = record.get("unreadable") or ", ".join(f"{name} ({n})" for name, n in reasons.most_common())
        residual = f"{residuals[len(residuals) // 2]:.2f}" if residuals else ""
        kept = sum(image["clip"] is not None for image in images)
        cells = [record["name"], record["kind"], len(images), kept, len(record["clips"]), residual, why]
        lines.append("| " + " | ".join(str(cell).replace("|", "/") for cell in cells) + " |")
    for kind, about in shown.items():
        if about:
            lines += ["", f"## {kind.capitalize()}", "", f"![{kind}]({kind}.png)", "", "Row by row:", ""]
            lines += [f"{n}. {line}" for n, line in enumerate(about, 1)]
    return "\n".join(lines) + "\n"
