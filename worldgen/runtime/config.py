"""Configurations: flat YAML files read strictly into frozen dataclasses."""

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

# Keys, and values in lists, that have another name now: old -> new. A YAML with the old name is refused with the new
# one; what programs have stored (`upgraded`) and digests of it (`as_first_stored`) stay good.
RENAMED = {"neighbours": "neighbors"}


def load(kind: type[T], path: Path, overrides: tuple[str, ...] = ()) -> T:
    """The configuration in a YAML file, with `section.key=value` overrides (values are YAML).

    Raises InputError for a file that is missing or not YAML, an unknown or missing key, or a value of another type.
    """
    try:
        text = path.read_text(encoding="utf-8")
        _refuse_repeated_keys(yaml.compose(text, Loader=yaml.SafeLoader), path)
        data = yaml.safe_load(text)
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({type(error).__name__}); expected a YAML configuration") from error
    except yaml.YAMLError as error:
        raise InputError(f"{path}: not YAML ({' '.join(str(error).split())})") from error
    for override in overrides:
        key, separator, value = override.partition("=")
        if not separator:
            raise InputError(f"override {override!r}; expected key=value")
        _set(data, key.split("."), override, value)
    return build(kind, data, str(path))


def _refuse_repeated_keys(node: yaml.Node | None, path: Path) -> None:
    """YAML lets the last of two equal keys win in silence."""
    if isinstance(node, yaml.MappingNode):
        keys = [key.value for key, _ in node.value]
        for key, value in node.value:
            if keys.count(key.value) > 1:
                raise InputError(f"{path}: line {key.start_mark.line + 1}: key {key.value!r} is given twice")
            _refuse_repeated_keys(value, path)


def _set(data: Any, keys: list[str], override: str, value: str) -> None:
    for key in keys[:-1]:
        if not isinstance(data, dict) or not isinstance(data.get(key, {}), dict):
            raise InputError(f"override {override!r}: {key} is no section")
        data = data.setdefault(key, {})
    if not isinstance(data, dict):
        raise InputError(f"override {override!r} of {data!r}; expected a file of keys and values")
    try:
        data[keys[-1]] = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise InputError(f"override {override!r}: the value is not YAML") from error


def build(kind: type[T], data: Any, where: str) -> T:
    """A dataclass from plain data, checked key by key. Raises InputError naming the place."""
    assert is_dataclass(kind), f"{kind} is no dataclass"
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
        return tuple(_convert(arguments[0], item, where) for item in value)
    if origin is dict and isinstance(value, dict):
        return {key: _convert(arguments[1], item, f"{where}.{key}") for key, item in value.items()}
    if hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if hint is float and isinstance(value, str) and _FLOAT.fullmatch(value):
        return float(value)  # YAML 1.1 takes 1e-3 for a string
    if hint is Path and isinstance(value, str):
        return Path(value)
    if isinstance(hint, type) and isinstance(value, hint) and isinstance(value, bool) == (hint is bool):
        return value
    expected = getattr(hint, "__name__", str(hint)) if origin is None else str(hint)
    raise InputError(f"{where}: {value!r}; expected {expected}")


def plain(value: Any) -> Any:
    """A dataclass as plain data that YAML and JSON can hold.

    A field made by `newer` is left out where it has its default.
    """
    if is_dataclass(value) and not isinstance(value, type):
        pairs = ((field, getattr(value, field.name)) for field in dataclasses.fields(value))
        return {f.name: plain(v) for f, v in pairs if not (f.metadata.get("newer") and v == f.default)}
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return str(value) if isinstance(value, Path) else value


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
