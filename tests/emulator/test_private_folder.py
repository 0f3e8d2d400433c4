"""The emulator's folder: no one else looks into it, and it goes however the emulator ends."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pytest_capacity.emulator import private_folder
from pytest_capacity.emulator.secret import Secret, SecretError
from tests.emulated import PATIENCE, ROOT


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A temporary directory of the test's own."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    return tmp_path


@pytest.fixture
def dead() -> int:
    """The id of a process that is gone."""
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


@pytest.fixture
def left(temporary: Path, dead: int) -> Path:
    """What an emulator left whose watchdog was killed, too."""
    folder = temporary / f"pytest-capacity-emulator-{dead}-abc_d1"
    folder.mkdir(mode=0o700)
    (folder / "lock").touch(0o600)
    (folder / "secret").write_text("s")
    return folder


def until(check: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + PATIENCE
    while not check():
        assert time.monotonic() < end, what
        time.sleep(0.02)


@pytest.fixture
def started(temporary: Path) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """An emulator with a secret of its own, and its folder."""
    with subprocess.Popen(
        [sys.executable, "-m", "pytest_capacity.emulator"],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        cwd=temporary,
    ) as process:
        assert process.stdout is not None
        yield process, Path(json.loads(process.stdout.readline())["secret_file"]).parent
        process.kill()


def test_a_killed_emulator_leaves_nothing(started: tuple[subprocess.Popen[bytes], Path], temporary: Path) -> None:
    """SIGKILL lets it do nothing; its folder goes all the same."""
    process, folder = started
    assert folder.parent == temporary
    assert folder.stat().st_mode & 0o777 == 0o700
    process.send_signal(signal.SIGKILL)
    process.wait()
    until(lambda: list(temporary.glob("pytest-capacity-*")) == [], "its folder is removed")


def test_what_a_killed_one_left_is_removed_by_the_next(left: Path) -> None:
    """By name, owner, and a process that is gone."""
    private_folder.remove_left()
    assert not left.exists()


def test_a_living_one_keeps_its_folder(left: Path, temporary: Path) -> None:
    """By its process, and by its lock: another container's process ids mean nothing here."""
    own = left.rename(temporary / f"pytest-capacity-emulator-{os.getpid()}-abc")
    private_folder.remove_left()
    assert own.exists()


def test_a_locked_one_is_left_alone(left: Path) -> None:
    """Its process may live in another container that has the same temporary directory."""
    with (left / "lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        private_folder.remove_left()
        assert (left / "secret").exists()
    private_folder.remove_left()
    assert not left.exists()


@pytest.mark.parametrize("strange", ["name", "mode", "no lock", "link", "file"])
def test_what_may_not_be_ours_is_left_alone(left: Path, temporary: Path, strange: str) -> None:
    """Another name, a folder that others may write to, one without a lock, a link, a file."""
    match strange:
        case "name":
            left = left.rename(temporary / "pytest-capacity-emulator-abc")
        case "mode":
            left.chmod(0o755)
        case "no lock":
            (left / "lock").unlink()
        case "link":
            elsewhere = left.rename(temporary / "elsewhere")
            left.symlink_to(elsewhere)
        case "file":
            left.rename(temporary / "elsewhere")
            left.write_text("mine")
    private_folder.remove_left()
    assert os.path.lexists(left)
    if strange == "link":
        assert (temporary / "elsewhere" / "secret").exists()


@pytest.mark.skipif(os.getuid() != 0, reason="only root gives a folder to another user")
def test_another_users_folder_is_left_alone(left: Path) -> None:
    """Its name alone says nothing."""
    os.chown(left, 65534, 65534)
    private_folder.remove_left()
    assert left.exists()


def test_a_secret_file_that_others_read_is_refused(temporary: Path) -> None:
    """As ssh refuses such a key, with what to do."""
    file = temporary / "secret"
    file.write_text("text")
    file.chmod(0o640)
    with pytest.raises(SecretError, match="other users may read or change it; run chmod 600 on it"):
        Secret.make(str(file))
    assert list(temporary.glob("pytest-capacity-*")) == []
    file.chmod(0o600)
    secret = Secret.make(str(file))
    assert (secret.text, secret.file) == ("text", file)
    secret.remove()
    assert list(temporary.glob("pytest-capacity-*")) == []
    file.write_text("")
    with pytest.raises(SecretError, match="it is empty"):
        Secret.make(str(file))
