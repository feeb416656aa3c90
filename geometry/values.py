"""Dataclasses that hold tensors, as values: they print in a few lines, and == compares their numbers.

@as_value
@dataclass(frozen=True)
class Ray: ...
"""

import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import PurePath
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

T = TypeVar("T")
_MOST, _MOST_OF_A_FIELD, _MOST_OF_A_TEXT = 400, 56, 40  # characters


def as_value(cls: type[T]) -> type[T]:
    """Give a dataclass a short repr, an == that returns a bool, and a hash that agrees with it.

    Equal are values of one type whose fields are: tensors of the same type, shape and numbers (NaN equals NaN),
    wherever they are. A method `_facts` says what the repr tells, where that is not the list of fields.

    Args:
        cls: A dataclass.

    Returns:
        The same class.
    """
    cls.__repr__ = _repr  # type: ignore[assignment, method-assign]
    cls.__eq__ = _equal_values  # type: ignore[assignment, method-assign]
    cls.__hash__ = _hash  # type: ignore[assignment, method-assign]
    return cls


def summary(value: Any, nested: bool = False) -> str:
    """What a value is, in a few words: tensors as type, shape and range.

    Args:
        value: Anything.
        nested: Whether it stands in another value: then of values only their names are told.

    Returns:
        A line.
    """
    match value:
        case Tensor():
            return _tensor(value)
        case np.ndarray():
            return f"{value.dtype}{list(value.shape)}"
        case str():
            return repr(_cut(value, _MOST_OF_A_TEXT))
        case PurePath():
            return _cut(str(value), _MOST_OF_A_TEXT)
        case Mapping():
            return f"{{{len(value)}: {_cut(', '.join(map(str, value)), _MOST_OF_A_TEXT)}}}"
        case list() | tuple() if not hasattr(value, "_fields"):
            plain = all(isinstance(part, str | int | float | None) for part in value)
            if plain and len(repr(value)) <= _MOST_OF_A_TEXT:
                return repr(value)
            return f"({len(value)} {', '.join(sorted({type(part).__name__ for part in value})[:3])})"
        case float():
            return f"{value:.6g}"
        case torch.nn.Module():
            return type(value).__name__
    if nested and is_dataclass(value):
        return type(value).__name__
    return _cut(getattr(value, "__name__", None) or repr(value), _MOST_OF_A_FIELD if nested else _MOST)


def equal(a: Any, b: Any) -> bool:
    """Whether two things are equal as `as_value` has it.

    Args:
        a: Anything.
        b: Anything.

    Returns:
        True or False, for tensors too.
    """
    if a is b:
        return True
    match a, b:
        case Tensor(), Tensor():
            return a.dtype == b.dtype and a.shape == b.shape and _same(a, b if a.device == b.device else b.to(a.device))
        case np.ndarray(), np.ndarray():
            return a.dtype == b.dtype and np.array_equal(a, b, equal_nan=a.dtype.kind in "fc")
        case Mapping(), Mapping():
            return a.keys() == b.keys() and all(equal(a[key], b[key]) for key in a)
        case (list(), list()) | (tuple(), tuple()):
            return len(a) == len(b) and all(map(equal, a, b))
        case float(), float() if math.isnan(a):
            return math.isnan(b)
    if is_dataclass(a) and type(a) is type(b) and type(a).__dataclass_params__.eq:  # type: ignore[attr-defined]
        return _equal_values(a, b)
    return not isinstance(a, Tensor | np.ndarray) and not isinstance(b, Tensor | np.ndarray) and bool(a == b)


def _same(a: Tensor, b: Tensor) -> bool:
    if torch.equal(a, b):
        return True
    return bool(((a == b) | (a.isnan() & b.isnan())).all()) if a.is_floating_point() else False


def _equal_values(self: Any, other: Any) -> bool:
    if type(self) is not type(other):
        return NotImplemented
    return all(equal(getattr(self, f.name), getattr(other, f.name)) for f in fields(self) if f.compare)


def _hash(self: Any) -> int:
    return hash((type(self), *(_outline(getattr(self, f.name)) for f in fields(self) if f.compare)))


def _outline(value: Any) -> Any:
    """Something hashable that equal values have in common."""
    match value:
        case Tensor():
            return value.dtype, tuple(value.shape)
        case np.ndarray():
            return str(value.dtype), value.shape
        case Mapping():
            return frozenset(value)
        case list() | tuple():
            return tuple(map(_outline, value))
        case float() if math.isnan(value):
            return "nan"
    try:
        hash(value)
    except TypeError:
        return type(value)
    return value


def _repr(self: Any) -> str:
    if hasattr(self, "_facts"):
        return f"{type(self).__name__}({_cut(self._facts(), _MOST)})"
    told = {f.name: getattr(self, f.name) for f in fields(self) if f.repr}
    parts = [f"{name}={summary(value, nested=True)}" for name, value in told.items() if value is not None]
    if sum(map(len, parts)) > _MOST:
        parts = [_cut(part, _MOST_OF_A_FIELD) for part in parts]
    return f"{type(self).__name__}({_cut(', '.join(parts), _MOST)})"


def _tensor(value: Tensor) -> str:
    """Type, shape and range of a tensor; the numbers of a small one."""
    kind = str(value.dtype).removeprefix("torch.")
    text = f"{kind}{list(value.shape)}"
    if value.device.type != "cpu":
        text += f" on {value.device}"
    if value.numel() == 0 or value.is_complex() or value.device.type == "meta":
        return text
    value = value.detach()
    if value.numel() <= 4 and value.ndim <= 1:
        return f"{text} {', '.join(f'{number:.4g}' for number in value.flatten().tolist())}"
    if value.dtype == torch.bool:
        return f"{text} {100 * float(value.float().mean()):.0f}% true"
    return f"{text} {number_range(value)}"


def number_range(value: Tensor) -> str:
    """The lowest and highest finite number of a tensor, and the share of those that are not finite."""
    if not value.is_floating_point():
        return f"{value.min().item()}..{value.max().item()}"
    finite = value[value.isfinite()]
    parts = [f"{float(finite.min()):.4g}..{float(finite.max()):.4g}"] if len(finite) else []
    for name, mask in (("inf", value.isinf()), ("NaN", value.isnan())):
        share = float(mask.float().mean())
        parts += [f"{100 * share:.2g}% {name}"] if share else []
    return ", ".join(parts)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 3]}..."
