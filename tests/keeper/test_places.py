"""Where files stand: private, on short paths, and somewhere even without a home."""

from __future__ import annotations

import os
import re
import stat
import tempfile
import time
from pathlib import Path
from typing import Final

import pytest
from filelock import FileLock

from pytest_capacity.errors import KeeperError
from pytest_capacity.keeper import places, spawn

#: Directories with the name of a socket's that hold more, or that others may enter.
_NOT_OURS: Final = ("pc-with-file", "pc-open")


def test_socket_paths_are_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long TMPDIR is: an AF_UNIX path ends at 107 bytes."""
    long = tmp_path / ("x" * 150)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    path = places.new_socket()
    assert len(path) < 97
    assert stat.S_IMODE(Path(path).parent.stat().st_mode) == 0o700
    places.remove_socket(path)
    assert not Path(path).parent.exists()


@pytest.mark.parametrize(
    "path",
    ["", "keeper", "./keeper", "pc-relative/keeper", *(f"{{tmp}}/{name}/keeper" for name in ("other", *_NOT_OURS))],
)
def test_only_a_sockets_directory_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    """An empty path, a relative one, another name, a file beside the socket, or rights for others: it stays."""
    monkeypatch.chdir(tmp_path)
    for directory in ("pc-relative", "other", *_NOT_OURS):
        (tmp_path / directory).mkdir(mode=0o700)
    (tmp_path / "pc-with-file" / "notes").write_text("a user's")
    (tmp_path / "pc-open").chmod(0o777)
    places.remove_socket(path.format(tmp=tmp_path))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other", "pc-open", "pc-relative", "pc-with-file"]
    assert (tmp_path / "pc-with-file" / "notes").exists()


def test_the_next_keepers_socket_has_the_same_place(tmp_path: Path) -> None:
    """The directory is made again where it is gone, and used as it is where it is still there."""
    path = str(tmp_path / "pc-1" / "keeper")
    for _ in range(2):
        assert places.same_socket(path) == path
        assert stat.S_IMODE((tmp_path / "pc-1").stat().st_mode) == 0o700


@pytest.mark.parametrize("name", ["open", "link", "file", "none/deeper"])
def test_a_place_that_is_not_ours_alone_is_no_place_for_a_socket(tmp_path: Path, name: str) -> None:
    """What others may enter, a link, a file, or nothing to make it in: an error that names it."""
    (tmp_path / "own").mkdir(mode=0o700)
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o710)
    (tmp_path / "link").symlink_to(tmp_path / "own")
    (tmp_path / "file").touch()
    with pytest.raises(KeeperError, match=re.escape(str(tmp_path / name))):
        places.same_socket(str(tmp_path / name / "keeper"))


def test_a_home_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The temporary directory serves, under a name of the user's own."""
    (tmp_path / "file").write_text("not a directory")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert places.state_dir() == tmp_path / f"pytest-capacity-{os.getuid()}"


def test_a_directory_that_others_may_write_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another user may have prepared it in a shared temporary directory."""
    (tmp_path / "file").write_text("not a directory")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    prepared = tmp_path / f"pytest-capacity-{os.getuid()}"
    prepared.mkdir()
    prepared.chmod(0o777)
    assert places.state_dir() != prepared


def test_the_keepers_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The suite's tools stay out, the user's cloud stays in, relative paths are resolved."""
    monkeypatch.chdir(tmp_path)
    inherited = {
        "PYTEST_ADDOPTS": "-x",
        "PYTHONPATH": "lib",
        "COV_CORE_SOURCE": "x",
        "AWS_PROFILE": "ci",
        "AWS_CONFIG_FILE": "aws/config",
        "AWS_SHARED_CREDENTIALS_FILE": "/abs/credentials",
        "RUNNER_TRACKING_ID": "github_1",
    }
    assert spawn.environment(inherited) == {
        "AWS_PROFILE": "ci",
        "AWS_CONFIG_FILE": str(tmp_path / "aws/config"),
        "AWS_SHARED_CREDENTIALS_FILE": "/abs/credentials",
        "RUNNER_TRACKING_ID": "github_1",
    }
    assert "RUNNER_TRACKING_ID" not in spawn.environment(inherited, outlive=True)


def test_old_logs_locks_and_keys_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of runs that began over 30 days ago: not a lock that is held, not what is younger, not the journal."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    old, held, new = (places.Places.of(run, None) for run in ("old", "held", "new"))
    for run in (old, held, new):
        Path(run.log).write_text("log")
        Path(run.lock).touch()
        for file in places.key_files(run.lock):
            Path(file).touch()
    Path(new.journal).touch()
    month = time.time() - places.KEEP - 60
    for name in (old.log, old.lock, held.lock, new.journal):
        os.utime(name, (month, month))
    with FileLock(held.lock):
        os.utime(held.lock, (month, month))
        places.prune(new, time.time())
    left = {path for path in tmp_path.rglob("*") if path.is_file()}
    keys = [file for run in (held, new) for file in places.key_files(run.lock)]
    assert left == {Path(name) for name in (held.log, held.lock, new.log, new.lock, new.journal, *keys)}
