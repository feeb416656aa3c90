"""Claims: one process at a time, named to the others, and gone with its process however that ends."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from geometry.errors import InputError
from worldgen.runtime import claim
from worldgen.runtime.claim import claimed, lock_beside, lock_inside, uninterrupted

HOLD = """
import sys, time
from pathlib import Path
from worldgen.runtime.claim import claimed
with claimed(Path(sys.argv[1]), Path(sys.argv[2])):
    print("held", flush=True)
    time.sleep(60)
"""


def holder(root: Path, lock: Path) -> subprocess.Popen[str]:
    """A process that holds a claim."""
    command = [sys.executable, "-c", HOLD, str(lock), "out"]
    process = subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    return process


def test_a_second_claim_is_refused_by_the_owner_s_name_and_taken_over_when_it_was_killed(
    root: Path, tmp_path: Path
) -> None:
    lock = lock_beside(tmp_path / "out")
    with holder(root, lock) as process:
        message = rf"process {process.pid} on \S+ since 20\d\d-.*\(-c "
        with pytest.raises(InputError, match=message) as caught, claimed(lock, tmp_path / "out"):
            pass
        assert str(lock) in str(caught.value) and lock.exists()
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert lock.exists()
    with claimed(lock, tmp_path / "out"):
        assert json.loads(lock.read_text())["pid"] == os.getpid()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("error", [None, KeyboardInterrupt, ValueError])
def test_a_claim_ends_with_its_block(tmp_path: Path, error: type[BaseException] | None) -> None:
    lock = lock_inside(tmp_path)
    try:
        with claimed(lock, tmp_path):
            with pytest.raises(InputError, match="being written"), claimed(lock, tmp_path):
                pass
            if error is not None:
                raise error
    except (KeyboardInterrupt, ValueError):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_lock_just_made_and_not_yet_written_is_taken_over(tmp_path: Path) -> None:
    lock = lock_inside(tmp_path)
    lock.write_text("")
    with claimed(lock, tmp_path):
        pass


@pytest.mark.parametrize("content", ["mine", "[]", '{"pid": 3}', '{"worldgen": "claim"}'])
def test_a_file_that_is_no_lock_of_ours_is_left_alone(tmp_path: Path, content: str) -> None:
    lock = lock_inside(tmp_path)
    lock.write_text(content)
    with pytest.raises(InputError, match="not a lock that worldgen wrote"), claimed(lock, tmp_path):
        pass
    assert lock.read_text() == content


def test_a_link_or_a_second_name_in_the_lock_s_place_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("")
    for plant in (Path.symlink_to, Path.hardlink_to):
        lock = tmp_path / plant.__name__
        plant(lock, tmp_path / "victim")
        with pytest.raises(InputError), claimed(lock, tmp_path):
            pass
        assert (tmp_path / "victim").read_text() == "" and os.path.lexists(lock)


def test_where_files_cannot_be_locked_the_owner_s_process_decides(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claim, "_locked", lambda handle: None)
    lock = lock_inside(tmp_path)
    with holder(root, lock) as process:
        with pytest.raises(InputError, match=f"process {process.pid}"), claimed(lock, tmp_path):
            pass
        process.kill()
        process.wait()
    with claimed(lock, tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_waits_for_the_end_of_a_short_block(kind: signal.Signals) -> None:
    seen = []
    before = signal.signal(kind, lambda *_: seen.append("handled"))
    try:
        with uninterrupted():
            signal.raise_signal(kind)
            seen.append("inside")
        seen.append("after")
    finally:
        signal.signal(kind, before)
    assert seen == ["inside", "handled", "after"]


def test_an_interrupt_while_a_claim_is_taken_leaves_no_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    take, before = claim._acquired, signal.signal(signal.SIGINT, signal.default_int_handler)

    def interrupted(lock: Path, output: Path) -> int:
        signal.raise_signal(signal.SIGINT)
        return take(lock, output)

    monkeypatch.setattr(claim, "_acquired", interrupted)
    with pytest.raises(KeyboardInterrupt), claim.claimed(tmp_path / "lock", tmp_path):
        pass
    signal.signal(signal.SIGINT, before)
    assert list(tmp_path.iterdir()) == []
