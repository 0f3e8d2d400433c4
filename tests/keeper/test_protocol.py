"""Frames: whole messages or the end, nothing between."""

from __future__ import annotations

import socket
import struct

import msgspec
import pytest

from pytest_capacity.keeper import protocol


@pytest.fixture(name="ends")
def _ends() -> tuple[socket.socket, socket.socket]:
    return socket.socketpair()


def test_calls_and_answers_travel(ends: tuple[socket.socket, socket.socket]) -> None:
    """What is sent is what is received, of the same type."""
    here, there = ends
    call = protocol.Borrow(id=7, key="k", topology="default", group=None, count=2, test="t")
    protocol.send(here, call)
    assert protocol.receive_call(there) == call
    answer = protocol.Failed(id=7, error="Exhausted", message="no")
    protocol.send(there, answer)
    assert protocol.receive_answer(here) == answer


def test_a_half_message_is_the_end(ends: tuple[socket.socket, socket.socket]) -> None:
    """A peer that dies in the middle of a frame is gone, not half-understood."""
    here, there = ends
    here.sendall(struct.pack(">I", 100) + b'{"call":')
    here.close()
    with pytest.raises(EOFError):
        protocol.receive_call(there)


def test_a_huge_frame_is_refused(ends: tuple[socket.socket, socket.socket]) -> None:
    """No client makes the keeper read gigabytes."""
    here, there = ends
    here.sendall(struct.pack(">I", protocol.MAX_FRAME + 1))
    with pytest.raises(EOFError, match="none of ours"):
        protocol.receive_call(there)


@pytest.mark.parametrize("body", [b"{}", b'{"call":"format-disk"}', b"[1]", b'{"call":"borrow","count":"x"}'])
def test_nonsense_is_refused(ends: tuple[socket.socket, socket.socket], body: bytes) -> None:
    """Only the calls that there are."""
    here, there = ends
    here.sendall(struct.pack(">I", len(body)) + body)
    with pytest.raises(msgspec.DecodeError):
        protocol.receive_call(there)
