"""The page in a real browser: its table and timeline, filters in the URL, and what changes while it is open."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.allocations import browser
from tests.allocations.browser import Chromium
from tests.allocations.runs import HOUR, Lab, node, reservation
from tests.emulated import ROOT

TOKEN: Final = "a-token-of-this-test"
PROGRAM: Final = (sys.executable, "-c", "import sys; from pytest_capacity.cli import main; sys.exit(main())")

#: What a row of the table says: the resource, and in which state it is.
ROWS: Final = """
Array.from(document.querySelectorAll('.allocations tbody tr'), row => [row.dataset.resource, row.cells[10].innerText])
"""
#: By resource, how wide each bar of the timeline is drawn, in pixels.
BARS: Final = """
Object.fromEntries(Array.from(document.querySelectorAll('.timeline tbody tr'), row => [
    row.querySelector('th').title,
    Array.from(row.querySelectorAll('.bar rect:first-of-type'), rect => rect.getBoundingClientRect().width),
]))
"""

pytestmark = pytest.mark.skipif(
    browser.find() is None,
    reason=f"no Chromium is installed here (looked for {', '.join(browser.NAMES)}; {browser.VARIABLE} names another)",
)


class Page:
    """A browser, the server, and the journal behind it."""

    def __init__(self, chromium: Chromium, lab: Lab, process: subprocess.Popen[str], url: str) -> None:
        self.chromium = chromium
        self.lab = lab
        self.process = process
        self.url = url

    def open(self, query: str = "") -> None:
        """The page, with the token that signs in."""
        self.chromium.open(f"{self.url}/?token={TOKEN}{query}")

    def rows(self) -> list[list[str]]:
        """What the table shows."""
        found: list[list[str]] = self.chromium.run(ROWS)
        return found

    def bars(self) -> dict[str, list[float]]:
        """What the timeline shows."""
        found: dict[str, list[float]] = self.chromium.run(BARS)
        return found


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    """One for all tests of this file."""
    program = browser.find()
    assert program
    with Chromium(program, tmp_path_factory.mktemp("chromium") / "profile") as chromium:
        yield chromium


@pytest.fixture
def page(chromium: Chromium, lab: Lab, tmp_path: Path) -> Iterator[Page]:
    """`pytest-capacity serve`, over two runs that stand and one that has ended."""
    lab.clock.at = time.time() - HOUR
    lab.start("run-1")
    lab.create("run-1", node("i-1", reservation="cr-1", deadline=lab.clock.at + 2 * HOUR))
    lab.lend("run-1", "test_a.py::test_<img src=x onerror=document.title='run'>", "i-1")
    lab.start("run-2", "blazar")
    facts = {"hosts": "1 2", "lease_id": "lease-1"}
    lab.create("run-2", reservation("res-1", facts=facts, deadline=lab.clock.at + 3 * HOUR))
    lab.start("run-3")
    lab.create("run-3", node("i-3"))
    lab.clock.at += HOUR / 2
    lab.gone("run-3", node("i-3"))
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "PYTEST_CAPACITY_SERVE_TOKEN": TOKEN}
    command = [*PROGRAM, "serve", "--json", "--no-cloud", "--journal", str(lab.path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environ, text=True, cwd=tmp_path) as process:
        assert process.stdout is not None
        url = json.loads(process.stdout.readline())["url"]
        chromium.faults.clear()
        chromium.asked.clear()
        yield Page(chromium, lab, process, url)
        chromium.leave()
        process.terminate()


def test_the_table_and_the_timeline_are_drawn(page: Page) -> None:
    """Each resource that is used has a row and a bar; its own policy refuses nothing, and it asks no other server."""
    page.open()
    assert page.rows() == [["i-1", "ready"], ["1", "ready"], ["2", "ready"]]
    bars = page.bars()
    assert sorted(bars) == ["1", "2", "i-1"]
    assert all(len(widths) == 1 and widths[0] > 10 for widths in bars.values())
    assert bars["1"][0] > bars["i-1"][0] * 1.2, "a lease of three hours is longer than one of two"
    style = page.chromium.run("getComputedStyle(document.querySelector('.bar rect')).fill")
    assert style == "rgb(42, 120, 196)", "the style sheet was let through"
    assert page.chromium.faults == []
    assert {urlsplit(url).netloc for url in page.chromium.asked} == {urlsplit(page.url).netloc}


def test_text_stays_text(page: Page) -> None:
    """The name of a test is no markup, and the token is in no URL that a history would keep."""
    page.open()
    assert "<img src=x" in page.chromium.run("document.querySelector('[data-resource=i-1]').innerText")
    assert page.chromium.run("document.images.length") == 0
    assert page.chromium.run("document.title") == "Allocations"
    assert page.chromium.run("location.search") == ""


def test_filters_are_in_the_url(page: Page) -> None:
    """What the form asks for can be sent to another user, and is in the form again there."""
    page.open()
    page.chromium.run("document.querySelector('[name=lease]').value = 'lease-1'")
    page.chromium.run("document.querySelector('form button').click()")
    page.chromium.until("location.search.includes('lease-1') && document.readyState === 'complete'", "the form is sent")
    assert page.rows() == [["1", "ready"], ["2", "ready"]]
    assert parse_qs(page.chromium.run("location.search"))["lease"] == ["lease-1"]
    page.chromium.open(page.url + "/?resource=i-3&state=terminated")
    assert page.rows() == [["i-3", "gone"]]
    values = "Array.from(document.querySelectorAll('form [name=resource], form [name=state]'), one => one.value)"
    assert page.chromium.run(values) == ["i-3", "terminated"]
    page.chromium.run("document.querySelector('[data-resource=i-3] a').click()")
    page.chromium.until("location.search === '?resource=i-3&state=all'", "a link in the table is a filter")
    page.chromium.open(page.url + "/?state=sometimes")
    assert "give active, terminated or all" in page.chromium.run("document.querySelector('[role=alert]').innerText")


def test_it_changes_while_it_is_open(page: Page) -> None:
    """A node that comes and one that goes, without a reload, under the filter of the URL; what is typed stays."""
    page.open("&resource=i-1")
    page.chromium.run("window.mark = 'not reloaded'; document.querySelector('[name=lease]').value = 'half typ'")
    page.lab.create("run-1", node("i-9"))
    page.lab.gone("run-1", node("i-1"))
    page.chromium.until("document.querySelector('main').innerText.includes('Nothing is allocated')", "i-1 has gone")
    assert page.chromium.run("[window.mark, document.querySelector('[name=lease]').value]") == [
        "not reloaded",
        "half typ",
    ]
    page.chromium.open(page.url + "/")
    assert "i-9" in {resource for resource, _ in page.rows()}
    page.lab.create("run-2", node("i-10"))
    page.chromium.until("document.querySelector('[data-resource=\"i-10\"]') !== null", "i-10 has come")
    assert len(page.bars()["i-10"]) == 1


def test_what_is_old_is_shown_as_old(page: Page) -> None:
    """The server has ended: the last answer stays, and is marked, until there is another."""
    page.open()
    page.process.terminate()
    page.process.wait(120)
    page.chromium.until("document.body.classList.contains('stale')", "the page says that it is old")
    assert page.rows()[0] == ["i-1", "ready"]
    assert page.chromium.run("getComputedStyle(document.querySelector('main')).opacity") == "0.5"
