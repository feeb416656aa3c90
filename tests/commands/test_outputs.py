"""THE rule of outputs holds for every command: nothing of the user's is replaced, and one run at a time writes."""

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
import yaml

from geometry.camera.cameras import Cameras
from geometry.io.captures.nerfstudio import write_transforms
from geometry.io.formats import write_cameras
from geometry.io.images import write_png
from geometry.trajectory.paths import orbit
from tests.models.tiny import tiny_model
from tests.training.codec.test_trainer import run_of as codec_run_of
from worldgen.cli import main
from worldgen.models.world_model import WorldModel
from worldgen.runtime.atomic_dir import new_folder
from worldgen.runtime.claim import claimed, lock_beside, lock_inside
from worldgen.runtime.config import plain
from worldgen.training.codec.config import CodecRun
from worldgen.training.config.run import RunConfig
from worldgen.training.config.train import TrainConfig

Before = dict[str, tuple[str, bytes]]


@dataclass(frozen=True)
class Writes:
    """A command with an output.

    line       its arguments, given the folder of the inputs and the output
    kind       of its folder's manifest, None where the folder is not replaced as a whole
    given      an input below the folder of the inputs; None where the command reads no files
    overwrite  whether it has the option
    """

    line: Callable[[Path, Path], list[object]]
    kind: str | None
    given: str | None
    overwrite: bool = False
    inside: bool = False
    file: bool = False


COMMANDS = {
    "orbit": Writes(
        lambda i, o: ["orbit", i / "a.png", "--output", o, "--frames", 2, "--steps", 1], "world", "a.png", True
    ),
    "orbit --cameras": Writes(
        lambda i, o: ["orbit", i / "0.png", "--cameras", i / "transforms.json", "--output", o], "world", "0.png", True
    ),
    "orbit --views": Writes(
        lambda i, o: ["orbit", i / "a.png", "--views", i / "transforms.json", "--output", o], "world", "a.png", True
    ),
    "orbit --model": Writes(
        lambda i, o: ["orbit", i / "a.png", "--model", i / "model", "--output", o], "world", "model", True
    ),
    "scenes": Writes(
        lambda i, o: ["scenes", "--families", "tabletop", "--size-px", 8, "--frames", 2, "--output", o],
        "gallery of scenes", None, True,
    ),
    "evaluate captures": Writes(
        lambda i, o: ["evaluate", "captures", i, "--output", o, "--given", 1], "evaluation", "transforms.json"
    ),
    "evaluate orbit": Writes(
        lambda i, o: ["evaluate", "orbit", "--config", i / "set.yaml", "--output", o], "evaluation", "set.yaml"
    ),
    "evaluate families": Writes(
        lambda i, o: ["evaluate", "families", "--models", i / "model", "--output", o], "evaluation", "model"
    ),
    "average": Writes(lambda i, o: ["average", i / "run", "--length", 0.1, "--output", o], "model", "run"),
    "blend": Writes(lambda i, o: ["blend", i / "model", "tiny", "--output", o], "model", "model"),
    "curate": Writes(
        lambda i, o: ["curate", i, "--output", o, "--size-px", 8, "--frames", 2], None, "transforms.json", inside=True
    ),
    "train": Writes(lambda i, o: ["train", i / "run.yaml", f"output={o}"], None, None, inside=True),
    "train --model": Writes(
        lambda i, o: ["train", i / "run.yaml", f"output={o}", f"train.start_from={i / 'model'}"], None, "model",
        inside=True,
    ),
    "train-codec": Writes(lambda i, o: ["train-codec", i / "codec.yaml", f"output={o}"], None, None, inside=True),
    "cameras convert": Writes(
        lambda i, o: ["cameras", "convert", i / "path.json", o], None, "path.json", True, file=True
    ),
    "cameras show": Writes(
        lambda i, o: ["cameras", "show", i / "path.json", "--output", o], None, "path.json", True, file=True
    ),
}  # fmt: skip
FOLDERS = [name for name, writes in COMMANDS.items() if not writes.file]
READING = [name for name in FOLDERS if COMMANDS[name].given is not None]
FILES = [name for name, writes in COMMANDS.items() if writes.file]


@pytest.fixture
def inputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, root: Path) -> Path:
    """A folder with an input of each kind."""
    folder = tmp_path / "inputs"
    cameras = Cameras.from_fov(orbit(torch.zeros(3), 2.0, 20.0, 3), 50.0, (16, 16))
    names = [f"{i}.png" for i in range(3)]
    for name in (*names, "a.png"):
        write_png(folder / name, torch.rand(3, 16, 16))
    write_transforms(folder / "transforms.json", cameras, names)
    write_cameras(folder / "path.json", cameras)
    (folder / "set.yaml").write_text((root / "configs" / "evaluate_orbit.yaml").read_text())
    WorldModel.create(tiny_model()).save(folder / "model")
    (folder / "run").mkdir()
    train = TrainConfig(steps=1, batch=1, frames=(2,), precision="fp32", device="cpu")
    run = RunConfig(tmp_path / "unused", tiny_model(), train=train)
    (folder / "run.yaml").write_text(yaml.safe_dump(plain(run), sort_keys=False))
    codec: CodecRun = codec_run_of(tmp_path / "unused")
    (folder / "codec.yaml").write_text(yaml.safe_dump(plain(codec), sort_keys=False))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(root)
    return folder


def everything(folder: Path) -> Before:
    """All that is below a folder, byte by byte."""
    return {
        str(path.relative_to(folder)): ("link", bytes(path.readlink()))
        if path.is_symlink()
        else ("folder", b"")
        if path.is_dir()
        else ("file", path.read_bytes())
        for path in folder.rglob("*")
    }


def refused(line: list[object], folder: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """Run a command that must be refused at once; nothing below the folder may change."""
    before = everything(folder)
    assert main([str(word) for word in line]) == 2
    out, err = capsys.readouterr()
    assert everything(folder) == before and out == ""
    assert err.startswith("worldgen: ") and err.count("\n") == 1, err
    return err


def asked_to(name: str, inputs: Path, output: Path) -> list[object]:
    """The command, told to overwrite where it can be."""
    writes = COMMANDS[name]
    return [*writes.line(inputs, output), *(["--overwrite"] if writes.overwrite else [])]


def signed(folder: Path, kind: str | None) -> None:
    """Fill a folder as the command would have made it."""
    with new_folder(folder, kind=kind or "world") as out:
        (out / "a.txt").write_text("ours")


@pytest.mark.parametrize("name", FOLDERS)
def test_a_folder_with_somebody_s_files_is_refused(
    tmp_path: Path, inputs: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    (tmp_path / "out" / "album").mkdir(parents=True)
    (tmp_path / "out" / "album" / "b.jpg").write_text("mine")
    said = refused(asked_to(name, inputs, tmp_path / "out"), tmp_path, capsys)
    assert ("album/b.jpg" if COMMANDS[name].overwrite or COMMANDS[name].inside else "exists") in said


@pytest.mark.parametrize("name", FOLDERS)
@pytest.mark.parametrize("where", ["home", "root", "around the home"])
def test_a_home_and_the_root_are_refused(
    tmp_path: Path, inputs: Path, capsys: pytest.CaptureFixture[str], name: str, where: str
) -> None:
    (tmp_path / "home").mkdir()
    output = {"home": tmp_path / "home", "root": Path("/"), "around the home": tmp_path}[where]
    assert "output" in refused(asked_to(name, inputs, output), tmp_path, capsys)


@pytest.mark.parametrize("name", [name for name in FOLDERS if not COMMANDS[name].inside])
def test_the_current_folder_is_refused(
    tmp_path: Path, inputs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    signed(tmp_path / "here", COMMANDS[name].kind)
    if name == "evaluate families":
        (tmp_path / "here" / "configs").symlink_to(Path.cwd() / "configs")
    monkeypatch.chdir(tmp_path / "here")
    assert "current directory" in refused(asked_to(name, inputs, Path()), tmp_path, capsys)


@pytest.mark.parametrize("name", READING)
@pytest.mark.parametrize("where", ["the folder", "one above", "a link"])
def test_a_folder_that_holds_an_input_is_refused_also_with_our_manifest(
    tmp_path: Path, inputs: Path, capsys: pytest.CaptureFixture[str], name: str, where: str
) -> None:
    signed(tmp_path / "ours" / "out", COMMANDS[name].kind)
    inputs.rename(tmp_path / "ours" / "out" / "inputs")
    (tmp_path / "link").symlink_to(tmp_path / "ours" / "out")
    output = {"the folder": "ours/out/inputs", "one above": "ours/out", "a link": "link"}[where]
    said = refused(asked_to(name, tmp_path / "ours" / "out" / "inputs", tmp_path / output), tmp_path, capsys)
    assert "is or holds the input" in said


@pytest.mark.parametrize("name", FOLDERS)
def test_a_file_in_the_folder_s_place_is_refused(
    tmp_path: Path, inputs: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    (tmp_path / "out").write_text("mine")
    assert "not a directory" in refused(asked_to(name, inputs, tmp_path / "out"), tmp_path, capsys)
    assert "not a directory" in refused(asked_to(name, inputs, tmp_path / "out" / "in"), tmp_path, capsys)


@pytest.mark.parametrize("name", [name for name in FOLDERS if COMMANDS[name].kind is not None])
def test_our_own_folder_is_not_replaced_unasked_nor_with_a_foreign_file_in_it(
    tmp_path: Path, inputs: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    signed(tmp_path / "out", COMMANDS[name].kind)
    assert "exists" in refused(COMMANDS[name].line(inputs, tmp_path / "out"), tmp_path, capsys)
    (tmp_path / "out" / "notes.txt").write_text("mine")
    said = refused(asked_to(name, inputs, tmp_path / "out"), tmp_path, capsys)
    assert ("notes.txt" if COMMANDS[name].overwrite else "exists") in said


@pytest.mark.parametrize("name", FOLDERS)
def test_the_second_of_two_at_once_is_refused_by_the_first_one_s_name(
    tmp_path: Path, inputs: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    out = tmp_path / "out"
    if COMMANDS[name].inside:
        out.mkdir()
    lock = lock_inside(out) if COMMANDS[name].inside else lock_beside(out)
    with claimed(lock, out):
        said = refused(asked_to(name, inputs, out), tmp_path, capsys)
    assert f"being written by process {os.getpid()} on" in said and str(lock) in said


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_replaced_only_on_request_and_never_if_it_is_read(
    tmp_path: Path, inputs: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    target = tmp_path / "out.json"
    if name == "cameras show":
        target = target.with_suffix(".png")
    target.write_text("mine")
    assert "exists" in refused(COMMANDS[name].line(inputs, target), tmp_path, capsys)
    for own in (inputs / "path.json", tmp_path / "link.json"):
        (tmp_path / "link.json").unlink(missing_ok=True)
        (tmp_path / "link.json").symlink_to(inputs / "path.json")
        assert "the input" in refused(asked_to(name, inputs, own), tmp_path, capsys)
    with claimed(lock_beside(target), target):
        assert "being written" in refused(asked_to(name, inputs, target), tmp_path, capsys)
    assert main([str(word) for word in asked_to(name, inputs, target)]) == 0
    assert target.stat().st_size > 10
    assert {path.name for path in tmp_path.iterdir()} == {"inputs", "link.json", target.name}


@pytest.mark.parametrize("name", ["orbit", "scenes", "curate", "train", "blend"])
def test_what_is_right_still_works_in_an_empty_folder_and_again(
    tmp_path: Path, inputs: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    (tmp_path / "out").mkdir()
    line = asked_to(name, inputs, tmp_path / "out")
    if name == "blend":
        line[2] = inputs / "model"
    umask = os.umask(0o027)
    try:
        assert main([str(word) for word in line]) == 0, capsys.readouterr().err
        again = main([str(word) for word in line])
    finally:
        os.umask(umask)
    assert again == (2 if name == "blend" else 0)
    assert {path.name for path in tmp_path.iterdir()} == {"inputs", "out"}
    for path in (tmp_path / "out").rglob("*"):
        mode = path.stat().st_mode & 0o777
        assert mode == (0o750 if path.is_dir() else 0o640) and not path.name.startswith("."), (path, oct(mode))


def test_of_two_orbits_into_one_new_folder_one_ends_at_once_with_2(tmp_path: Path, inputs: Path, root: Path) -> None:
    """As users start them: two processes."""
    line = ["orbit", inputs / "a.png", "--output", tmp_path / "out", "--frames", 4, "--steps", 2]
    command = [sys.executable, "-m", "worldgen.cli", *map(str, line)]
    both = [subprocess.Popen(command, cwd=root, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    ended = sorted((process.communicate(timeout=300)[1], process.returncode) for process in both)
    assert sorted(code for _, code in ended) == [0, 2], ended
    said = next(err for err, code in ended if code == 2)
    assert ("being written by process" in said or "exists" in said) and said.count("\n") == 1
    assert {path.name for path in tmp_path.iterdir()} == {"inputs", "out"}
