"""Configurations: YAML files read strictly into frozen dataclasses.

A file is flat: it says all there is to say. Or it starts with `base: FILE` and reads "as that file, but": its own keys
replace those of the base, section by section. There is one level of this; a base has no base.
"""

import dataclasses
import hashlib
import json
import re
import types
import typing
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml

from geometry.errors import InputError

T = TypeVar("T")
_FLOAT = re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+")

# Where the configurations of the package are: in it where it is installed, beside it in the repository.
_PACKAGED = next(
    (folder for folder in (Path(__file__).parents[n] / "configs" for n in (1, 2)) if folder.is_dir()),
    Path(__file__).parents[1] / "configs",
)

# Old names of keys, and of words in lists: refused in YAML files with the new name. What programs have stored
# (`upgraded`) and digests of it (`as_first_stored`) stay valid.
RENAMED: dict[str, str] = {"neighbours": "neighbors"}


def load(kind: type[T], path: Path, overrides: tuple[str, ...] = ()) -> T:
    """Read the configuration in a YAML file.

    Args:
        kind: The dataclass to build.
        path: The file, or the name of one in the package (`config_file`). With `base: FILE` (as seen from this file's
            folder, or of the package) it holds only what differs from that file:
            keys of a section replace the base's one by one; every other value, lists and tables such as
            `data.families` included, replaces the base's as a whole.
        overrides: `section.key=value` each, applied last; values are YAML, but text without quotes is taken as it is.

    Returns:
        The configuration, every value checked against the type of its field.

    Raises:
        InputError: A file that is missing or not YAML, a base that has a base, an unknown, renamed or missing key, or
            a value of another type.
    """
    path = config_file(path)
    data, where = _read(path), str(path)
    if isinstance(data, dict) and "base" in data:
        data, where = _on_its_base(kind, data, path), f"{path} (base {data['base']})"
    for override in overrides:
        key, separator, value = override.partition("=")
        if not separator:
            raise InputError(f"override {override!r}; expected key=value")
        _set(data, key.split("."), override, value)
    return build(kind, data, where)


def config_file(path: Path | str) -> Path:
    """The file of a configuration.

    Args:
        path: A file; or the bare name of one in the package, such as `tiny`.

    Returns:
        The file in the package where there is one of this name and no other file.
    """
    path = Path(path)
    packaged = _PACKAGED / f"{path.name}.yaml"
    return packaged if len(path.parts) == 1 and not path.is_file() and packaged.is_file() else path


def _read(path: Path) -> Any:
    """The plain data of a YAML file."""
    try:
        text = path.read_text(encoding="utf-8")
        _refuse_repeated_keys(yaml.compose(text, Loader=yaml.SafeLoader), path)
        return yaml.safe_load(text)
    except (OSError, UnicodeDecodeError) as error:
        names = ", ".join(sorted(file.stem for file in _PACKAGED.glob("*.yaml")))
        raise InputError(
            f"{path}: cannot be read ({type(error).__name__}); expected a YAML configuration, or one of {names}"
        ) from error
    except yaml.YAMLError as error:
        raise InputError(f"{path}: not YAML ({' '.join(str(error).split())})") from error


def _refuse_repeated_keys(node: yaml.Node | None, path: Path) -> None:
    """YAML silently lets the last of two equal keys win."""
    if isinstance(node, yaml.MappingNode):
        keys = [key.value for key, _ in node.value]
        for key, value in node.value:
            if keys.count(key.value) > 1:
                raise InputError(f"{path}: line {key.start_mark.line + 1}: key {key.value!r} is given twice")
            _refuse_repeated_keys(value, path)


def _on_its_base(kind: type, data: dict[Any, Any], path: Path) -> dict[Any, Any]:
    """The data of a file's base with the file's own keys put in."""
    base = data["base"]
    if not isinstance(base, str):
        raise InputError(f"{path}: base {base!r}; expected the name of a YAML file")
    beside = path.parent / base
    below = _read(beside if beside.is_file() else config_file(base) if config_file(base).is_file() else beside)
    if not isinstance(below, dict):
        raise InputError(f"{path}: base {base} holds {below!r}; expected a mapping of keys to values")
    if "base" in below:
        raise InputError(f"{path}: base {base} has the base {below['base']!r}; expected a base without one (one level)")
    return _merged(kind, below, {key: value for key, value in data.items() if key != "base"})


def _merged(kind: type, below: dict[Any, Any], above: dict[Any, Any]) -> dict[Any, Any]:
    """Two mappings as one: sections key by key, other values from above where it has them."""
    merged = dict(below)
    hints = typing.get_type_hints(kind) | _types_by_tag(kind, {**below, **above})
    for key, value in above.items():
        section = next((hint for hint in _choices(hints.get(key)) if is_dataclass(hint)), None)
        if section is not None and isinstance(value, dict) and isinstance(below.get(key), dict):
            value = _merged(typing.cast(type, section), below[key], value)
        merged[key] = value
    return merged


def _choices(hint: Any) -> tuple[Any, ...]:
    """The types of a union, or the one type."""
    union = typing.get_origin(hint) in (types.UnionType, typing.Union)
    return typing.get_args(hint) if union else (hint,)


def _set(data: Any, keys: list[str], override: str, value: str) -> None:
    for key in keys[:-1]:
        if not isinstance(data, dict) or not isinstance(data.get(key, {}), dict):
            raise InputError(f"override {override!r}: {key} is not a section")
        data = data.setdefault(key, {})
    if not isinstance(data, dict):
        raise InputError(f"override {override!r} of {data!r}; expected a file of keys and values")
    try:
        node, read = yaml.compose(value, Loader=yaml.SafeLoader), yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise InputError(f"override {override!r}: the value is not YAML") from error
    # Text without quotes is what was typed: YAML would fold lines, and take what follows " #" for a comment.
    typed = isinstance(read, str) and isinstance(node, yaml.ScalarNode) and not node.style
    data[keys[-1]] = value if typed else read


def build(kind: type[T], data: Any, where: str) -> T:
    """Build a dataclass from plain data, checked key by key.

    Args:
        kind: The dataclass; its fields may be dataclasses themselves.
        data: Mappings, lists, numbers and strings, as YAML and JSON hold them.
        where: What errors begin with, such as the file's name.

    Raises:
        InputError: What does not fit, with the place.
    """
    assert is_dataclass(kind), f"{kind} is not a dataclass"
    if not isinstance(data, dict):
        raise InputError(f"{where}: {data!r}; expected a mapping of keys to values")
    known = {field.name: field for field in fields(kind)}
    unknown = sorted(map(str, set(data) - set(known)))
    if unknown and RENAMED.get(unknown[0]) in known:
        raise InputError(f"{where}: key {unknown[0]!r}; expected its new name {RENAMED[unknown[0]]!r}")
    if unknown:
        raise InputError(f"{where}: unknown key {unknown[0]!r}; expected some of {', '.join(known)}")
    hints = typing.get_type_hints(kind) | _types_by_tag(kind, data)
    values = {name: _convert(hints[name], value, f"{where}: {name}") for name, value in data.items()}
    missing = [
        f.name for f in known.values() if f.name not in data and f.default is MISSING and f.default_factory is MISSING
    ]
    if missing:
        raise InputError(f"{where}: key {missing[0]!r} is missing")
    return kind(**values)


def _types_by_tag(kind: type, data: dict[str, Any]) -> dict[str, Any]:
    """Types of fields that depend on the data: `kind.types_by_tag(data)`, where a dataclass has such a function."""
    by_tag = getattr(kind, "types_by_tag", None)
    return {} if by_tag is None else by_tag(data)


def _convert(hint: Any, value: Any, where: str) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if is_dataclass(hint):
        return build(typing.cast(type, hint), value, where)
    if origin in (types.UnionType, typing.Union):
        if value is None and type(None) in arguments:
            return None
        return _convert(next(a for a in arguments if a is not type(None)), value, where)
    if origin is tuple and isinstance(value, list):
        for item in value:
            if isinstance(item, str) and item in RENAMED:
                raise InputError(f"{where}: {item!r}; expected its new name {RENAMED[item]!r}")
        return tuple(_convert(arguments[0], item, where) for item in value)
    if origin is dict and isinstance(value, dict):
        return {key: _convert(arguments[1], item, f"{where}.{key}") for key, item in value.items()}
    if hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if hint is float and isinstance(value, str) and _FLOAT.fullmatch(value):
        return float(value)  # YAML 1.1 reads 1e-3 as a string
    if hint is Path and isinstance(value, str):
        return Path(value)
    if isinstance(hint, type) and isinstance(value, hint) and isinstance(value, bool) == (hint is bool):
        return value
    expected = getattr(hint, "__name__", str(hint)) if origin is None else str(hint)
    raise InputError(f"{where}: {value!r}; expected {expected}")


def plain(value: Any) -> Any:
    """A dataclass as plain data that YAML and JSON can hold.

    Args:
        value: A dataclass, or what its fields hold: tuples, mappings, paths, numbers, words.

    Returns:
        Mappings, lists, numbers and strings; without fields made by `newer` that have their default.
    """
    if is_dataclass(value) and not isinstance(value, type):
        pairs = ((field, getattr(value, field.name)) for field in dataclasses.fields(value))
        return {f.name: plain(v) for f, v in pairs if not (f.metadata.get("newer") and v == f.default)}
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return str(value) if isinstance(value, Path) else value


def to_yaml(value: Any) -> str:
    """A configuration in full.

    Args:
        value: A configuration, a dataclass.

    Returns:
        The text of a YAML file with all values, defaults included, which `load` reads as the same again.
    """
    return yaml.safe_dump(plain(value), sort_keys=False, default_flow_style=None, allow_unicode=True, width=110)


def newer(default: Any) -> Any:
    """A dataclass's field that was added after files and digests of the dataclass had been stored: where it has its
    default they stay what they were."""
    return dataclasses.field(default=default, metadata={"newer": True})


def upgraded(data: Any) -> Any:
    """Stored plain data with the present names of what was `RENAMED`."""
    return _renamed(data, RENAMED)


def as_first_stored(data: Any) -> Any:
    """Plain data with the old names of what was `RENAMED`, for digests that have to stay what they were."""
    return _renamed(data, {new: old for old, new in RENAMED.items()})


def _renamed(data: Any, names: dict[str, str]) -> Any:
    if isinstance(data, dict):
        return {names.get(key, key): _renamed(value, names) for key, value in data.items()}
    if isinstance(data, list):
        return [names.get(item, item) if isinstance(item, str) else _renamed(item, names) for item in data]
    return data


def digest(value: Any) -> str:
    """The SHA-256 of a dataclass's values as JSON without spaces."""
    return hashlib.sha256(json.dumps(as_first_stored(plain(value)), separators=(",", ":")).encode()).hexdigest()
