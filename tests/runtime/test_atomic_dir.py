"""Outputs are complete or not there, keep what others put, and are completed after a kill."""

import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from geometry.errors import InputError
from geometry.io.temporaries import started, temporary_name
from worldgen.runtime.atomic_dir import check_output, new_file, new_folder, resumable_folder
from worldgen.runtime.claim import claimed, lock_beside


def write(path: Path, text: str = "new", **options) -> None:
    """A folder with one file."""
    with new_folder(path, **options) as folder:
        (folder / "a.txt").write_text(text)


def killed(path: Path) -> Path:
    """The temporary folder that a killed process left beside an output."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    own = f"{os.getpid()}-{started(os.getpid())}"
    left = path.with_name(temporary_name(path).name.replace(own, f"{process.pid}-1"))
    (left / "new").mkdir(parents=True)
    (left / "new" / "a.txt").write_text("new")
    return left


@pytest.fixture(params=[0o022, 0o077])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def test_a_folder_appears_whole_with_the_modes_of_any_other(tmp_path: Path, umask: int) -> None:
    write(tmp_path / "deep" / "out")
    assert sorted(path.name for path in (tmp_path / "deep" / "out").iterdir()) == ["a.txt", "manifest.json"]
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["out"]
    for path in (tmp_path / "deep" / "out").rglob("*"):
        assert path.stat().st_mode & 0o777 == 0o666 & ~umask
    assert (tmp_path / "deep" / "out").stat().st_mode & 0o777 == 0o777 & ~umask


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError, OSError(errno.ENOSPC, "full")])
def test_a_block_that_fails_leaves_nothing_not_even_the_folders_above(tmp_path: Path, error: BaseException) -> None:
    with pytest.raises((KeyboardInterrupt, ValueError, InputError)), new_folder(tmp_path / "a" / "b" / "out"):
        raise error
    assert list(tmp_path.iterdir()) == []


def test_an_error_of_the_system_about_another_file_keeps_its_name(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="elsewhere"), new_folder(tmp_path / "out"):
        (tmp_path / "elsewhere").read_text()


def test_ours_is_replaced_on_request_and_is_there_until_the_end(tmp_path: Path) -> None:
    write(tmp_path / "out", "old")
    with pytest.raises(InputError, match="exists"):
        write(tmp_path / "out")
    with new_folder(tmp_path / "out", overwrite=True) as folder:
        (folder / "b.txt").write_text("new")
        assert (tmp_path / "out" / "a.txt").read_text() == "old"
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["b.txt", "manifest.json"]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_what_comes_in_the_way_meanwhile_is_kept_and_the_result_too(tmp_path: Path) -> None:
    message = r"mine.txt.*the result is kept in \S+out-2"
    with pytest.raises(InputError, match=message), new_folder(tmp_path / "out", overwrite=True) as folder:
        (folder / "a.txt").write_text("new")
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "mine.txt").write_text("mine")
    assert (tmp_path / "out" / "mine.txt").read_text() == "mine"
    assert (tmp_path / "out-2" / "a.txt").read_text() == "new"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "out-2"]


def test_a_folder_that_cannot_be_moved_away_is_kept_and_the_result_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "out", "old")
    rename = Path.rename

    def busy(path: Path, target: Path) -> Path:
        if path.name == "new" and target.name == "out":
            raise OSError(errno.EBUSY, "busy")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", busy)
    with pytest.raises(InputError, match="the result is kept"):
        write(tmp_path / "out", overwrite=True)
    assert (tmp_path / "out" / "a.txt").read_text() == "old" and (tmp_path / "out-2" / "a.txt").read_text() == "new"


def test_a_link_stands_for_the_folder_it_points_to(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "disk" / "results")
    write(tmp_path / "out", "old")
    write(tmp_path / "out", overwrite=True)
    assert (tmp_path / "out").is_symlink() and (tmp_path / "disk" / "results" / "a.txt").read_text() == "new"
    (tmp_path / "disk" / "results" / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match=r"mine\.txt"):
        write(tmp_path / "out", overwrite=True)


def test_two_at_once_are_refused_before_the_second_begins(tmp_path: Path) -> None:
    with new_folder(tmp_path / "out"):
        with pytest.raises(InputError, match=f"being written by process {os.getpid()}"), new_folder(tmp_path / "out"):
            raise AssertionError("the second began")
        with new_folder(tmp_path / "other"):
            pass
    assert (tmp_path / "out").is_dir()


def test_a_folder_whose_replacement_was_killed_half_way_is_completed_and_debris_is_swept(tmp_path: Path) -> None:
    other = killed(tmp_path / "another")
    for _ in range(2):
        killed(tmp_path / "out")
    write(tmp_path / "out", "first")
    assert sorted(path.name for path in tmp_path.iterdir()) == [other.name, "out"]
    (tmp_path / "out").rename(killed(tmp_path / "out") / "old")
    with pytest.raises(InputError, match="exists"):
        write(tmp_path / "out")
    assert (tmp_path / "out" / "a.txt").read_text() == "new", "the finished result, not the one it was to replace"
    assert sorted(path.name for path in tmp_path.iterdir()) == [other.name, "out"]


def test_a_folder_that_grows_is_new_empty_or_its_own(tmp_path: Path) -> None:
    def grown(path: Path, **options) -> None:
        with resumable_folder(path, lambda folder: (folder / "marker").exists(), **options) as folder:
            (folder / "marker").touch()

    for name in ("new", "new", "empty"):
        (tmp_path / "empty").mkdir(exist_ok=True)
        grown(tmp_path / name)
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "run.yaml").write_text("mine")
    with pytest.raises(InputError, match=r"holds something else \(run.yaml\)"):
        grown(tmp_path / "foreign")
    with pytest.raises(InputError, match="holds the input"):
        grown(tmp_path / "foreign", inputs=[tmp_path / "foreign" / "run.yaml"])
    grown(tmp_path / "foreign", kept=[tmp_path / "foreign" / "run.yaml"])
    with pytest.raises(InputError, match="not a directory"):
        grown(tmp_path / "foreign" / "run.yaml")
    assert sorted(path.name for path in (tmp_path / "foreign").iterdir()) == ["marker", "run.yaml"]
    with pytest.raises(ValueError, match="stop"), resumable_folder(tmp_path / "x" / "y", lambda _: False):
        raise ValueError("stop")
    assert not (tmp_path / "x").exists()


def test_a_folder_that_grows_has_one_writer_and_is_swept(tmp_path: Path) -> None:
    (tmp_path / "run" / "averages").mkdir(parents=True)
    (tmp_path / "run" / "marker").touch()
    left = killed(tmp_path / "run" / "averages" / "x")
    with resumable_folder(tmp_path / "run", lambda _: True) as folder:
        assert not left.exists()
        with pytest.raises(InputError, match="being written"), resumable_folder(folder, lambda _: True):
            pass
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["averages", "marker"]


def test_single_files_are_new_unless_asked_for_and_never_an_input(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("mine")
    with pytest.raises(InputError, match="exists"), new_file(tmp_path / "a.txt"):
        pass
    with (
        pytest.raises(InputError, match="is or holds the input"),
        new_file(tmp_path / "a.txt", True, [tmp_path / "a.txt"]),
    ):
        pass
    (tmp_path / "link.txt").symlink_to(tmp_path / "a.txt")
    with pytest.raises(InputError, match="the input"), new_file(tmp_path / "link.txt", True, [tmp_path / "a.txt"]):
        pass
    (tmp_path / "gone.txt").symlink_to(tmp_path / "nowhere")
    with pytest.raises(InputError, match="exists"), new_file(tmp_path / "gone.txt"):
        pass
    with new_file(tmp_path / "a.txt", overwrite=True):  # noqa: SIM117 - the second begins within the first
        with pytest.raises(InputError, match="being written"), new_file(tmp_path / "a.txt", overwrite=True):
            pass
    with pytest.raises(ValueError), new_file(tmp_path / "x" / "b.txt"):
        raise ValueError
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.txt", "gone.txt", "link.txt"]


def test_a_check_refuses_early_what_writing_would(tmp_path: Path) -> None:
    check_output(tmp_path / "new", False)
    (tmp_path / "a.txt").write_text("mine")
    for path, overwrite in (
        (tmp_path, True),
        (tmp_path, False),
        (tmp_path / "a.txt", True),
        (tmp_path / "a.txt" / "b", True),
    ):
        with pytest.raises(InputError):
            check_output(path, overwrite)


def test_a_claim_beside_a_long_name_fits(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 250)
    with claimed(lock_beside(path), path):
        pass
    write(path)
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("made", [1, 2, 3])
def test_an_interrupt_while_folders_above_are_made_leaves_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, made: int
) -> None:
    usual, done = os.mkdir, []

    def mkdir(path: Path, *rest: Any) -> None:
        usual(path, *rest)
        done.append(path)
        if len(done) == made:
            raise KeyboardInterrupt

    monkeypatch.setattr(os, "mkdir", mkdir)
    with pytest.raises(KeyboardInterrupt), new_folder(tmp_path / "a" / "b" / "c" / "out"):
        pass
    assert len(done) >= made and list(tmp_path.iterdir()) == []
