"""The REST API and the page: Blazar's bodies, who may ask, pages, and text that stays text."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from pytest_capacity.allocations.web.app import make_app
from pytest_capacity.allocations.web.guard import COOKIE, Guard
from tests.allocations.runs import HOUR, MIDNIGHT, Lab, node, reservation

PORT = 7777
ADMIN = "admin-token-of-this-test"
MEMBER = "member-token-of-this-test"
ALLOCATIONS = "/v1/os-hosts/allocations"


class Browser:
    """A client of the application, as it stands behind the server's socket."""

    def __init__(self, client: FlaskClient) -> None:
        self.client = client

    def get(self, path: str, token: str | None = ADMIN, method: str = "GET", **headers: str) -> TestResponse:
        """Ask; with the token in a header, unless there is none."""
        given = {"Host": f"127.0.0.1:{PORT}", **({"X-Auth-Token": token} if token else {}), **headers}
        return self.client.open(path, method=method, headers=given)

    def json(self, path: str) -> Any:
        """What a good answer says."""
        answer = self.get(path)
        assert answer.status_code == 200, answer.text
        return answer.json


def browser_of(lab: Lab, policy: str = "admin") -> Browser:
    """The application on this journal."""
    guard = Guard(tokens={ADMIN: "admin", MEMBER: "member"}, policy="member" if policy == "member" else "admin")
    return Browser(make_app(lab.path, guard, PORT, now=lab.clock).test_client())


@pytest.fixture
def browser(lab: Lab) -> Browser:
    """With two runs in the journal: a node in a reservation, and a lease on two hosts."""
    lab.start("run-1")
    lab.create("run-1", node("i-1", reservation="cr-1", deadline=MIDNIGHT + HOUR))
    lab.start("run-2", "blazar")
    facts = {"hosts": "1 2 2", "lease_id": "lease-1"}
    lab.create("run-2", reservation("res-1", facts=facts, deadline=MIDNIGHT + HOUR))
    return browser_of(lab)


def entry(id_: str, lease: str) -> dict[str, str]:
    """A reservation as Blazar writes it."""
    return {
        "id": id_,
        "lease_id": lease,
        "start_date": "2026-11-21T00:00:00.000000",
        "end_date": "2026-11-21T01:00:00.000000",
    }


def test_the_list_has_blazars_form(browser: Browser) -> None:
    """Every resource with its reservations, key by key; dates in UTC that do not say so."""
    assert datetime.fromtimestamp(MIDNIGHT, UTC).isoformat() == "2026-11-21T00:00:00+00:00"
    one = entry("res-1", "lease-1")
    assert browser.json(ALLOCATIONS) == {
        "allocations": [
            {"resource_id": "i-1", "reservations": [entry("cr-1", "run-1")]},
            {"resource_id": "1", "reservations": [one]},
            {"resource_id": "2", "reservations": [one, one]},
        ]
    }


def test_one_host_has_blazars_form(browser: Browser) -> None:
    """The singular of the list."""
    expected = {"resource_id": "1", "reservations": [entry("res-1", "lease-1")]}
    assert browser.json("/v1/os-hosts/1/allocation") == {"allocation": expected}


@pytest.mark.parametrize(
    ("query", "counts"),
    [
        ("lease_id=lease-1", [0, 1, 2]),
        ("reservation_id=cr-1", [1, 0, 0]),
        ("lease_id=lease-1&reservation_id=cr-1", [0, 0, 0]),
        ("lease_id=does-not-exist", [0, 0, 0]),
        ("terminated=false", [1, 1, 2]),
        ("terminated=true", [0, 0, 0]),
        ("to=2026-11-20", [0, 0, 0]),
        ("from=2026-11-21T01:30Z&to=2026-11-21T01:45Z", [1, 1, 2]),
    ],
)
def test_filters_leave_resources_and_take_reservations_out(browser: Browser, query: str, counts: list[int]) -> None:
    """As in Blazar every resource stays in the list."""
    found = browser.json(f"{ALLOCATIONS}?{query}")["allocations"]
    assert [len(one["reservations"]) for one in found] == counts


def test_terminated_answers_what_blazar_never_could(lab: Lab, browser: Browser) -> None:
    """What has ended stays known: by an event, or by the end of its lease."""
    lab.gone("run-1", node("i-1"))
    lab.clock.at += 2 * HOUR
    found = browser.json(f"{ALLOCATIONS}?terminated=true")["allocations"]
    assert [len(one["reservations"]) for one in found] == [1, 1, 2]
    assert [len(one["reservations"]) for one in browser.json(ALLOCATIONS)["allocations"]] == [0, 0, 0]


@pytest.mark.parametrize(
    ("path", "token", "status", "body"),
    [
        (
            ALLOCATIONS,
            None,
            401,
            {
                "error": {
                    "code": 401,
                    "title": "Unauthorized",
                    "message": "The request you have made requires authentication.",
                }
            },
        ),
        (ALLOCATIONS, "bogus", 401, None),
        (
            ALLOCATIONS,
            MEMBER,
            403,
            {
                "error_code": 403,
                "error_message": "Policy doesn't allow blazar:oshosts:get_allocations to be performed",
                "error_name": 403,
            },
        ),
        (
            "/v1/os-hosts/99/allocation",
            ADMIN,
            404,
            {"error_code": 404, "error_message": "Object with {'host_id': '99'} not found", "error_name": 404},
        ),
        (
            "/v1/os-hosts/1/allocations",
            ADMIN,
            404,
            {
                "error": 404,
                "error_message": "The requested URL was not found on the server. If you entered the URL manually "
                "please check your spelling and try again.",
            },
        ),
        (
            f"{ALLOCATIONS}?terminated=perhaps",
            ADMIN,
            400,
            {"error_code": 400, "error_message": "terminated=perhaps: give true or false", "error_name": 400},
        ),
    ],
)
def test_errors_have_blazars_form(
    browser: Browser, path: str, token: str | None, status: int, body: dict[str, Any] | None
) -> None:
    """Three shapes: the middleware's, the web framework's, and its own."""
    answer = browser.get(path, token)
    assert answer.status_code == status
    assert body is None or answer.json == body


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=1001", "limit=x", "marker=-1", "marker=" + "9" * 30, "from=whenever", "bogus=1"]
)
def test_what_cannot_be_used_is_refused(browser: Browser, query: str) -> None:
    """400 in Blazar's form, naming the parameter; Blazar itself ignores a filter that is misspelt."""
    answer = browser.get(f"{ALLOCATIONS}?{query}")
    assert answer.status_code == 400
    assert answer.json["error_message"].startswith(query.split("=")[0])


def test_a_version_that_is_not_there_is_refused(browser: Browser) -> None:
    """406, as Blazar does; the one that is there is served."""
    assert browser.get(ALLOCATIONS, **{"OpenStack-API-Version": "reservation 9.9"}).status_code == 406
    assert browser.get(ALLOCATIONS, **{"OpenStack-API-Version": "reservation 1.0"}).status_code == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_nothing_can_be_changed(browser: Browser, method: str) -> None:
    """405 for every method that changes something, wherever."""
    for path in (ALLOCATIONS, "/", "/v1/os-hosts/1/allocation"):
        assert browser.get(path, method=method).status_code == 405


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": f"localhost:{PORT}"}, 200),
        ({"Host": f"[::1]:{PORT}"}, 200),
        ({"Host": f"evil.example:{PORT}"}, 403),
        ({"Host": f"127.0.0.1:{PORT + 1}"}, 403),
        ({"Host": "127.0.0.1:x"}, 403),
        ({"Origin": f"http://127.0.0.1:{PORT}"}, 200),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": f"http://127.0.0.1:{PORT}.evil.example"}, 403),
        ({"Origin": "null"}, 403),
    ],
)
def test_only_our_own_name_and_page_are_served(browser: Browser, headers: dict[str, str], status: int) -> None:
    """A name that is pointed at this machine, and a page from elsewhere, get nothing, token or not."""
    assert browser.get(ALLOCATIONS, **headers).status_code == status


def test_members_may_look_where_the_policy_says_so(lab: Lab, browser: Browser) -> None:
    """``--policy member``."""
    open_to_all = browser_of(lab, "member")
    assert open_to_all.get(ALLOCATIONS, MEMBER).status_code == 200
    assert open_to_all.get(ALLOCATIONS, None).status_code == 401


def test_a_browser_signs_in_by_the_url_once(browser: Browser) -> None:
    """The token goes from the URL into a cookie that no script reads and no other site sends."""
    answer = browser.get(f"/?lease=run-1&token={ADMIN}", None)
    assert (answer.status_code, answer.headers["Location"]) == (302, "/?lease=run-1")
    cookie = answer.headers["Set-Cookie"]
    assert cookie.startswith(f"{COOKIE}={ADMIN};")
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert browser.get("/", None).status_code == 200
    assert browser.get("/?token=wrong", None).status_code == 401


def test_pages_lead_from_one_to_the_next(lab: Lab) -> None:
    """By the link that OpenStack's clients follow; every resource is there once."""
    lab.start("run-1")
    lab.create("run-1", *(node(f"i-{number}") for number in range(5)))
    browser, path, ids = browser_of(lab), f"{ALLOCATIONS}?limit=2&lease_id=run-1", []
    for _ in range(3):
        body = browser.json(path)
        ids += [one["resource_id"] for one in body["allocations"]]
        assert all(one["reservations"] for one in body["allocations"])
        links = body.get("allocations_links", [])
        path = urlsplit(links[0]["href"])._replace(scheme="", netloc="").geturl() if links else ""
    assert (ids, path) == ([f"i-{number}" for number in range(5)], "")


def test_a_host_of_two_regions_must_be_told_apart(lab: Lab) -> None:
    """Blazar counts hosts from 1 in every region."""
    lab.start("run-1", "blazar")
    for region in ("east", "west"):
        lab.create("run-1", reservation(f"res-{region}", region=region, facts={"hosts": "1"}))
    browser = browser_of(lab)
    answer = browser.get("/v1/os-hosts/1/allocation")
    assert answer.status_code == 400
    assert "east, west" in answer.json["error_message"]
    found = browser.json("/v1/os-hosts/1/allocation?region=west")["allocation"]["reservations"]
    assert [one["id"] for one in found] == ["res-west"]


def test_a_journal_that_cannot_be_read_is_an_error_in_blazars_form(lab: Lab) -> None:
    """500, with what to do; and where no run has begun the list is empty."""
    lab.path.with_name("text").write_text("no journal")
    guard = Guard(tokens={ADMIN: "admin"})
    broken = Browser(make_app(lab.path.with_name("text"), guard, PORT).test_client())
    answer = broken.get(ALLOCATIONS)
    assert (answer.status_code, answer.json["error_name"]) == (500, 500)
    assert "is no journal" in answer.json["error_message"]
    assert broken.get("/").status_code == 500
    none = Browser(make_app(lab.path.with_name("none"), guard, PORT).test_client())
    assert none.json(ALLOCATIONS) == {"allocations": []}


def test_the_page_has_the_table_and_the_timeline(browser: Browser) -> None:
    """One row an allocation; one picture a resource, with a bar an allocation."""
    text = browser.get("/").text
    assert len(re.findall(r"<tr data-resource=", text)) == 4
    assert len(re.findall(r'<svg [^>]*role="img"', text)) == 3
    assert len(re.findall(r'<g class="bar ready">', text)) == 4
    text = browser.get("/?lease=lease-1&state=all").text
    assert "i-1" not in text
    assert 'value="lease-1"' in text


def test_text_stays_text(lab: Lab) -> None:
    """What a test, a project, a cloud or the URL says is never read as HTML."""
    bad = "<script>alert(1)</script>\"'"
    lab.start("run-1", project=bad)
    lab.create("run-1", node(f"i-{bad}", group=bad, reservation=bad))
    lab.lend("run-1", f"test[{bad}]", f"i-{bad}")
    browser = browser_of(lab)
    for path in ("/", "/?resource=%3Cscript%3Ealert(1)%3C/script%3E", "/?state=%3Cscript%3Ealert(1)%3C/script%3E"):
        answer = browser.get(path)
        assert "<script>alert" not in answer.text
        assert "alert(1)" in answer.text
        assert "script-src 'self'" in answer.headers["Content-Security-Policy"]
        assert "unsafe-inline" not in answer.headers["Content-Security-Policy"]


def test_the_page_says_what_is_wrong_with_its_filters(browser: Browser) -> None:
    """In words, with 400, and with the form to mend it."""
    answer = browser.get("/?from=whenever")
    assert answer.status_code == 400
    assert "give a time as 2026-11-21 01:33 (UTC)" in answer.text
    assert 'value="whenever"' in answer.text


def test_the_pages_files_are_there(browser: Browser) -> None:
    """Style and script, without a token: they say nothing about anybody."""
    for path in re.findall(r'(?:href|src)="(/static/[^"]+)"', browser.get("/").text):
        assert browser.get(path, None).status_code == 200
    assert browser.get("/static/../app.py", None).status_code in (401, 404)
