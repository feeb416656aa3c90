"""`worldgen scenes`: a folder with a contact sheet, a video with depth and a GLB of every family."""

import json
from pathlib import Path

import torch

from geometry.errors import InputError
from geometry.io.images import write_png
from worldgen.runtime.atomic_dir import new_folder
from worldgen.runtime.contact_sheet import grid
from worldgen.runtime.progress import Report, shown
from worldgen.scenes.cameras.sampling import ClipSpec
from worldgen.scenes.export import write_clip_mp4, write_scene_glb
from worldgen.scenes.families.family import FAMILIES, draw, find_family, views
from worldgen.scenes.rendering.renderer import render

_ROWS, _COLUMNS = 6, 6


def write_gallery(
    families: list[str],
    output: Path,
    seed: int = 0,
    size_px: int = 128,
    frames: int = 36,
    overwrite: bool = False,
    progress: bool | Report = False,
) -> None:
    """Render held-out scenes of some families into a new folder.

    FAMILY/sheet.png  six scenes, six frames each
    FAMILY/clip.mp4   a video of the first scene, color beside depth
    FAMILY/scene.glb  that scene's exact geometry with its motion
    scenes.json       captions and counts

    Args:
        families: Keys of `worldgen.scenes.families.family.FAMILIES`.
        output: The folder.
        seed: Of the series of scenes.
        size_px: Side of the frames.
        frames: Length of the videos.
        overwrite: Replace the folder of another gallery, if it holds nothing else.
        progress: Whether to show it on stderr, or a function that is called with the share of the families that are
            done, and the next one.

    Raises:
        InputError: No such family, a size or length below 2, or the folder exists.
    """
    if unknown := [name for name in families if name not in FAMILIES]:
        raise InputError(f"scene families {unknown}; expected some of {', '.join(FAMILIES)}")
    if size_px < 2 or frames < 2:
        raise InputError(f"{frames} frames of {size_px} px; expected at least 2 of each")
    facts = {}
    families = list(dict.fromkeys(families))
    with new_folder(output, overwrite, "gallery of scenes") as folder, shown(progress) as report:
        for done, name in enumerate(families):
            report(done / len(families), name)
            facts[name] = _family(name, folder / name, seed, size_px, frames)
        (folder / "scenes.json").write_text(json.dumps(facts, indent=2), encoding="utf-8")
        report(1.0, "done")


def _family(name: str, folder: Path, seed: int, size_px: int, frames: int) -> dict[str, object]:
    folder.mkdir()
    indices = list(range(_ROWS))
    scene = draw(name, seed, indices, True)
    clip = render(scene, views(name, scene, seed, indices, True, ClipSpec(_COLUMNS, 3.0, (size_px, size_px))))
    write_png(folder / "sheet.png", grid([list(row) for row in clip.rgb], enlarge=1))
    spec = ClipSpec(frames, frames / find_family(name).video_s, (size_px, size_px))
    first = scene[:1]
    video = render(first, views(name, first, seed, [0], True, spec))[0]
    write_clip_mp4(folder / "clip.mp4", video, fps=min(30.0, spec.fps), scale=max(1, 256 // size_px))
    write_scene_glb(folder / "scene.glb", first)
    primitives = (scene.kind >= 0).sum(1)
    return {
        "captions": list(scene.captions),
        "primitives": primitives.tolist(),
        "triangles": [int(count) for count in (scene.owner >= 0).sum(1)],
        "moving": bool((scene.motion.position != scene.motion.position[:, :, :1]).any()),
        "mean_rgb": torch.round(clip.rgb.mean((0, 1, 3, 4)), decimals=3).tolist(),
    }
