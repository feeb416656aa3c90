"""MTL: the colors (Kd) and textures (map_Kd) of an OBJ's materials.

Colors are sRGB, as viewers take them. A texture stands alone: what its material's Kd would tint is told in a note.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath, PureWindowsPath

from geometry.errors import InputError, note
from geometry.io.entries import confined
from geometry.io.files import read_file
from geometry.mesh.atlas import Wrap

_MAX_BYTES = 10_000_000
_HARMLESS = {  # for a surface's own color
    *("ka", "ks", "ns", "ni", "illum", "tf", "sharpness", "pr", "pm", "ps", "pc", "pcr", "aniso", "anisor"),
    *("map_ka", "map_ks", "map_ns", "map_bump", "bump", "norm", "disp", "decal", "refl"),
    *("map_pr", "map_pm", "map_ps", "map_aat"),
}
_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_OPTION = re.compile(rf"-(?P<name>[a-z]+)(?P<values>(?:\s+{_NUMBER}(?=\s))+|\s+\S+)\s+", re.IGNORECASE)
_IDLE = {"blendu", "blendv", "cc", "texres", "bm", "boost", "imfchan", "type"}


@dataclass
class Material:
    """What an MTL says of a material.

    Attributes:
        color: Kd, sRGB in 0..1, or None.
        texture: the name of map_Kd's file, or None.
        scale: by which positions (u, v) are multiplied, by option -s.
        offset: that is then added to them, by option -o.
        wrap: what is beyond the texture, by option -clamp.
        left: what else it shows, in words.
    """

    color: tuple[float, float, float] | None = None
    texture: str | None = None
    scale: tuple[float, float] = (1.0, 1.0)
    offset: tuple[float, float] = (0.0, 0.0)
    wrap: Wrap = "repeat"
    left: list[str] = field(default_factory=list)


def materials(path: Path, libraries: list[str], used: list[str]) -> dict[str, Material]:
    """The materials of an OBJ by their names; those that no library has are told in a note, and are empty."""
    found: dict[str, Material] = {}
    for library in libraries:
        names = [library] if beside(path, library) is not None else library.split()
        for name in names:
            if (place := beside(path, name)) is None:
                note(f"{path}: no file {name[:60]!r} for its materials; their colors and textures are left out")
            else:
                found = _library(place) | found
    if libraries and (missing := [name for name in used if name and name not in found]) and found:
        note(f"{path}: no material {missing[0][:60]!r} in its libraries; its color is left out")
    for name in used:
        material = found.setdefault(name, Material())
        if material.texture is not None and len(set(material.color or (1,))) > 1:
            material.left.append("Kd, which tints the texture")
        if material.left:
            note(f"{path}: material {name[:60]!r}: left out: {', '.join(dict.fromkeys(material.left))[:200]}")
    return found


def _library(place: Path) -> dict[str, Material]:
    found: dict[str, Material] = {}
    material = Material()
    for line in read_file(place, "an MTL file", _MAX_BYTES).decode("utf-8", "replace").splitlines():
        keyword, _, rest = line.strip().replace("\t", " ").partition(" ")
        keyword, rest = keyword.lower(), rest.strip()
        if keyword == "newmtl":
            material = found[rest] = Material()
        elif keyword == "map_kd":
            _texture(place, material, rest)
        elif keyword == "kd":
            material.color = _color(place, material, rest)
        elif keyword in ("d", "tr", "map_d", "map_tr", "ke", "map_ke"):
            clear = {"d": 1.0, "tr": 0.0}.get(keyword, 0.0)
            numbers = [float(word) for word in re.findall(_NUMBER, rest)]
            if keyword.startswith("map") or any(value != clear for value in numbers):
                material.left.append("light of its own (Ke)" if keyword.endswith("ke") else "opacity")
        elif keyword and not keyword.startswith("#") and keyword not in _HARMLESS:
            material.left.append(keyword[:30])
    return found


def _color(place: Path, material: Material, rest: str) -> tuple[float, float, float] | None:
    words = rest.partition("#")[0].split()
    if words and words[0].lower() in ("spectral", "xyz"):
        material.left.append(f"Kd {words[0]}")
        return None
    try:
        values = [float(word) for word in words[:3]]
    except ValueError as error:
        raise InputError(f"{place}: Kd {rest[:60]!r}; expected numbers") from error
    values = values * 3 if len(values) == 1 else values
    if len(values) != 3 or not all(0 <= value <= 1 for value in values):
        raise InputError(f"{place}: Kd {rest[:60]!r}; expected three numbers in 0..1")
    return values[0], values[1], values[2]


def _texture(place: Path, material: Material, rest: str) -> None:
    """The file of map_Kd, whose name may have spaces, and its options."""
    while option := _OPTION.match(rest):
        name, words = option["name"].lower(), option["values"].split()
        rest = rest[option.end() :]
        if name in ("s", "o"):
            try:
                values = [float(word) for word in words[:2]]
            except ValueError as error:
                raise InputError(f"{place}: map_Kd -{name} {words[0][:30]!r}; expected numbers") from error
            first, second = values[0], values[1] if len(values) > 1 else (1.0 if name == "s" else 0.0)
            if name == "s":
                material.scale = first, second
            else:
                material.offset = first, second
        elif name == "clamp":
            material.wrap = "clamp" if words[0].lower() == "on" else "repeat"
        elif name not in _IDLE:
            material.left.append(f"map_Kd -{name}")
    material.texture = rest.strip().strip('"')


def beside(path: Path, name: str) -> Path | None:
    """A file that an OBJ names, in its folder or below; None where it is missing. A backslash separates folders too.

    Of a path out of the folder the file of that name in it is taken, if there is one, with a note.
    """
    root, parts, where = path.parent.resolve(), PureWindowsPath(name).parts, f"{path}: names the file {name[:60]!r}"
    if not name or PurePosixPath(name).is_absolute() or PureWindowsPath(name).anchor or ".." in parts:
        if name and parts[-1] != ".." and _is_file(root / parts[-1]):
            note(f"{where}; {parts[-1][:60]!r} in its own folder is taken")
            return confined(root, parts[-1], where)
        raise InputError(f"{where}: a path out of the file's folder; expected one below {root}")
    place = confined(root, "/".join(parts), where)
    return place if _is_file(place) else None


def _is_file(place: Path) -> bool:
    try:
        return place.is_file()
    except (OSError, ValueError):  # such as a name that is too long
        return False
