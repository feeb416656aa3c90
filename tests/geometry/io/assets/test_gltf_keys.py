"""The keys of glTF: each that carries meaning is read, named in a note, or refused; harmless ones are passed over."""

import base64
import math
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from geometry.errors import InputError, Note
from geometry.io.assets.gltf_reader import read_glb
from geometry.io.images import encode_png
from geometry.mesh.meshes import TexturedMesh
from tests.geometry.io.assets.test_gltf_of_others import (
    ALL,
    BLACK,
    BLUE,
    FOUR,
    GREEN,
    RED,
    card,
    color_at,
    read_quietly,
    skinned,
)
from tests.geometry.io.assets.test_gltf_reader import packed

Change = Callable[[dict[str, Any]], Any]


def material(**keys: Any) -> Change:
    return lambda document: document["materials"][0].update(keys)


def transform(**keys: Any) -> Change:
    return lambda document: document["materials"][0]["pbrMetallicRoughness"]["baseColorTexture"].update(
        extensions={"KHR_texture_transform": keys}
    )


def used(name: str, **required: Any) -> Change:
    return lambda document: document.update(extensionsUsed=[name], **{key: [name] for key in required})


def also(*changes: Change) -> Change:
    return lambda document: [change(document) for change in changes]


def uncompressed(name: str) -> Change:
    """The texture or geometry is in an extension alone."""
    return also(used(name), lambda document: document["textures"].__setitem__(0, {"extensions": {name: {"source": 0}}}))


def without_data(name: str) -> Change:
    return also(used(name), lambda document: document["accessors"][0].pop("bufferView"))


# What is done to the card; the colors at (0.2, 0.3) and (0.8, 0.8), or the word of a note, or of a refusal.
READ: dict[str, tuple[Change, list[Any]]] = {
    "nothing": (lambda document: None, [RED, ALL]),
    "base color factor": (
        lambda d: d["materials"][0]["pbrMetallicRoughness"].update(baseColorFactor=[0, 1, 1, 1]),
        [BLACK, [0, 1, 1]],
    ),
    "texture offset": (transform(offset=[0.5, 0]), [GREEN, BLUE]),
    "texture scale": (transform(scale=[0.1, 0.1]), [RED, RED]),
    "texture turned a quarter": (transform(rotation=math.pi / 2), [BLUE, GREEN]),
    "texture turned, scaled, moved": (
        transform(rotation=math.pi / 2, scale=[0.1, 0.1], offset=[0.8, 0.3]),
        [GREEN] * 2,
    ),
    "other texture coordinates": (
        lambda d: (
            d["materials"][0]["pbrMetallicRoughness"]["baseColorTexture"].update(texCoord=1),
            d["meshes"][0]["primitives"][0]["attributes"].update(TEXCOORD_1=1, TEXCOORD_0=0),
        ),
        [RED, ALL],
    ),
    "specular glossiness": (
        material(
            pbrMetallicRoughness={},
            extensions={
                "KHR_materials_pbrSpecularGlossiness": {"diffuseTexture": {"index": 0}, "diffuseFactor": [1, 0, 0, 1]}
            },
        ),
        [RED, RED],
    ),
    "node's place": (lambda d: d["nodes"][0].update(scale=[1, 1, 7], translation=[0, 0, 5]), [RED, ALL]),
    "data URI": (lambda d: d.update(images=[{"uri": "data:image/png;base64," + PNG}]), [RED, ALL]),
    **{
        f"harmless {key}": (change, [RED, ALL])
        for key, change in {
            "metal and bumps": material(
                normalTexture={"index": 0}, occlusionTexture={"index": 0}, doubleSided=True, emissiveFactor=[0, 0, 0]
            ),
            "coat": also(used("KHR_materials_clearcoat"), material(extensions={"KHR_materials_clearcoat": {}})),
            "unlit": also(used("KHR_materials_unlit"), material(extensions={"KHR_materials_unlit": {}})),
            "unlit, required": used("KHR_materials_unlit", extensionsRequired=True),
            "texture transform, required": used("KHR_texture_transform", extensionsRequired=True),
            "lights": also(used("KHR_lights_punctual"), lambda d: d["nodes"][0].update(extensions={})),
            "draco beside plain data": used("KHR_draco_mesh_compression"),
            "webp beside a png": used("EXT_texture_webp"),
            "extras": lambda d: d.update(extras={"a": 1}),
        }.items()
    },
}
NOTED: dict[str, tuple[Change, str]] = {
    "animations": (lambda d: d.update(animations=[{}, {}]), "2 animations"),
    "cameras": (lambda d: d.update(cameras=[{}]), "1 cameras"),
    "scenes": (lambda d: d["scenes"].append({"nodes": []}), "1 other scenes"),
    "blend": (material(alphaMode="BLEND"), "opacity"),
    "mask": (material(alphaMode="MASK"), "opacity"),
    "emissive": (material(emissiveFactor=[0, 1, 0]), "emissive"),
    "transmission": (material(extensions={"KHR_materials_transmission": {}}), "KHR_materials_transmission"),
    "variants": (used("KHR_materials_variants"), "KHR_materials_variants"),
    "instances": (used("EXT_mesh_gpu_instancing"), "EXT_mesh_gpu_instancing"),
    "unknown": (used("ACME_weather"), "ACME_weather"),
    "more colors": (
        lambda d: d["meshes"][0]["primitives"][0]["attributes"].update(COLOR_1=0), "COLOR_1 of vertices"
    ),
    "vertex colors beside a texture": (
        lambda d: d["meshes"][0]["primitives"][0]["attributes"].update(COLOR_0=0), "multiplied"
    ),
    "lines": (
        lambda d: d["meshes"][0]["primitives"].append({"attributes": {"POSITION": 0}, "mode": 1}), "mode 1"
    ),
    "points": (
        lambda d: d["meshes"][0]["primitives"].append({"attributes": {"POSITION": 0}, "mode": 0}), "points beside"
    ),
}  # fmt: skip
REFUSED: dict[str, tuple[Change, str]] = {
    **{
        name: (used(name, extensionsRequired=True), name)
        for name in ("KHR_draco_mesh_compression", "EXT_meshopt_compression", "KHR_texture_basisu", "ACME_weather")
    },
    "geometry by Draco alone": (without_data("KHR_draco_mesh_compression"), "KHR_draco_mesh_compression"),
    "WebP alone": (uncompressed("EXT_texture_webp"), "EXT_texture_webp"),
    "sparse": (lambda d: d["accessors"][0].update(sparse={}), "sparse"),
    "image beside the file": (lambda d: d.update(images=[{"uri": "a.png"}]), "outside of the file"),
    "broken data URI": (lambda d: d.update(images=[{"uri": "data:image/png;base64,?"}]), "base64"),
    "wrap": (lambda d: d.update(samplers=[{"wrapS": 5}]), "repeat, mirror or clamp"),
    "wrap of another type": (lambda d: d.update(samplers=[{"wrapS": [5]}]), "whole number"),
    "coordinates that are missing": (
        lambda d: d["meshes"][0]["primitives"][0]["attributes"].pop("TEXCOORD_0"), "accessors null"
    ),
    "skin without joints": (
        lambda d: (d["nodes"][0].update(skin=0), d.update(skins=[{"joints": []}])), "joints"
    ),
}  # fmt: skip
PNG = base64.b64encode(encode_png(FOUR.repeat_interleave(4, 1).repeat_interleave(4, 2))).decode()


@pytest.mark.parametrize("what", READ)
def test_what_is_read_shows_and_what_is_harmless_is_not_told(tmp_path: Path, what: str) -> None:
    change, colors = READ[what]
    document, data = card()
    change(document)
    shape = read_quietly(packed(tmp_path / "a.glb", document, data))
    assert [color_at(shape, 0.2, 0.3), color_at(shape, 0.8, 0.8)] == colors


@pytest.mark.parametrize("what", NOTED)
def test_what_is_left_out_is_named_once(tmp_path: Path, what: str) -> None:
    change, word = NOTED[what]
    document, data = card()
    change(document)
    with pytest.warns(Note) as notes:
        shape = read_glb(packed(tmp_path / "a.glb", document, data))
    assert len(notes) == 1 and "left out: " in str(notes[0].message) and word in str(notes[0].message)
    assert color_at(shape, 0.2, 0.3) == RED and isinstance(shape, TexturedMesh) and len(shape.mesh.faces) == 2


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_read_is_refused_by_name(tmp_path: Path, refused, what: str) -> None:
    change, word = REFUSED[what]
    document, data = card()
    change(document)
    with refused(tmp_path / "a.glb", word):
        read_glb(packed(tmp_path / "a.glb", document, data))


def test_broken_values_anywhere_are_one_line(tmp_path: Path) -> None:
    """Each value of the JSON in turn becomes something else: a shape or one line, never another error."""
    document, data = card()
    data = skinned(document, data)
    transform(offset=[0.1, 0])(document)

    def places(value: Any) -> list[tuple[Any, Any]]:
        pairs = list(value.items()) if isinstance(value, dict) else list(enumerate(value))
        deeper = [place for _, entry in pairs if isinstance(entry, dict | list) for place in places(entry)]
        return [(value, key) for key, _ in pairs] + deeper

    refusals = 0
    for value, key in places(document):
        before = value[key]
        for other in (None, -1, 10**9, 0.5, "text", [], {}, [None], {"index": []}):
            value[key] = other
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", Note)
                    read_glb(packed(tmp_path / "a.glb", document, data))
            except InputError as error:
                assert "\n" not in str(error)
                refusals += 1
        value[key] = before
    assert refusals > 400
