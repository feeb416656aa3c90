"""Atomic writing and checked reading."""

import pytest

from geometry.io.files import read_file, replacing, write_file


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path) -> None:
    path = tmp_path / "a.txt"
    write_file(path, b"old")
    with pytest.raises(RuntimeError), replacing(path) as temporary:
        temporary.write_bytes(b"half")
        assert temporary.parent == tmp_path and temporary.suffix == ".txt"
        raise RuntimeError
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_is_replaced_not_overwritten(tmp_path) -> None:
    path, second_name = tmp_path / "a.txt", tmp_path / "b.txt"
    write_file(path, b"old")
    second_name.hardlink_to(path)
    write_file(path, b"new")
    assert path.read_bytes() == b"new" and second_name.read_bytes() == b"old"


def test_missing_folders_are_made_and_impossible_ones_refused(tmp_path, refused) -> None:
    write_file(tmp_path / "new/folder/a.bin", b"x")
    assert (tmp_path / "new/folder/a.bin").read_bytes() == b"x"
    with refused("a.bin/b", "cannot be written"):
        write_file(tmp_path / "new/folder/a.bin/b", b"x")
    with refused("folder", "cannot be written"):
        write_file(tmp_path / "new/folder", b"x")


def test_missing_empty_large_and_odd_files_are_refused(tmp_path, refused) -> None:
    path = tmp_path / "a"
    with refused(path, "no such file", "a thing"):
        read_file(path, "a thing", 10)
    path.write_bytes(b"")
    with refused(path, "empty"):
        read_file(path, "a thing", 10)
    path.write_bytes(b"12345678901")
    with refused(path, "11 bytes", "at most 10"):
        read_file(path, "a thing", 10)
    with refused("not a regular file"):
        read_file(tmp_path, "a thing", 10)
    for name in ("a\0b", "x" * 5000):
        with refused("a thing"):
            read_file(tmp_path / name, "a thing", 10)
