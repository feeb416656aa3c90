"""The parts of a GLB file (glTF 2.0): its JSON and binary chunk, and its accessors; every look-up is checked.

Section numbers are those of the glTF 2.0 specification.
"""

import json
from typing import Any

import numpy as np
import torch

from geometry.errors import InputError
from geometry.io.entries import number, shown

_KINDS = {5120: "<i1", 5121: "<u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
_WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT4": 16}
_READ = {"KHR_mesh_quantization", "KHR_texture_transform", "KHR_materials_pbrSpecularGlossiness"}
_HARMLESS = {  # for the shape and its base color
    *(f"KHR_materials_{name}" for name in ("anisotropy", "clearcoat", "dispersion", "emissive_strength", "ior")),
    *(f"KHR_materials_{name}" for name in ("iridescence", "sheen", "specular", "unlit")),
    *("KHR_lights_punctual", "KHR_xmp", "KHR_xmp_json_ld"),
}
_INSTEAD = {  # beside what a reader without the extension takes; where there is nothing beside, it is named
    *("KHR_draco_mesh_compression", "EXT_meshopt_compression", "KHR_meshopt_compression"),
    *("KHR_texture_basisu", "EXT_texture_webp", "EXT_texture_avif", "MSFT_texture_dds"),
}


class GltfDocument:
    """A document with its binary chunk.

    Attributes:
        document: the JSON.
        binary: the binary chunk.
        left: what is not read, in words, as it is found.
    """

    def __init__(self, data: bytes) -> None:
        self.document, self.binary = _chunks(data)
        self.left: dict[str, None] = {}
        required, used = (self.names(key) for key in ("extensionsRequired", "extensionsUsed"))
        if unknown := [name for name in required if name not in _READ | _HARMLESS]:
            remedy = "a file without them (gltf-transform's copy decodes compressed ones)"
            raise InputError(f"needs extensions {shown(unknown)}; expected {remedy}")
        for name in used:
            if name not in _READ | _HARMLESS | _INSTEAD:
                self.leave(f"the extension {name[:60]}")
        buffers = self.document.get("buffers", [])
        if not isinstance(buffers, list) or len(buffers) > 1 or any("uri" in objects(entry) for entry in buffers):
            raise InputError("buffers outside of the file; expected one, in the file")

    def leave(self, what: str) -> None:
        """Take down something that carries meaning and is not read."""
        self.left[what] = None

    def names(self, key: str) -> list[str]:
        """The names of a list of extensions."""
        return [str(name) for name in listed(self.document, key)]

    def instead(self) -> str:
        """The extensions in use that may hold what is missing, in brackets."""
        used = [name for name in self.names("extensionsUsed") if name in _INSTEAD]
        return f" ({', '.join(used)} are not read)" if used else ""

    def item(self, kind: str, index: Any) -> dict[str, Any]:
        """One of the document's top-level objects."""
        entries = self.document.get(kind)
        if not isinstance(entries, list) or type(index) is not int or not 0 <= index < len(entries):
            raise InputError(f"{kind} {shown(index)}; expected one that exists")
        return objects(entries[index])

    def view(self, index: Any) -> tuple[int, int, int]:
        """Start, size and stride (0 = packed) of a buffer view, which lies in the binary chunk."""
        view = self.item("bufferViews", index)
        start, size = whole(view, "byteOffset", 0), whole(view, "byteLength")
        if whole(view, "buffer") or start + size > len(self.binary):
            raise InputError(
                f"buffer view {index}: bytes {start} to {start + size} of {len(self.binary)}; expected fewer"
            )
        return start, size, whole(view, "byteStride", 0)

    def values(self, index: Any, widths: tuple[int, ...], indices: bool = False) -> torch.Tensor:
        """An accessor's elements [n, width] (3.6.2): float32 (integers over their largest value), or indices, int64."""
        accessor = self.item("accessors", index)
        kind, width = _KINDS.get(whole(accessor, "componentType")), _WIDTHS.get(str(accessor.get("type")), 0)
        count, offset = whole(accessor, "count"), whole(accessor, "byteOffset", 0)
        if kind is None or width not in widths or "sparse" in accessor or "bufferView" not in accessor:
            seen = f"accessor {index} of another type, sparse or without data{self.instead()}"
            raise InputError(f"{seen}; expected vectors of {max(widths)}")
        if indices and kind not in ("<u1", "<u2", "<u4"):
            raise InputError(f"indices of type {kind}; expected unsigned whole numbers")
        start, size, stride = self.view(accessor["bufferView"])
        packed = np.dtype(kind).itemsize * width
        stride = stride or packed
        if not count or stride < packed or (offset + stride * (count - 1) + packed > size):
            raise InputError(f"accessor {index}: {count} elements do not fit into its {size} bytes; expected them to")
        element = np.dtype({"names": ["value"], "formats": [(kind, (width,))], "itemsize": stride})
        body = memoryview(self.binary)[start + offset : start + size].tobytes() + bytes(stride)  # the last may be short
        array = np.frombuffer(body, element, count)["value"]
        if indices:
            return torch.from_numpy(array.astype(np.int64))
        found = torch.from_numpy(array.astype(np.float32))
        if array.dtype.kind == "f" or accessor.get("normalized") is not True:
            return found
        return (found / float(np.iinfo(array.dtype).max)).clamp_min(-1)


def _chunks(data: bytes) -> tuple[dict[str, Any], bytes]:
    """The JSON and the binary chunk (section 4.4)."""
    length = int.from_bytes(data[12:16], "little")
    if data[:8] != b"glTF\x02\0\0\0" or data[16:20] != b"JSON" or 20 + length > len(data):
        raise InputError("no header of binary glTF 2.0; expected a complete GLB file")
    try:
        document = json.loads(data[20 : 20 + length])
    except ValueError as error:
        raise InputError("its first chunk is not JSON; expected a GLB file") from error
    if not isinstance(document, dict):
        raise InputError("its JSON is not an object; expected a GLB file")
    start = 20 + length
    size = int.from_bytes(data[start : start + 4], "little")
    if data[start + 4 : start + 8] not in (b"BIN\0", b"") or start + 8 + size > max(len(data), start + 8):
        raise InputError("its binary chunk is truncated or of another kind; expected a complete GLB file")
    return document, data[start + 8 : start + 8 + size]


def objects(value: Any) -> dict[str, Any]:
    """A JSON object."""
    if not isinstance(value, dict):
        raise InputError(f"{shown(value)}; expected an object")
    return value


def listed(entry: dict[str, Any], key: str) -> list[Any]:
    """A list of an object; empty where there is none."""
    value = entry.get(key, [])
    if not isinstance(value, list):
        raise InputError(f"{key} {shown(value)}; expected a list")
    return value


def numbers(value: Any, count: int) -> list[float]:
    """So many finite numbers."""
    if not isinstance(value, list) or len(value) != count:
        raise InputError(f"{shown(value)}; expected {count} numbers")
    return [number(entry, "a number") for entry in value]


def whole(entry: dict[str, Any], key: str, default: int | None = None) -> int:
    """A whole number of an object, 0 or more."""
    value = entry.get(key, default)
    if type(value) is not int or not 0 <= value < 2**40:
        raise InputError(f"{key} {shown(value)}; expected a whole number, 0 or more")
    return value
