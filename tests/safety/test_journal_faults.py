"""Without a journal nothing is created; with one that breaks in the middle everything is still given back."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import closing
from io import FileIO
from pathlib import Path
from typing import Final

import pytest

from tests.safety.runs import GRANTED, Ended, Suite, creates, launches, provisioned_nothing, provisioned_once, until

#: Become able to mount: root in a mount namespace of its own, anybody else in a user namespace.
_APART: Final[Sequence[str]] = ("unshare", "-m") if os.geteuid() == 0 else ("unshare", "-rm")

#: A disk of its own for "$0", and then what "$1" says about it, and pytest.
_DISK: Final = 'mount -t tmpfs -o size=256k none "$0" && eval "$1" && shift && exec "$@"'

FULL: Final = 'dd if=/dev/zero of="$0/filler" bs=4k 2>/dev/null; true'
READ_ONLY: Final = 'mount -o remount,ro "$0"'
READ_ONLY_WITH_A_JOURNAL: Final = 'touch "$0/journal.sqlite" && mount -o remount,ro "$0"'


@pytest.fixture
def disk(suite: Suite) -> Path:
    """A directory on which a small disk can be mounted, seen by the run alone."""
    if subprocess.run([*_APART, "true"], stderr=subprocess.DEVNULL).returncode:
        pytest.skip("this machine allows no mount namespaces")
    path = suite.path / "disk"
    path.mkdir()
    return path


def on_disk(disk: Path, state: str) -> Sequence[str]:
    """The beginning of a command that runs on a disk in that state."""
    return (*_APART, "sh", "-c", _DISK, str(disk), state)


def says_why(ended: Ended, journal: Path, why: str = "cannot be used") -> None:
    """The error names the journal and the way out."""
    assert ended.code == 1, ended
    assert ended.count("error") == 2, ended
    assert ended.count("passed") == 1, ended
    assert f"{journal} {why}" in ended.out
    assert "--capacity-journal" in ended.out
    assert "Traceback" not in ended.out


@pytest.mark.matrix
@pytest.mark.parametrize(
    ("state", "workers"),
    [
        pytest.param(FULL, "-n2", id="full-n2"),
        pytest.param(FULL, "-n0", id="full"),
        pytest.param(READ_ONLY, "-n0", id="read-only"),
        pytest.param(READ_ONLY_WITH_A_JOURNAL, "-n0", id="read-only-with-a-journal"),
    ],
)
def test_unusable_disk(suite: Suite, disk: Path, state: str, workers: str) -> None:
    """On a full or read-only disk no create call is made; the tests that need capacity say which journal and why."""
    journal = disk / "journal.sqlite"
    ended = suite.run(f"--capacity-journal={journal}", workers, prefix=on_disk(disk, state))
    provisioned_nothing(suite, ended)
    says_why(ended, journal)


@pytest.mark.parametrize("operation", ["CreateCapacityReservation", "RunInstances"])
def test_disk_fills_up_in_the_middle(suite: Suite, disk: Path, operation: str) -> None:
    """The disk is full when the answer comes: nothing more is created, and all of it is released without a journal."""
    suite.emulator.hold(operation)
    journal = disk / "journal.sqlite"
    going = suite.start("-v", f"--capacity-journal={journal}", prefix=on_disk(disk, "true"))
    until(lambda: suite.emulator.under_way().count(operation) == 2, GRANTED, "both calls are under way")
    _fill(suite, disk)
    suite.emulator.go_on()
    ended = going.wait()
    suite.nothing_left()
    made = [call["operation"] for call in creates(suite.emulator)]
    assert made.count(operation) == 2, ended
    assert "trouble: the journal" in ended.out
    assert "0 things bearing run" in ended.out
    if operation == "CreateCapacityReservation":
        assert made.count("RunInstances") == 0, "its intent could not be written"
        says_why(ended, journal)


def _fill(suite: Suite, disk: Path) -> None:
    (keeper,) = suite.keepers()
    # The disk is in the keeper's mount namespace, and this is the way there.
    filler = Path(f"/proc/{keeper}/root{disk}/filler")
    with filler.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space left"):
        _write_on(file)


def _write_on(file: FileIO) -> None:
    while file.write(b"\0" * 4096):
        pass


def test_corrupt_journal(suite: Suite) -> None:
    """A damaged journal is kept aside, whole, which is said aloud; the run goes on with a new one."""
    suite.journal.parent.mkdir(parents=True)
    damaged = b"SQLite format 3\0" + b"not any more" * 1000
    suite.journal.write_bytes(damaged)
    ended = suite.run()
    assert ended.code == 0, ended
    provisioned_once(suite, ended)
    (aside,) = suite.journal.parent.glob("journal.sqlite.corrupt-*")
    assert aside.read_bytes() == damaged
    assert f"trouble: the journal {suite.journal} was damaged, and is kept as {aside.name}" in ended.out
    assert "what it knew is looked up in the cloud" in ended.out
    assert _kinds(suite.journal)[-1] == "run-ended"


def test_file_that_was_never_a_journal(suite: Suite) -> None:
    """--capacity-journal=notes.txt: the notes stay what and where they are, and nothing is created."""
    notes = suite.write("notes.txt", "milk, bread")
    ended = suite.run("--capacity-journal=notes.txt")
    provisioned_nothing(suite, ended)
    says_why(ended, notes, "is no journal: it is no database")
    assert notes.read_text() == "milk, bread"
    assert [path.name for path in suite.tests.glob("notes.txt*")] == ["notes.txt"]


def test_journal_of_a_later_form(suite: Suite) -> None:
    """A journal that a later version wrote is not touched; the error says so, and nothing is created."""
    suite.journal.parent.mkdir(parents=True)
    with closing(sqlite3.connect(suite.journal)) as base:
        base.execute("PRAGMA user_version=99")
        base.execute("CREATE TABLE future (thing TEXT)")
        base.commit()
    before = suite.journal.read_bytes()
    ended = suite.run()
    provisioned_nothing(suite, ended)
    says_why(ended, suite.journal)
    assert "form 99" in ended.out
    assert suite.journal.read_bytes() == before


def test_symbolic_link(suite: Suite) -> None:
    """A journal that is a symbolic link is refused: it could be another user's file."""
    target = suite.path / "somewhere-else"
    target.write_bytes(b"")
    link = suite.path / "journal.sqlite"
    link.symlink_to(target)
    ended = suite.run(f"--capacity-journal={link}")
    provisioned_nothing(suite, ended)
    says_why(ended, link)
    assert target.read_bytes() == b""


def test_impossible_path(suite: Suite) -> None:
    """A journal below a file: no directory can be made there."""
    journal = suite.tests / "test_suite.py" / "journal.sqlite"
    ended = suite.run(f"--capacity-journal={journal}")
    provisioned_nothing(suite, ended)
    says_why(ended, journal)


def test_private(suite: Suite) -> None:
    """Journal, log and lock are for the user alone, and so are their directories, whatever the umask."""
    going = suite.start(program=("sh", "-c", 'umask 000 && exec "$@"', "sh", *_pytest(suite)), endpoint=False)
    ended = going.wait()
    assert ended.code == 0, ended
    provisioned_once(suite, ended)
    made = [suite.state / "pytest-capacity", *(suite.state / "pytest-capacity").rglob("*")]
    modes: Mapping[str, int] = {str(path.relative_to(suite.state)): path.stat().st_mode & 0o077 for path in made}
    assert set(modes.values()) == {0}, modes
    assert suite.journal.exists()


def _pytest(suite: Suite) -> Sequence[str]:
    return (sys.executable, "-m", "pytest", f"--capacity-endpoint={suite.emulator.url}")


def test_intent_comes_before_its_call(suite: Suite) -> None:
    """In the journal of a run each create call's intent stands before what it made, under the token that was sent."""
    suite.emulator.weather(latency_ms=300)  # An intent that comes after its call comes so much later at least.
    ended = suite.run()
    assert ended.code == 0, ended
    with closing(sqlite3.connect(suite.journal)) as base:
        rows = base.execute("SELECT at, json_extract(data, '$.token') FROM events WHERE kind = 'intent'").fetchall()
    intents = {token: at for at, token in rows}
    sent = {call["token"]: call["began"] for call in creates(suite.emulator)}
    assert set(intents) == set(sent)
    assert all(intents[token] <= sent[token] for token in sent), (intents, sent)
    assert len(launches(suite.emulator)) == 2


def _kinds(journal: Path) -> list[str]:
    with closing(sqlite3.connect(journal)) as base:
        return [kind for (kind,) in base.execute("SELECT kind FROM events ORDER BY seq")]
