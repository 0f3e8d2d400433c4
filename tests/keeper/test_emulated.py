"""How a keeper tells one emulator from another."""

from __future__ import annotations

import socket

import pytest

from pytest_capacity.backends.emulator_secret import SECRET_FILE
from pytest_capacity.keeper import emulated
from tests.emulated import Emulator, secret_file, start_emulator


def test_each_emulator_is_itself(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same one gives the same identity at each question, and another one another, wherever it listens."""
    monkeypatch.setenv(SECRET_FILE, str(secret_file()))
    first = emulated.identify(emulator.url)()
    assert first == emulator.world()["emulator"] != ""
    assert emulated.identify(emulator.url)() == first
    with start_emulator() as other:
        assert emulated.identify(other.url)() not in ("", first)


def test_what_is_no_emulator_has_no_identity() -> None:
    """Neither has a cloud, nor a port of this machine at which nothing listens."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        assert emulated.identify(f"http://127.0.0.1:{bound.getsockname()[1]}")() == ""
    assert emulated.identify("https://ec2.us-east-1.amazonaws.com")() == ""
    assert emulated.identify(None)() == ""
