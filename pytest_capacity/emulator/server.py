"""The port: HTTP/1.1 with keep-alive on loopback, a thread for each connection.

The life of a call is described in `face`. ``/_world`` waits for nothing and is not logged.
"""

from __future__ import annotations

import contextlib
import select
import socket
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar, Final
from urllib.parse import urlsplit

from pytest_capacity.emulator.calls import Call
from pytest_capacity.emulator.catalogue import Place
from pytest_capacity.emulator.face import Asked, Face
from pytest_capacity.emulator.http import JSON, HttpRequest, HttpResponse
from pytest_capacity.emulator.nodes.fleet import Fleet
from pytest_capacity.emulator.owners import Owners
from pytest_capacity.emulator.refusal import Refusal, Throttled
from pytest_capacity.emulator.secret import Secret
from pytest_capacity.emulator.view import tell
from pytest_capacity.emulator.weather import WeatherError, read_change
from pytest_capacity.emulator.world import World

LOOPBACK: Final = "127.0.0.1"
#: The status of a defect of the emulator: no cloud answers with it, and clients do not repeat it.
DEFECT: Final = 501


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
        faces: Sequence[Face],
        secret: Secret,
        fleet: Fleet,
        owners: Owners,
        clock: Callable[[], float],
        sleep: Callable[[float], None],
    ) -> None:
        self.world = world
        self.faces = faces
        self.secret = secret
        self.fleet = fleet
        self.owners = owners
        self.clock = clock
        self.sleep = sleep
        self.last_request = clock()
        super().__init__((LOOPBACK, port), Handler)

    @property
    def url(self) -> str:
        """Return the URL of the server."""
        return f"http://{LOOPBACK}:{self.server_port}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Report nothing of a connection that broke."""


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
        """Write nothing: calls are listed by /_world; stderr is for what went wrong in the emulator itself."""

    def _serve(self) -> None:
        self.server.last_request = self.server.clock()
        body = self._body()
        request = HttpRequest.make(self.command, self.path, self.headers.items(), body)
        # A page in a browser could otherwise reach the port under another name (DNS rebinding).
        host = urlsplit(f"//{request.headers.get('Host', '')}").hostname
        if host not in self._hosts:
            self._refuse(421, "the Host header must name 127.0.0.1 or localhost")
        elif request.path == "/_world" or request.path.startswith("/_world/"):
            self._world(request)
        else:
            self._cloud(request)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = _serve  # noqa: N815 - http.server's names

    def _body(self) -> bytes:
        if "chunked" not in self.headers.get("Transfer-Encoding", "").lower():
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = b""
        while size := int(self.rfile.readline().split(b";")[0] or b"0", 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass  # Trailers.
        return body

    def _refuse(self, status: int, words: str, headers: Mapping[str, str] | None = None) -> None:
        self._send(HttpResponse.of_json({"error": words}, status, headers))

    def _world(self, request: HttpRequest) -> None:
        if not self._is_local(request.headers.get("Origin")):
            self._refuse(403, "pages of other origins may not use the emulator")
        elif not self.server.secret.is_borne(request.headers):
            words = "send the header `Authorization: Bearer SECRET`; the file named in the ready line has the secret"
            self._refuse(401, words, {"WWW-Authenticate": "Bearer"})
        elif request.method == "POST" and request.path == "/_world":
            self._change(request)
        elif request.method == "GET" and request.path in ("/_world", "/_world/ssh"):
            with self.server.world.lock:
                if request.path == "/_world/ssh":
                    told: Any = self.server.fleet.doors()
                else:
                    told = tell(self.server.world, request.first("calls", "1") != "0")
            self._send(HttpResponse.of_json(told))
        else:
            self._refuse(404, "nothing here; GET /_world tells what the World holds")

    def _is_local(self, origin: str | None) -> bool:
        return origin is None or (origin != "null" and urlsplit(origin).netloc == urlsplit(self.server.url).netloc)

    def _change(self, request: HttpRequest) -> None:
        world = self.server.world
        if request.headers.get("Content-Type", "").partition(";")[0].strip().lower() != JSON:
            self._refuse(415, f"the weather is JSON: send the header `Content-Type: {JSON}`")
            return
        try:
            change = read_change(request.json(), world.names)
        except ValueError as problem:
            self._refuse(400, f"not JSON: {problem}")
            return
        except WeatherError as problem:
            self._refuse(400, str(problem))
            return
        if change.owner is not None:
            self.server.owners.add(change.owner)
        with world.lock:
            world.change(change)
            told = tell(world, calls=False)
        # A client that empties the World finds nothing of it, ports and directories included.
        self.server.fleet.follow()
        self._send(HttpResponse.of_json(told))

    def _cloud(self, request: HttpRequest) -> None:
        face = next((face for face in self.server.faces if face.claims(request)), None)
        if face is None:
            clouds = ", ".join(face.name for face in self.server.faces)
            self._refuse(404, f"no cloud has this; here are {clouds}, and GET /_world tells what the World holds")
            return
        server, world = self.server, self.server.world
        began = server.clock()
        half_s = world.weather.of("latency_ms", face.name) / 2000
        self._wait(half_s)
        asked, answer = self._read(face, request)
        with world.lock:
            world.under_way[id(asked)] = asked.operation
        if asked.strike.delay_s:
            asked.strike.lifted.wait(asked.strike.delay_s)
        at = world.clock.now()
        if answer is None:
            answer = self._do(face, asked)
        self._wait(half_s)
        lost = asked.strike.lose_reply
        with world.lock:
            del world.under_way[id(asked)]
            world.calls.append(
                Call(
                    at=at,
                    cloud=face.name,
                    operation=asked.operation,
                    region=asked.region,
                    zone=asked.zone,
                    type=asked.type,
                    market=asked.market,
                    status=answer.status,
                    error=answer.error,
                    began=began,
                    ended=server.clock(),
                    lost=lost,
                    token=asked.token,
                    dry_run=asked.dry_run,
                )
            )
        server.last_request = server.clock()
        if lost:
            self.close_connection = True
            # The client may have gone away by itself.
            with contextlib.suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)
            return
        self._send(answer)

    def _read(self, face: Face, request: HttpRequest) -> tuple[Asked, HttpResponse | None]:
        """Return the call's parts and its strike, and the answer if there is one already."""
        world = self.server.world
        asked = Asked(operation=f"{request.method} {request.path}", request=request)
        try:
            with world.lock:
                world.settle()
                asked = face.read(request)
                refusal = face.check(asked)
                if refusal is not None:
                    return asked, face.refuse(refusal, asked)
                if asked.refusal is None:
                    asked.strike = world.faults.strike(
                        face.name, asked.operation, asked.region, asked.zone, asked.type, asked.market, asked.replay
                    )
        except Refusal as refusal:
            asked.refusal = refusal
            wrong = face.check(asked)
            return asked, None if wrong is None else face.refuse(wrong, asked)
        except Exception:  # noqa: BLE001 - the edge of the process
            return asked, _defect(face, asked)
        return asked, None

    def _do(self, face: Face, asked: Asked) -> HttpResponse:
        world = self.server.world
        try:
            try:
                with world.lock:
                    world.settle()
                    self._admit(face, asked)
                    answer = face.do(asked)
                return answer if isinstance(answer, HttpResponse) else answer()
            except Refusal as refusal:
                return face.refuse(refusal, asked)
        except Exception:  # noqa: BLE001 - the edge of the process
            return _defect(face, asked)

    def _admit(self, face: Face, asked: Asked) -> None:
        if asked.refusal is not None:
            raise asked.refusal
        kind = "write" if asked.writes else "read"
        world = self.server.world
        for place in {Place(face.name, asked.region), Place(face.name)}:
            if not world.buckets.take(place, kind, world.clock.now()):
                raise Throttled(asked.region, kind)
        scripted = asked.strike.refusal()
        if scripted is not None:
            raise scripted

    def _wait(self, seconds: float) -> None:
        if seconds > 0:
            self.server.sleep(seconds)

    def _stream(self, pieces: Iterator[bytes]) -> None:
        """Send pieces as chunks (RFC 9112, section 7.1), until there are no more or the client has gone away."""
        with contextlib.suppress(OSError):
            for piece in pieces:
                if piece:
                    self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
                elif self._has_left():
                    self.close_connection = True
                    return
            self.wfile.write(b"0\r\n\r\n")

    def _has_left(self) -> bool:
        """Return whether the client has closed its end: it sends nothing while it reads an answer."""
        readable, _, _ = select.select([self.connection], [], [], 0)
        return bool(readable) and not self.connection.recv(1, socket.MSG_PEEK)

    def _send(self, answer: HttpResponse) -> None:
        self.send_response_only(answer.status)
        self.send_header("Date", self.date_time_string())
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if answer.stream is not None:
            self.send_header("Transfer-Encoding", "chunked")
        elif answer.status != 204:
            self.send_header("Content-Length", str(len(answer.body)))
        head = b"".join([*self._headers_buffer, b"\r\n"])
        self._headers_buffer: list[bytes] = []
        # Head and body in one segment: two would cost a wake-up of the client each.
        self.wfile.write(head + (b"" if self.command == "HEAD" or answer.status == 204 else answer.body))
        if answer.stream is not None:
            self._stream(answer.stream)


def _defect(face: Face, asked: Asked) -> HttpResponse:
    """Return the answer to a call that met a defect of the emulator: shown as one, never as a cloud's answer."""
    traceback.print_exc()
    words = f"a defect of the emulator, no answer of a cloud: {traceback.format_exc()}"
    # In the face's form: an SDK that cannot read an answer takes the outcome for unknown, and asks again.
    with contextlib.suppress(Exception):
        return face.refuse(Refusal("EmulatorDefect", words, DEFECT, scripted=True), asked)
    error = {"code": "EmulatorDefect", "message": words}
    return HttpResponse.of_json({"error": error, "__type": "EmulatorDefect"}, DEFECT, error="EmulatorDefect")
