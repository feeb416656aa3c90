"""What glTF's materials say of a surface's own color: base colors and their textures (glTF 2.0, sections 3.8, 3.9).

Roughness, metal, bumps, coats and lights are left out, as images carry their own light; what else would be seen
(opacity, light of its own, transmission, variants) is named in the reader's note.
"""

import base64
import binascii
import math
from dataclasses import dataclass
from typing import Any

import torch

from geometry.conventions import linear_from_srgb, srgb_from_linear
from geometry.errors import InputError
from geometry.io.assets.gltf_document import GltfDocument, numbers, objects, whole
from geometry.io.entries import number, shown
from geometry.io.images import decode_texture
from geometry.mesh.atlas import Wrap
from geometry.shapes import Float

_WRAPS: dict[int, Wrap] = {10497: "repeat", 33648: "mirror", 33071: "clamp"}
WHITE = (1.0, 1.0, 1.0)
_SEEN = ("KHR_materials_transmission", "KHR_materials_volume", "KHR_materials_diffuse_transmission")


@dataclass(frozen=True)
class Surface:
    """The color of a primitive's surface.

    factor      in linear light, multiplies texture and vertex colors
    image       index of an image, None without a texture
    wrap        what is beyond it along u and v
    coordinates number of the vertices' texture coordinates
    placed      rows of the matrix that turns them into positions in the image, None for none
    """

    factor: tuple[float, ...] = WHITE
    image: int | None = None
    wrap: tuple[Wrap, Wrap] = ("repeat", "repeat")
    coordinates: int = 0
    placed: tuple[tuple[float, ...], ...] | None = None


def surface(document: GltfDocument, primitive: dict[str, Any]) -> Surface:
    """The surface of a primitive; takes down what else its material shows."""
    if "material" not in primitive:
        return Surface()
    material = document.item("materials", primitive["material"])
    extensions = objects(material.get("extensions", {}))
    if material.get("alphaMode", "OPAQUE") != "OPAQUE":
        document.leave("opacity")
    if any(value > 0 for value in numbers(material.get("emissiveFactor", [0, 0, 0]), 3)):
        document.leave("light of its own (emissive)")
    for name in _SEEN:
        if name in extensions:
            document.leave(name)
    parameters, color, texture = (
        objects(material.get("pbrMetallicRoughness", {})),
        "baseColorFactor",
        "baseColorTexture",
    )
    if "KHR_materials_pbrSpecularGlossiness" in extensions:
        parameters = objects(extensions["KHR_materials_pbrSpecularGlossiness"])
        color, texture = "diffuseFactor", "diffuseTexture"
    factor = numbers(parameters.get(color, [1, 1, 1, 1]), 4)
    if any(not 0 <= value <= 1 for value in factor):
        raise InputError(f"base color {shown(factor)}; expected 0 to 1")
    if texture not in parameters:
        return Surface(tuple(factor[:3]))
    info = objects(parameters[texture])
    entry = document.item("textures", info.get("index"))
    if "source" not in entry:
        raise InputError(f"a texture without an image{document.instead()}; expected a PNG or JPEG")
    document.item("images", entry["source"])
    sampler = document.item("samplers", entry["sampler"]) if "sampler" in entry else {}
    u, v = _WRAPS.get(whole(sampler, "wrapS", 10497)), _WRAPS.get(whole(sampler, "wrapT", 10497))
    if u is None or v is None:
        raise InputError(f"a sampler {shown(sampler)}; expected to repeat, mirror or clamp")
    moved = objects(objects(info.get("extensions", {})).get("KHR_texture_transform", {}))
    coordinates = moved.get("texCoord", info.get("texCoord", 0))
    if type(coordinates) is not int or coordinates < 0:
        raise InputError(f"texture coordinates {shown(coordinates)}; expected their number")
    return Surface(tuple(factor[:3]), entry["source"], (u, v), coordinates, _placed(moved))


def _placed(moved: dict[str, Any]) -> tuple[tuple[float, ...], ...] | None:
    """KHR_texture_transform as the rows of a matrix: scaled, turned counter-clockwise (v points down), moved."""
    if not {"offset", "rotation", "scale"} & set(moved):
        return None
    (x, y), (across, down) = numbers(moved.get("offset", [0, 0]), 2), numbers(moved.get("scale", [1, 1]), 2)
    angle = number(moved.get("rotation", 0), "a texture's rotation")
    cosine, sine = math.cos(angle), math.sin(angle)
    return (cosine * across, sine * down, x), (-sine * across, cosine * down, y)


def painted(document: GltfDocument, found: Surface) -> Float[torch.Tensor, "3 h w"]:
    """The image of a surface, sRGB, multiplied with its factor."""
    index = found.image
    entry = document.item("images", index)
    if isinstance(uri := entry.get("uri"), str) and uri.startswith("data:") and ";base64," in uri[:100]:
        try:
            data = base64.b64decode(uri.partition(",")[2], validate=True)
        except (binascii.Error, ValueError) as error:
            raise InputError(f"image {index}: not base64; expected a PNG or JPEG") from error
    elif "uri" in entry or "bufferView" not in entry:
        raise InputError("a texture outside of the file; expected one in the file")
    else:
        start, size, _ = document.view(entry["bufferView"])
        data = document.binary[start : start + size]
    texture = decode_texture(data, f"image {index}")
    if found.factor == WHITE:
        return texture
    return srgb_from_linear(linear_from_srgb(texture) * torch.tensor(found.factor)[:, None, None])
