"""A cluster on a port of its own in this process: the emulator's Kubernetes face, with a clock that the test moves."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

from pytest_capacity.emulator.kubernetes.api import Cluster, Watch

#: How long a watch waits for something to say. Seconds.
WATCH_S = 1.0


class Ticking:
    """A clock that stands until it is moved, or that runs as the machine's own."""

    def __init__(self, at: float = 1_790_000_000.0) -> None:
        self.at = at
        self.runs = False

    def __call__(self) -> float:
        return time.time() if self.runs else self.at

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.at += seconds


class Served:
    """A cluster that is being served. Its dictionaries say, by operation, what goes wrong."""

    def __init__(self, cluster: Cluster, url: str, clock: Ticking, lock: threading.Lock) -> None:
        self.cluster = cluster
        self.url = url
        self.clock = clock
        self.lock = lock
        self.calls: list[tuple[str, str]] = []
        #: Operations whose answers are lost after they were done, with how often.
        self.lose: dict[str, int] = {}
        #: Operations that are answered with this status and not done, with how often.
        self.fail: dict[str, tuple[int, int]] = {}
        #: What happens once before an operation, with the cluster locked.
        self.before: dict[str, Callable[[Cluster], None]] = {}

    def made(self, plural: str, group: str = "ops.kubedb.com", namespace: str = "default") -> list[dict[str, Any]]:
        """Return the objects of a kind, oldest first."""
        with self.lock:
            found = list(self.cluster.store.all(self.cluster.kinds[group, plural], namespace))
        return sorted(found, key=lambda one: int(one["metadata"]["resourceVersion"]))


@contextmanager
def serving() -> Iterator[Served]:
    """Serve an empty cluster on loopback."""
    clock = Ticking()
    lock = threading.Lock()

    class Handler(_Handler):
        pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        served = Served(Cluster(clock), f"http://127.0.0.1:{server.server_port}", clock, lock)
        Handler.served = served
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield served
        finally:
            server.shutdown()
            thread.join(5)


class _Handler(BaseHTTPRequestHandler):
    served: ClassVar[Served]
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, format: str, *args: Any) -> None:
        """Silent."""

    def _serve(self) -> None:
        served = self.served
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = urlsplit(self.path)
        query = parse_qs(parts.query)
        headers = {name.lower(): value for name, value in self.headers.items()}
        with served.lock:
            operation = served.cluster.operation(self.command, parts.path, query)
            served.calls.append((operation, self.path))
            status, times = served.fail.get(operation, (0, 0))
            if times:
                served.fail[operation] = status, times - 1
                self._send(status, b"upstream is not there", "text/plain")
                return
            happens = served.before.pop(operation, None)
            if happens:
                happens(served.cluster)
            answer = served.cluster.respond(self.command, parts.path, query, headers, body)
        if isinstance(answer, Watch):
            self._send(200, self._await(answer), "application/json")
            return
        if served.lose.get(operation, 0):
            served.lose[operation] -= 1
            self.close_connection = True
            self.connection.close()
            return
        self._send(answer.status, answer.body, answer.content_type)

    def _await(self, watch: Watch) -> bytes:
        end = time.monotonic() + WATCH_S
        while True:
            with self.served.lock:
                lines = watch.poll()
            if lines or time.monotonic() > end:
                return lines
            time.sleep(0.01)

    def _send(self, status: int, body: bytes, content_type: str) -> None:
        self.send_response_only(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def do_PUT(self) -> None:
        self._serve()

    def do_PATCH(self) -> None:
        self._serve()

    def do_DELETE(self) -> None:
        self._serve()
