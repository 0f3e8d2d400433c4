"""A gate before the emulator: it lets calls through by the key that they are signed with."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

from tests.emulated import ask

_KEY: Final = re.compile(r"Credential=([^/]+)/")

#: Headers that are of one connection.
_HOP_BY_HOP: Final = ("connection", "content-length", "expect", "accept-encoding", "transfer-encoding")

#: EC2's and STS's way to say it, in one form that botocore's parsers of both read.
_ERROR: Final = (
    "<Error><Code>{code}</Code><Message>The security token included in the request is expired</Message></Error>"
)
_REFUSAL: Final = f"<Response><Errors>{_ERROR}</Errors>{_ERROR}<RequestID>0</RequestID></Response>"


class Gate:
    """Stands at ``url``. Calls signed with a key in ``expired`` are refused with ``code``; the others go through.

    ``accounts`` names the account of a key where it is not the emulator's own.
    """

    def __init__(self, target: str) -> None:
        self.expired: set[str] = set()
        self.accounts: dict[str, str] = {}
        self.code = "ExpiredToken"
        #: The keys that were let through, in order.
        self.seen: list[str] = []
        self._target = target
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()

    def answer(self, headers: Any, path: str, body: bytes) -> tuple[int, bytes]:
        """What one call gets."""
        found = _KEY.search(headers.get("Authorization", ""))
        key = found[1] if found else ""
        if key in self.expired:
            return 400, _REFUSAL.format(code=self.code).encode()
        self.seen.append(key)
        # All that is signed, the gate's own name as host too.
        passed = {name: value for name, value in headers.items() if name.lower() not in _HOP_BY_HOP}
        status, answer = ask(self._target, path, body, passed)
        return status, self._signed(key, answer)

    def _signed(self, key: str, body: bytes) -> bytes:
        account = self.accounts.get(key)
        return (
            re.sub(rb"<Account>\d+</Account>", b"<Account>%s</Account>" % account.encode(), body) if account else body
        )

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        gate = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                status, answer = gate.answer(self.headers, self.path, body)
                self.send_response(status)
                self.send_header("Content-Type", "text/xml")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, format: str, *args: object) -> None:
                """It is not read."""

        return Handler


@contextmanager
def gate_before(target: str) -> Iterator[Gate]:
    """A gate before ``target``, for the time of the block."""
    gate = Gate(target)
    try:
        yield gate
    finally:
        gate.close()
