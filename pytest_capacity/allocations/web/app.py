"""The application: the two calls of the REST API, and the page. Every answer is made by one query of the index."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

from flask import Flask, Response, jsonify, redirect, render_template, request, url_for
from msgspec.structs import replace
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response as AnyResponse

from pytest_capacity.allocations.model import Filter, Page
from pytest_capacity.allocations.view import AllocationView, open_cloud_view
from pytest_capacity.allocations.web import bodies
from pytest_capacity.allocations.web.guard import COOKIE, HEADER, Guard, is_ours, may_ask
from pytest_capacity.allocations.web.query import PAGE_NAMES, BadQuery, read_page, read_rest
from pytest_capacity.allocations.web.reader import Cloud, Reader
from pytest_capacity.allocations.web.timeline import WIDTH, timeline
from pytest_capacity.errors import JournalError
from pytest_capacity.text import moment
from pytest_capacity.usage import Usage

#: Resources on one page for people.
ROWS: Final = 100

#: The names of the two calls in the policy, which stand in the body of a 403.
_LIST: Final = "blazar:oshosts:get_allocations"
_GET: Final = "blazar:oshosts:get_allocation"

#: Nothing from elsewhere is loaded, nothing in the page runs that is no file of ours, and no other page shows this one.
_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
}

_VERSION: Final = re.compile(r"^\s*reservation\s+(\S+)\s*$")


class Opened:
    """The view of a journal that may not be there yet when the server starts, and of a cloud, if one is read."""

    def __init__(self, journal: Path, now: Callable[[], float], cloud: Cloud | None) -> None:
        self._journal = journal
        self._now = now
        self._view: AllocationView | None = None
        self._has_journal = False
        self._backend = cloud.backend if cloud else ""
        #: None: there is the journal alone.
        self.reader = Reader(cloud, self._take) if cloud else None
        self._read: tuple[Usage, Sequence[str]] | None = None
        self._lock = threading.Lock()

    @property
    def unread(self) -> Sequence[str]:
        """Return what is missing of the cloud, in words."""
        return self.reader.faults if self.reader else ()

    def page(self, wanted: Filter) -> Page:
        """Return a page of the view. Raises `JournalError`."""
        if self.reader:
            self.reader.look()
        return self._open().page(replace(wanted, cloud=self._backend))

    def _take(self, usage: Usage, whole: Sequence[str]) -> None:
        self._read = usage, whole
        self._open().note(self._backend, usage.resources, whole)

    def _open(self) -> AllocationView:
        with self._lock:
            if self._view is None or (not self._has_journal and self._journal.exists()):
                # The view before it, of no journal, is left to those who are reading it.
                self._has_journal = self._journal.exists()
                self._view = open_cloud_view(self._journal, now=self._now)
                if self._read:
                    self._view.note(self._backend, self._read[0].resources, self._read[1])
            return self._view


def make_app(
    journal: Path, guard: Guard, port: int, *, now: Callable[[], float] = time.time, cloud: Cloud | None = None
) -> Flask:
    """Return the WSGI application for one journal. ``port`` is the port on which it listens, as its clients name it.

    A ``cloud`` is read before this returns, and again while a client looks.
    """
    app = Flask("pytest_capacity.allocations.web")
    opened = Opened(journal, now, cloud)
    if opened.reader:
        opened.reader.read()
        opened.reader.start()
    _add_guard(app, guard, port)
    _add_rest(app, opened)
    _add_page(app, opened, now)
    _add_errors(app)
    return app


def _add_guard(app: Flask, guard: Guard, port: int) -> None:
    @app.before_request
    def check() -> AnyResponse | None:
        if not is_ours(request.headers.get("Host"), port):
            return _json(403, bodies.fault(403, f"Host {request.headers.get('Host')!r} is not this server"))
        if not may_ask(request.headers.get("Origin"), port):
            return _json(403, bodies.fault(403, f"Origin {request.headers.get('Origin')!r} may not ask"))
        if request.endpoint == "static":
            return None  # The style and the script of the page: the same for all.
        given = request.headers.get(HEADER) or request.args.get("token") or request.cookies.get(COOKIE)
        role = guard.role_of(given)
        if role is None:
            answer = _json(401, bodies.unauthorized())
            answer.headers["WWW-Authenticate"] = f"{HEADER} realm=allocations"
            return answer
        if not guard.allows(role):
            return _json(403, bodies.forbidden(_GET if request.endpoint == "one" else _LIST))
        if "token" in request.args:
            return _sign_in(given or "")
        return _check_version()

    @app.after_request
    def harden(response: Response) -> Response:
        response.headers.update(_HEADERS)
        return response


def _sign_in(token: str) -> AnyResponse:
    """Move the token from the URL, where histories and logs would keep it, into a cookie."""
    rest = {name: value for name, value in request.args.items() if name != "token"}
    answer = redirect(f"{request.path}?{urlencode(rest)}" if rest else request.path)
    answer.set_cookie(COOKIE, token, httponly=True, samesite="Strict", path="/")
    return answer


def _check_version() -> AnyResponse | None:
    asked = _VERSION.match(request.headers.get("OpenStack-API-Version", ""))
    if asked and asked[1] not in ("1.0", "latest"):
        words = f"Version {asked[1]} is not supported by the API. Minimum is 1.0 and maximum is 1.0."
        return _json(406, bodies.routing_fault(406, words))
    return None


def _add_rest(app: Flask, opened: Opened) -> None:
    @app.get("/v1/os-hosts/allocations")
    def every() -> AnyResponse:
        page = opened.page(read_rest(request.args.to_dict()))
        body: bodies.Body = {"allocations": [bodies.allocation_of(found) for found in page.resources]}
        if page.next is not None:
            query = {**request.args.to_dict(), "marker": str(page.next)}
            body["allocations_links"] = [{"rel": "next", "href": f"{request.base_url}?{urlencode(query)}"}]
        return _json(200, _with_unread(body, opened))

    @app.get("/v1/os-hosts/<host>/allocation")
    def one(host: str) -> AnyResponse:
        found = opened.page(replace(read_rest(request.args.to_dict()), resource=host, limit=2)).resources
        if not found:
            return _json(404, bodies.no_such_host(host))
        if len(found) > 1:
            regions = ", ".join(each.resource.region for each in found)
            raise BadQuery(f"{host}: there is one in each of {regions}. Add ?region=")
        return _json(200, _with_unread({"allocation": bodies.allocation_of(found[0])}, opened))


def _with_unread(body: bodies.Body, opened: Opened) -> bodies.Body:
    """Add what could not be read of the cloud, which must not be taken for unused."""
    return {**body, "unread": list(opened.unread)} if opened.unread else body


def _add_page(app: Flask, opened: Opened, now: Callable[[], float]) -> None:
    app.jinja_env.filters["moment"] = moment

    @app.get("/")
    def page() -> AnyResponse:
        given = request.args.to_dict()
        at, fault, status, found, wanted = now(), "", 200, Page(), Filter()
        try:
            wanted = read_page(given, ROWS)
            found = opened.page(wanted)
        except (BadQuery, JournalError) as error:
            fault, status = str(error), 400 if isinstance(error, BadQuery) else 500
        text = render_template(
            "allocations.html",
            fault=fault,
            unread=opened.unread,
            found=found.resources,
            timeline=timeline(found.resources, at, wanted.start, wanted.end),
            width=WIDTH,
            given={name: given.get(name, "") for name in PAGE_NAMES},
            next=_next(given, found),
            at=at,
        )
        return Response(text, status, mimetype="text/html")


def _next(given: Mapping[str, str], found: Page) -> str:
    return "" if found.next is None else f"{url_for('page')}?{urlencode({**given, 'marker': str(found.next)})}"


def _add_errors(app: Flask) -> None:
    @app.errorhandler(BadQuery)
    def bad_query(error: BadQuery) -> AnyResponse:
        return _json(400, bodies.fault(400, str(error)))

    @app.errorhandler(HTTPException)
    def routing(error: HTTPException) -> AnyResponse:
        code = error.code or 500
        answer = _json(code, bodies.routing_fault(code, error.description or error.name))
        if error.response is None and (methods := getattr(error, "valid_methods", None)):
            answer.headers["Allow"] = ", ".join(sorted(methods))
        return answer

    @app.errorhandler(Exception)
    def defect(error: Exception) -> AnyResponse:
        if not isinstance(error, JournalError):
            app.logger.error("%s %s", request.method, request.path, exc_info=error)
        return _json(500, bodies.fault(500, str(error)))


def _json(status: int, body: Mapping[str, Any]) -> AnyResponse:
    answer = jsonify(body)
    answer.status_code = status
    return answer
