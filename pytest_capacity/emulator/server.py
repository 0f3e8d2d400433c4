"""The port: HTTP/1.1 with keep-alive on loopback, a thread for each connection.

A call's life: it waits half the latency, is struck or delayed by the weather, happens, is written down, waits the other
half, and is answered (or the connection is closed, where the weather loses the reply). ``/_world`` waits for nothing
and is not written down.
"""

from __future__ import annotations

import contextlib
import json
import re
import socket
import traceback
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar, Final
from urllib.parse import parse_qs, urlsplit
from xml.sax.saxutils import escape

from pytest_capacity.emulator.calls import Call
from pytest_capacity.emulator.nodes.fleet import Fleet
from pytest_capacity.emulator.owners import Owners
from pytest_capacity.emulator.weather import WeatherError, read_change
from pytest_capacity.emulator.wire import Answer, Cloud
from pytest_capacity.emulator.world import World

LOOPBACK: Final = "127.0.0.1"
#: Where SigV4 says for whom a request is: Credential=KEY/DATE/REGION/SERVICE/aws4_request.
SCOPE: Final = re.compile(r"Credential=[^/]+/\d+/([^/]+)/([^/]+)/aws4_request")


class Server(ThreadingHTTPServer):
    """Serves one World on a port of loopback."""

    daemon_threads = True
    request_queue_size = 512
    # A client that goes away in the middle of a call is weather, not a fault of ours.
    block_on_close = False

    def __init__(
        self,
        port: int,
        world: World,
        clouds: Mapping[str, Cloud],
        fleet: Fleet,
        owners: Owners,
        clock: Callable[[], float],
        sleep: Callable[[float], None],
    ) -> None:
        self.world = world
        self.clouds = clouds
        self.fleet = fleet
        self.owners = owners
        self.clock = clock
        self.sleep = sleep
        self.last_request = clock()
        super().__init__((LOOPBACK, port), Handler)

    @property
    def url(self) -> str:
        """Where it is to be found."""
        return f"http://{LOOPBACK}:{self.server_port}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that broke is nothing to report."""


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    server: Server
    protocol_version = "HTTP/1.1"
    # Without it a keep-alive connection stalls for 40 ms at every answer.
    disable_nagle_algorithm = True
    server_version = "pytest-capacity-emulator"
    sys_version = ""
    _hosts: ClassVar = frozenset({LOOPBACK, "localhost"})

    def log_message(self, format: str, *args: Any) -> None:
        """Calls are told by /_world; stderr is for what went wrong in the emulator itself."""

    def do_GET(self) -> None:
        """Only the World is read with GET."""
        self._serve(self._get)

    def do_POST(self) -> None:
        """A cloud's call, or the weather."""
        self._serve(self._post)

    def _serve(self, answer: Callable[[bytes], None]) -> None:
        self.server.last_request = self.server.clock()
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        # A page in a browser could otherwise reach the port under a name of its own (DNS rebinding).
        host = urlsplit(f"//{self.headers.get('Host', '')}").hostname
        if host not in self._hosts:
            self._send(421, b'{"error": "the Host header must name 127.0.0.1 or localhost"}')
            return
        answer(body)

    # -- the World ------------------------------------------------------------------------------------------------

    def _get(self, body: bytes) -> None:
        parts = urlsplit(self.path)
        if parts.path not in ("/_world", "/_world/ssh"):
            self._send(404, b'{"error": "nothing here; GET /_world tells what the World holds"}')
            return
        calls = parse_qs(parts.query).get("calls", ["1"])[-1] != "0"
        with self.server.world.lock:
            told = self.server.fleet.doors() if parts.path == "/_world/ssh" else self.server.world.tell(calls)
        self._send(200, json.dumps(told).encode())

    def _change(self, body: bytes) -> None:
        world = self.server.world
        try:
            told = json.loads(body or b"{}")
            change = read_change(told, world.catalogue)
        except ValueError as problem:
            self._send(400, json.dumps({"error": f"not JSON: {problem}"}).encode())
            return
        except WeatherError as problem:
            self._send(400, json.dumps({"error": str(problem)}).encode())
            return
        if change.owner is not None:
            self.server.owners.add(change.owner)
        with world.lock:
            world.change(change)
            told = world.tell(calls=False)
        # Whoever empties the World finds nothing of it, ports and directories included.
        self.server.fleet.follow()
        self._send(200, json.dumps(told).encode())

    # -- the clouds -----------------------------------------------------------------------------------------------

    def _post(self, body: bytes) -> None:
        if urlsplit(self.path).path == "/_world":
            self._change(body)
            return
        scope = SCOPE.search(self.headers.get("Authorization", ""))
        if scope is None:
            words = "AWS was not able to validate the provided access credentials: the request is not signed (SigV4)"
            self._send(401, _error("AuthFailure", words), "text/xml;charset=UTF-8")
            return
        region, service = scope.groups()
        cloud = self.server.clouds.get(service)
        if cloud is None:
            known = ", ".join(sorted(self.server.clouds))
            words = f"the emulator has no service {service!r}; it has {known}"
            self._send(404, json.dumps({"error": words}).encode())
            return
        self._call(cloud, region, body)

    def _call(self, cloud: Cloud, region: str, body: bytes) -> None:
        server = self.server
        began = server.clock()
        half_s = server.world.weather.latency_ms / 2000
        self._wait(half_s)
        asked = cloud.ask(region, urlsplit(self.path).path, body)
        with server.world.lock:
            server.world.under_way[id(asked)] = asked.operation
        self._wait(asked.strike.delay_s)
        at = server.world.clock.now()
        try:
            answer = cloud.do(asked)
        except Exception:  # noqa: BLE001 - the edge of the process
            # A defect of the emulator is shown as one, and never as a cloud's answer.
            traceback.print_exc()
            answer = Answer(500, _error("EmulatorDefect", traceback.format_exc()), "EmulatorDefect")
        self._wait(half_s)
        lost = asked.strike.lose_reply
        with server.world.lock:
            del server.world.under_way[id(asked)]
            server.world.calls.append(
                Call(
                    at=at,
                    cloud=cloud.name,
                    operation=asked.operation,
                    region=region,
                    zone=asked.zone,
                    type=asked.type,
                    market=asked.market,
                    status=answer.status,
                    error=answer.error,
                    began=began,
                    ended=server.clock(),
                    lost=lost,
                    token=asked.form.get("ClientToken"),
                    dry_run=asked.form.get("DryRun", "").lower() == "true",
                )
            )
        server.last_request = server.clock()
        if lost:
            self.close_connection = True
            # The client may have gone away by itself.
            with contextlib.suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)
            return
        self._send(answer.status, answer.body, answer.content_type)

    def _wait(self, seconds: float) -> None:
        if seconds > 0:
            self.server.sleep(seconds)

    def _send(self, status: int, body: bytes, content_type: str = "application/json") -> None:
        self.send_response_only(status)
        self.send_header("Date", self.date_time_string())
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        head = b"".join([*self._headers_buffer, b"\r\n"])
        self._headers_buffer: list[bytes] = []
        # Head and body in one segment: two would cost a wake-up of the client each.
        self.wfile.write(head + body)


def _error(code: str, words: str) -> bytes:
    error = f"<Error><Code>{code}</Code><Message>{escape(words)}</Message></Error>"
    return f"<Response><Errors>{error}</Errors><RequestID>0</RequestID></Response>".encode()
