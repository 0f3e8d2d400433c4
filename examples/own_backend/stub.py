"""A stand-in for the rack controller: holds and machines in memory, over HTTP. ``python stub.py`` prints its URL."""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit


class Rack:
    """What the controller has. The weather is set from outside."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.things: dict[tuple[str, str], dict[str, Any]] = {}
        self.calls: list[str] = []
        self.dry: set[str] = set()
        self.late: set[str] = set()
        self.lose_reply = False
        self.quota = False
        self.slow_s = 0.0

    def shown(self, kind: str, thing: dict[str, Any]) -> dict[str, Any]:
        now = time.time()
        state = "leaving" if thing["leaving"] else "ready" if now >= thing["ready_at"] else "creating"
        failed = state == "ready" and thing["fails"]
        address = "10.0.0.1" if kind == "machines" and state == "ready" else None
        state = "failed" if failed else state
        return {**thing, "state": state, "problem": thing["fails"] if failed else "", "address": address}

    def sweep(self) -> None:
        for key, thing in list(self.things.items()):
            if thing["leaving"] and time.time() >= thing["leaving"]:
                del self.things[key]

    def make(self, kind: str, body: dict[str, Any]) -> tuple[int, Any]:
        if (kind, body["name"]) not in self.things:
            if self.quota:
                return 403, {"error": "over-quota", "message": "the lab's quota is used up"}
            if body["zone"] in self.dry:
                return 409, {"error": "no-free-machine", "message": f"nothing is free in {body['zone']}"}
            slow = self.slow_s if kind == "machines" else 0.0
            fails = "no-free-machine" if body["zone"] in self.late else ""
            made = {**body, "ready_at": time.time() + slow, "leaving": 0.0, "fails": fails}
            self.things[kind, body["name"]] = made
        return 201, self.shown(kind, self.things[kind, body["name"]])

    def answer(self, method: str, path: str, body: dict[str, Any]) -> tuple[int, Any]:
        with self.lock:
            self.sweep()
            url = urlsplit(path)
            kind, _, name = url.path.strip("/").partition("/")
            self.calls.append(f"{method} {kind}")
            if kind == "whoami":
                return 200, {"account": "lab"}
            if kind == "zones":
                return 200, ["left", "right"]
            if kind == "things":
                run = parse_qs(url.query)["run"][0]
                kinds = {"machines": "node", "holds": "reservation"}
                ours = [(of, thing) for (of, _), thing in self.things.items() if thing["stamp"]["run"] == run]
                return 200, [[kinds[of], self.shown(of, thing)] for of, thing in ours]
            if method == "POST":
                return self.make(kind, body)
            thing = self.things.get((kind, name))
            if thing is None:
                return 404, {"error": "not-found", "message": f"no {kind} {name}"}
            if method == "PATCH":
                thing["until"] = body["until"]
            elif method == "DELETE" and not thing["leaving"]:
                thing["leaving"] = time.time() + (self.slow_s if kind == "machines" else 0.0)
            return 200, self.shown(kind, thing)


def serve(rack: Rack) -> ThreadingHTTPServer:
    """Serve ``rack`` on a free port of this machine, on threads of its own."""

    class Handler(BaseHTTPRequestHandler):
        def respond(self) -> None:
            size = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(size)) if size else {}
            status, answer = rack.answer(self.command, self.path, body)
            if rack.lose_reply and self.command == "POST" and "holds" in self.path:
                rack.lose_reply = False
                self.close_connection = True
                return
            data = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PATCH = do_DELETE = respond  # noqa: N815 - the names that http.server looks for.

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


if __name__ == "__main__":
    running = serve(Rack())
    print(f"http://127.0.0.1:{running.server_port}", flush=True)
    threading.Event().wait()
