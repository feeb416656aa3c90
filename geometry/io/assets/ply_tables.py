"""PLY as tables: every element's properties as columns, ASCII or binary, lists of any lengths."""

import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from geometry.errors import InputError
from geometry.io.files import read_file
from geometry.values import as_value

MAX_BYTES = 4_000_000_000
_MAX_HEADER = 100_000
_MAX_ROW = 2**30  # bytes of a row that NumPy has a type for
_TYPES = {
    **{"char": "i1", "uchar": "u1", "short": "i2", "ushort": "u2", "int": "i4", "uint": "u4"},
    **{"int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2", "int32": "i4", "uint32": "u4"},
    **{"float": "f4", "double": "f8", "float32": "f4", "float64": "f8"},
}
_ORDERS = {"binary_little_endian": "<", "binary_big_endian": ">", "ascii": "="}


@as_value
@dataclass(frozen=True)
class Column:
    """A property of all rows of an element.

    Attributes:
        kind: the type it is declared with, as NumPy names it without byte order.
        values: [n], or of a list the entries of all rows one after another.
        counts: [n] entries of each row's list; None for a scalar.
    """

    kind: str
    values: np.ndarray
    counts: np.ndarray | None = None


@dataclass(frozen=True)
class Element:
    """A header's element: its name, number of rows, and (name, type, type of the count or None) of its properties."""

    name: str
    count: int
    properties: list[tuple[str, str, str | None]] = field(default_factory=list)


@as_value
@dataclass(frozen=True)
class PlyTables:
    """A PLY file: the columns of the elements that were asked for, all elements of the header, and its comments."""

    columns: dict[str, dict[str, Column]]
    elements: list[Element]
    comments: list[str]


def ply_tables(path: Path, wanted: tuple[str, ...]) -> PlyTables:
    """Read the elements of the wanted names; what follows the last of them in the file is not looked at.

    Raises InputError for all but a PLY file, and one that ends too early.
    """
    data = read_file(path, "a PLY file", MAX_BYTES)
    order, elements, comments, start = _header(path, data)
    if order == "=":
        data, start = _doubles(path, data[start:]), 0
    last = max((n for n, element in enumerate(elements) if element.name in wanted), default=-1)
    columns = {}
    for element in elements[: last + 1]:
        found, start = _Rows(path, data, order, element, element is elements[-1]).read(start)
        if element.name in wanted:
            columns[element.name] = found
    return PlyTables(columns, elements, comments)


def _header(path: Path, data: bytes) -> tuple[str, list[Element], list[str], int]:
    """Byte order ("=" for ASCII), elements, comments, and where the body starts."""
    end = data.find(b"end_header", 0, _MAX_HEADER)
    start = data.find(b"\n", end) + 1 if end >= 0 else 0
    if not data.startswith(b"ply") or not start:
        raise InputError(f"{path}: no PLY header; expected a PLY file")
    order, elements, comments = "", [], []
    for line in data[:end].decode("ascii", "replace").splitlines()[1:]:
        match line.split():
            case ["format", kind, "1.0"] if kind in _ORDERS:
                order = _ORDERS[kind]
            case ["element", name, count] if count.isdecimal() and len(count) < 12:
                elements.append(Element(name, int(count)))
            case ["property", kind, name] if kind in _TYPES and elements:
                elements[-1].properties.append((name, _TYPES[kind], None))
            case ["property", "list", size, kind, name] if size in _TYPES and kind in _TYPES and elements:
                elements[-1].properties.append((name, _TYPES[kind], _TYPES[size]))
            case ["comment", *words]:
                comments.append(" ".join(words))
            case [] | ["obj_info", *_]:
                pass
            case _:
                raise InputError(f"{path}: header line {line[:60]!r}; expected a PLY header")
    names = [[name for name, *_ in element.properties] for element in elements]
    if not order or any(len(set(repeated)) != len(repeated) for repeated in [*names, [e.name for e in elements]]):
        raise InputError(f"{path}: header without format or with repeated properties; expected a PLY header")
    if any(not properties and elements[n].count for n, properties in enumerate(names)):
        raise InputError(f"{path}: an element without properties; expected a PLY header")
    return order, elements, comments, start


def _doubles(path: Path, body: bytes) -> bytes:
    """The numbers of an ASCII body as a binary body of doubles, so that there is one reader of rows."""
    try:
        return np.array(body.split(), dtype=np.float64).tobytes()
    except ValueError as error:
        raise InputError(f"{path}: values that are not numbers; expected numbers") from error


class _Rows:
    """The rows of one element in a binary body; one of an ASCII file has doubles for all types."""

    def __init__(self, path: Path, data: bytes, order: str, element: Element, last: bool) -> None:
        self.last = last
        self.path, self.data, self.element, self.text = path, data, element, order == "="
        self.fields = [
            (name, self.stored(order, kind), None if size is None else self.stored(order, size))
            for name, kind, size in element.properties
        ]

    def stored(self, order: str, kind: str) -> np.dtype:
        """The type that stands in the body for a declared one."""
        return np.dtype("=f8" if self.text else order + kind)

    def read(self, start: int) -> tuple[dict[str, Column], int]:
        """The columns, and where the rows end."""
        if not self.fields:
            return {}, start
        least = sum((size or kind).itemsize for _, kind, size in self.fields)
        if start + self.element.count * least > len(self.data):
            raise self.cut_short(start, self.element.count * least)
        if (found := self.alike(start)) is not None:
            return found
        columns, end = self.of_any_length(start)
        if self.last and self.data[end:].strip():  # lists of any length make sense of any bytes
            raise InputError(f"{self.path}: {len(self.data) - end} bytes after its last row; expected none")
        return columns, end

    def cut_short(self, start: int, needed: int) -> InputError:
        """The error of a body that ends too early; text is counted in numbers."""
        unit, each = ("numbers", 8) if self.text else ("bytes", 1)
        seen = f"{(len(self.data) - start) // each} {unit} for {self.element.count} x {self.element.name}"
        return InputError(f"{self.path}: {seen}; expected at least {min(needed // each, 10**18)}")

    def alike(self, start: int) -> tuple[dict[str, Column], int] | None:
        """Rows whose lists are as long as the first row's, read at once; None where they are not."""
        kinds, at = [], start
        for name, kind, size in self.fields:
            entries = 1
            if size is not None:
                entries = self.entries(at, size, kind) if self.element.count else 0
                kinds.append((f"count of {name}", size))
                at += size.itemsize
            kinds.append((name, kind, (entries,)))
            at += entries * kind.itemsize
        if at - start > _MAX_ROW:
            return None
        rows = np.dtype(kinds)
        end = start + self.element.count * rows.itemsize
        if end > len(self.data):
            return None
        table = np.frombuffer(self.data, rows, self.element.count, start)
        counts = [None if size is None else table[f"count of {name}"] for name, _, size in self.fields]
        if any(len(count) and (count != count[0]).any() for count in counts if count is not None):
            return None
        return self.columns([table[name].reshape(-1) for name, *_ in self.fields], counts), end

    def of_any_length(self, start: int) -> tuple[dict[str, Column], int]:
        """Rows one after another: where each property begins, and then all values of a property at once."""
        items = np.array([kind.itemsize for _, kind, _ in self.fields])
        lengths = np.ones((self.element.count, len(self.fields)), np.int64)
        lengths[:, [size is not None for *_, size in self.fields]] = self.counts(start)
        spans = lengths * items + [0 if size is None else size.itemsize for *_, size in self.fields]
        ends = start + spans.cumsum().reshape(spans.shape)
        places, at = ends - lengths * items, int(ends[-1, -1])
        if at > len(self.data):
            raise self.cut_short(start, at - start)
        body, values = np.frombuffer(self.data, np.uint8), []
        for n, (_, kind, _) in enumerate(self.fields):
            length = lengths[:, n]
            within = np.arange(length.sum()) - np.repeat(np.cumsum(length) - length, length)
            first = np.repeat(places[:, n], length) + within * kind.itemsize
            values.append(body[first[:, None] + np.arange(kind.itemsize)].reshape(-1).view(kind))
        counts = [None if size is None else lengths[:, n] for n, (*_, size) in enumerate(self.fields)]
        return self.columns(values, counts), at

    def counts(self, start: int) -> np.ndarray:
        """The number of entries of every row's lists [rows, lists], each of which says where the next one is."""
        steps, skipped = [], 0
        for _, kind, size in self.fields:
            if size is None:
                skipped += kind.itemsize
            else:
                steps.append((skipped, self.unpacker(size), size.itemsize, kind.itemsize))
                skipped = 0
        found, at, end = [], start, len(self.data)
        try:
            for _ in range(self.element.count):
                for before, unpack, own, item in steps:
                    at += before
                    (count,) = unpack(self.data, at)
                    if count < 0 or count % 1:
                        raise InputError(f"{self.path}: a list of {count:g} entries; expected 0 or more")
                    at += own + int(count) * item
                    if at > end:
                        raise self.cut_short(start, at - start)
                    found.append(int(count))
                at += skipped
        except struct.error as error:
            raise self.cut_short(start, at - start) from error
        return np.array(found, np.int64).reshape(self.element.count, len(steps))

    def unpacker(self, size: np.dtype) -> Callable[[bytes, int], tuple]:
        """What reads a count at some place."""
        return struct.Struct(("<" if size.str[0] in "<|" else ">") + size.char).unpack_from

    def entries(self, at: int, size: np.dtype, kind: np.dtype) -> int:
        """The number of entries of the list that begins there, which the body must have room for."""
        if at + size.itemsize > len(self.data):
            raise self.cut_short(at, size.itemsize)
        (count,) = self.unpacker(size)(self.data, at)
        if count < 0 or count % 1:
            raise InputError(f"{self.path}: a list of {count:g} entries; expected 0 or more")
        if at + size.itemsize + count * kind.itemsize > len(self.data):
            raise self.cut_short(at, size.itemsize + int(count) * kind.itemsize)
        return int(count)

    def columns(self, values: list[np.ndarray], counts: list[np.ndarray | None]) -> dict[str, Column]:
        """Columns by their names, with values of the declared types."""
        return {
            name: Column(kind, self.declared(name, kind, found), None if count is None else count.astype(np.int64))
            for (name, kind, _), found, count in zip(self.element.properties, values, counts)
        }

    def declared(self, name: str, kind: str, values: np.ndarray) -> np.ndarray:
        """Values in the declared type. Raises InputError for text that is none, such as 300 in 8 bits."""
        with np.errstate(over="ignore", invalid="ignore"):
            found = values.astype(kind)
        if kind[0] != "f" and self.text and (wrong := found != values).any():
            raise InputError(f"{self.path}: {name} of {values[wrong][0]:g}; expected what its type {kind} holds")
        return found
