"""The rule of outputs: what may be written where, and what is ours to replace."""

import json
from pathlib import Path

import pytest

from geometry.errors import InputError
from worldgen.runtime.atomic_dir import new_folder
from worldgen.runtime.ownership import check_place, check_replaceable, contents, read_manifest, real, sign


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """A folder that worldgen made."""
    folder = tmp_path / "made"
    with new_folder(folder, kind="world") as out:
        (out / "frames").mkdir()
        (out / "frames" / "0.png").write_text("x")
        (out / "manifest.json").write_text('{"generator": "worldgen 0.1.0", "seed": 3}')
    return folder


def test_a_manifest_keeps_what_it_said_and_lists_every_file(made: Path) -> None:
    manifest = json.loads((made / "manifest.json").read_text())
    assert manifest["files"] == ["frames/0.png", "manifest.json"]
    assert manifest["seed"] == 3 and manifest["holds"] == "world" and manifest["generator"].startswith("worldgen ")
    check_replaceable(made, True, "world")


@pytest.mark.parametrize("name", ["mine.txt", "frames/mine.txt", "frames/deep/mine.txt"])
def test_a_file_that_was_put_into_our_folder_is_named_and_stops_its_replacement(made: Path, name: str) -> None:
    (made / name).parent.mkdir(exist_ok=True)
    (made / name).write_text("mine")
    with pytest.raises(InputError, match=f"{name}, which worldgen did not write"):
        check_replaceable(made, True, "world")


def test_links_and_empty_folders_are_somebody_s_too_and_what_file_managers_leave_is_not(made: Path) -> None:
    for name in (".DS_Store", "frames/Thumbs.db"):
        (made / name).write_text("x")
    check_replaceable(made, True, "world")
    (made / "album").mkdir()
    with pytest.raises(InputError, match="album/"):
        check_replaceable(made, True, "world")
    (made / "album").rmdir()
    (made / "link").symlink_to(made.parent)
    with pytest.raises(InputError, match="link, which"):
        check_replaceable(made, True, "world")


@pytest.mark.parametrize(
    "manifest",
    [
        None, "", "[]", "{", '{"generator": "other 1"}', '{"generator": "worldgen 1", "files": ["a"]}',
        '{"generator": "worldgen 1", "holds": "world"}', '{"generator": "worldgen 1", "holds": "world", "files": 3}',
        '{"generator": "worldgen 1", "holds": "model", "files": ["a", "manifest.json"]}',
        '{"generator": "other 1", "holds": "world", "files": ["a", "manifest.json"]}',
    ],
)  # fmt: skip
def test_a_folder_without_our_manifest_of_this_kind_is_not_ours(tmp_path: Path, manifest: str | None) -> None:
    (tmp_path / "a").write_text("mine")
    if manifest is not None:
        (tmp_path / "manifest.json").write_text(manifest)
    with pytest.raises(InputError, match=r"no manifest\.json of a world"):
        check_replaceable(tmp_path, True, "world")


def test_what_is_there_is_only_replaced_on_request_unless_it_is_empty(made: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="exists and is not empty"):
        check_replaceable(made, False, "world")
    (tmp_path / "empty").mkdir()
    check_replaceable(tmp_path / "empty", False, "world")
    check_replaceable(tmp_path / "none", False, "world")
    (tmp_path / "file").write_text("x")
    for overwrite in (False, True):
        with pytest.raises(InputError, match="not a directory"):
            check_replaceable(tmp_path / "file", overwrite, "world")


def test_no_output_is_a_root_a_home_the_current_folder_or_around_an_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, here, other = (tmp_path / name for name in ("homes/me", "work/here", "other"))
    for folder in (home, here, other):
        folder.mkdir(parents=True)
    (other / "a.jpg").write_text("x")
    (tmp_path / "link.jpg").symlink_to(other / "a.jpg")
    (other / "link.jpg").symlink_to(tmp_path / "homes")
    (tmp_path / "loop").symlink_to("loop")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(here)
    places = [(Path("/"), "root"), (home, "home"), (home.parent, "home"), (here, "current"), (here.parent, "current")]
    for place, said in places:
        with pytest.raises(InputError, match=said):
            check_place(place, ())
    for given in (other / "a.jpg", other, tmp_path / "link.jpg", other / "link.jpg", "../../other/a.jpg"):
        with pytest.raises(InputError, match="is or holds the input"):
            check_place(other, [given])
    for good in (home / "out", here / "out", other / "out", tmp_path / "new"):
        check_place(good, [other / "a.jpg", "tiny", "gone.jpg", tmp_path / "loop", tmp_path / "loop" / "a.jpg"])
    check_place(here, (), replaced=False)


def test_a_link_stands_for_its_folder_and_circles_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to(tmp_path / "b")
    assert real(tmp_path / "a") == tmp_path / "b"
    (tmp_path / "b").symlink_to(tmp_path / "a")
    with pytest.raises(InputError):
        check_replaceable(real(tmp_path / "a"), True, "world")
    with pytest.raises(InputError, match="not a usable name"):
        real(Path("a\0b"))


def test_a_run_s_manifest_lists_nothing_so_that_nothing_replaces_it(tmp_path: Path) -> None:
    sign(tmp_path, "training run", whole=False)
    assert read_manifest(tmp_path)["holds"] == "training run" and "files" not in read_manifest(tmp_path)
    with pytest.raises(InputError):
        check_replaceable(tmp_path, True, "training run")
    assert list(contents(tmp_path)) == ["manifest.json"]
