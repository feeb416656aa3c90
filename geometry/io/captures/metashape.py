"""Cameras that Agisoft Metashape exported as XML, with the images in `images` beside the file, or in its folder.

Camera to chunk, OpenCV axes; the chunk's or component's transform takes that to the world. Principal points are offsets
from the middle of the image. P1 and P2 are OpenCV's p2 and p1.
"""

import math
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from geometry.camera.lenses import Lens, LensKind
from geometry.errors import InputError, note
from geometry.io.captures.posed import PosedImage, PosedImages, settled, whole_size
from geometry.io.entries import listed_file, number, rigid_rows
from geometry.io.files import read_file
from geometry.shapes import Float
from geometry.similarity import Similarity

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

_MAX_BYTES = 200_000_000
_KINDS = {"frame": LensKind.OPENCV, "fisheye": LensKind.FISHEYE, "spherical": LensKind.EQUIRECTANGULAR}
_READ = ("f", "fx", "fy", "cx", "cy", "b1", "k1", "k2", "k3", "k4", "p1", "p2")
_REFUSED = ("b2", "p3", "p4")
_Sensor = tuple[int, tuple[int, int], Float[torch.Tensor, "3 3"], Lens | None]


def is_metashape(path: Path) -> bool:
    """Whether a file is XML that begins as Metashape's does."""
    if path.suffix.lower() != ".xml" or not path.is_file():
        return False
    with path.open("rb") as file:
        head = file.read(4096)
    return b"<document" in head and b"<chunk" in head


def read_metashape(path: Path | str, need_images: bool = True, skip_missing: bool = False) -> PosedImages:
    """Read the cameras of a Metashape chunk.

    Args:
        path: the XML file.
        need_images: whether every image must be there, in the size the file says or resized from it.
        skip_missing: leave images out that are missing, and say so in a note.

    Returns:
        The images in the order of the file; those that were not aligned are left out, with a note. Their world is that
        of the chunk's transform, where it has one.

    Raises:
        InputError: the file is not such XML, holds entities, lacks something, or has a lens that is not ours.
    """
    path = Path(path)
    root = _parsed(path)
    chunks = root.findall("chunk")
    chunk = next((c for c in chunks if c.find("cameras") is not None), None)
    if chunk is None:
        raise InputError(f"{path}: no chunk with cameras; expected cameras that Metashape exported")
    if chunks[1:]:
        note(f"{path}: {len(chunks)} chunks; only the first with cameras is read")
    sensors = {
        str(sensor.get("id")): sensor for sensor in chunk.iterfind("sensors/sensor") if sensor.get("id") is not None
    }
    moves = {str(c.get("id")): _move(c, path) for c in chunk.iterfind("components/component")}
    whole, lenses, frames, lost = _move(chunk, path), {}, [], 0
    folders = [f.resolve() for f in (path.parent / "images", path.parent)]
    for camera in chunk.iter("camera"):
        label = str(camera.get("label"))
        where = f"{path}: camera {label[:80]}"
        matrix, number_of = camera.findtext("transform"), str(camera.get("sensor_id"))
        if matrix is None:
            lost += 1
            continue
        if number_of not in sensors:
            raise InputError(f"{where}: sensor {number_of}; expected one of the file's")
        if number_of not in lenses:
            lenses[number_of] = _sensor(sensors[number_of], len(lenses), f"{path}: sensor {number_of}")
        view, hw, K, lens = lenses[number_of]
        values = _numbers(matrix, 16, where)
        pose = rigid_rows([values[n : n + 4] for n in (0, 4, 8, 12)], where)
        image = next((found for f in folders if (found := listed_file(f, label, where)) is not None), None)
        move = moves.get(str(camera.get("component_id"))) or whole
        frame = PosedImage(label if image is None else image.name, image, pose, K, hw, lens, view=view)
        frames.append(frame if move is None else frame.moved(move))
    if not frames:
        raise InputError(f"{path}: no aligned cameras; expected at least one with a transform")
    if lost:
        note(f"{path}: {lost} cameras are not aligned and left out")
    return PosedImages(settled(frames, str(path), folders[0], need_images, skip_missing))


def _parsed(path: Path) -> "Element":
    """The document, without entities: none is read that could grow or fetch something."""
    from xml.etree.ElementTree import ParseError, fromstring

    try:
        text = read_file(path, "XML of Metashape", _MAX_BYTES).decode("utf-8-sig")
        if "<!DOCTYPE" in text or "<!ENTITY" in text:
            raise InputError(f"{path}: XML with a document type or entities; expected cameras of Metashape")
        return fromstring(text)
    except (UnicodeDecodeError, ParseError, ValueError, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: not XML in UTF-8; expected cameras that Metashape exported") from error


def _numbers(text: str | None, count: int, where: str) -> list[float]:
    words = (text or "").split()
    try:
        values = [number(float(word), where) for word in words]
    except ValueError as error:
        raise InputError(f"{where}: {str(text)[:40]!r}; expected {count} finite numbers") from error
    if len(values) != count:
        raise InputError(f"{where}: {len(values)} numbers; expected {count}")
    return values


def _move(part: "Element", path: Path) -> Similarity | None:
    """What takes a chunk or component to the world; None where it says nothing."""
    found = part.find("transform")
    if found is None or not len(found):
        return None
    turn, shift, scale = (found.findtext(key) for key in ("rotation", "translation", "scale"))
    where = f"{path}: transform of {part.tag}"
    rotation = torch.eye(4, dtype=torch.float64)
    if turn is not None:
        values = _numbers(turn, 9, where)
        rotation = rigid_rows([[*values[n : n + 3], 0.0] for n in (0, 3, 6)], where)
    translation = [0.0] * 3 if shift is None else _numbers(shift, 3, where)
    size = 1.0 if scale is None else _numbers(scale, 1, where)[0]
    return Similarity(
        torch.tensor(size, dtype=torch.float64), rotation[:3, :3], torch.tensor(translation, dtype=torch.float64)
    )


def _sensor(sensor: "Element", view: int, where: str) -> _Sensor:
    kind = _KINDS.get(str(sensor.get("type", "frame")))
    if kind is None:
        raise InputError(f"{where}: type {sensor.get('type')}; expected one of {', '.join(_KINDS)}")
    size = sensor.find("resolution")
    sides = [None, None] if size is None else [float(size.get(key) or "nan") for key in ("height", "width")]
    hw, none = whole_size(sides, where), torch.zeros(0, dtype=torch.float64)
    if kind == LensKind.EQUIRECTANGULAR:
        K = [[hw[1] / math.tau, 0, hw[1] / 2], [0, hw[0] / math.pi, hw[0] / 2], [0, 0, 1]]
        return view, hw, torch.tensor(K, dtype=torch.float64), Lens.of(kind, none)
    calibration = next((c for c in sensor.iterfind("calibration") if c.get("class") != "initial"), None)
    calibration = sensor.find("calibration") if calibration is None else calibration
    if calibration is None:
        raise InputError(f"{where}: no calibration; expected one")
    texts = {key: calibration.findtext(key) for key in (*_READ, *_REFUSED)}
    value = {key: 0.0 if text is None else _numbers(text, 1, f"{where}: {key}")[0] for key, text in texts.items()}
    refused = [*_REFUSED, *(("p1", "p2") if kind == LensKind.FISHEYE else ("k4",))]
    if wrong := [key for key in refused if value[key]]:
        raise InputError(f"{where}: {wrong[0]} is not 0; expected f, cx, cy, b1, k1 to k3, p1 and p2 only")
    fx, fy = value["fx"] or value["f"], value["fy"] or value["f"]
    if not (fx + value["b1"] > 0 and fy > 0):
        raise InputError(f"{where}: focal lengths {fx:g} {fy:g}; expected more than 0 pixels")
    K = [[fx + value["b1"], 0, hw[1] / 2 + value["cx"]], [0, fy, hw[0] / 2 + value["cy"]], [0, 0, 1]]
    names = ("k1", "k2", "k3", "k4") if kind == LensKind.FISHEYE else ("k1", "k2", "p2", "p1", "k3")
    numbers = torch.tensor([value[name] for name in names], dtype=torch.float64)
    bent = kind == LensKind.FISHEYE or bool(numbers.any())
    return view, hw, torch.tensor(K, dtype=torch.float64), Lens.of(kind, numbers) if bent else None
