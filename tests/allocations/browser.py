"""A headless Chromium, by the DevTools protocol over its pipe: JSON, each message ended by a zero byte.

https://chromedevtools.github.io/devtools-protocol/
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

#: Names one that stands elsewhere.
VARIABLE: Final = "CAPACITY_CHROMIUM"

#: What it is called where it is installed.
NAMES: Final = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome", "chrome-headless-shell")

#: How long a page may take for anything, on a loaded machine. Seconds.
PATIENCE: Final = 120.0

#: Becomes the program that it names, with our two pipes where that looks for them.
_WIRE: Final = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.dup2(int(sys.argv[2]), 4)
os.execvp(sys.argv[3], sys.argv[3:])
"""

_OPTIONS: Final = (
    "--headless",
    "--remote-debugging-pipe",
    "--no-first-run",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--window-size=1400,900",
)


def find() -> str | None:
    """Return the path of a Chromium; None where there is none."""
    named = os.environ.get(VARIABLE)
    if named:
        return named
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class _Navigated(Exception):
    """The page that was asked is another one by now."""


class Chromium:
    """One browser with one page. Use it as a context manager."""

    def __init__(self, program: str, profile: Path) -> None:
        to_it, ours_out = os.pipe()
        ours_in, from_it = os.pipe()
        # It reads descriptor 3 and writes to descriptor 4. Duplicates with higher numbers are free.
        passed = [fcntl.fcntl(one, fcntl.F_DUPFD, 10) for one in (to_it, from_it)]

        # Its sandbox needs what a container and root do not have; it opens nothing but our own page.
        options = [*_OPTIONS, "--no-sandbox", f"--user-data-dir={profile}"]
        self._log = (profile.parent / "chromium.log").open("wb")
        self._process = subprocess.Popen(
            [sys.executable, "-c", _WIRE, *map(str, passed), program, *options, "about:blank"],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            pass_fds=passed,
            env={**os.environ, "HOME": str(profile.parent)},
        )
        for one in (to_it, from_it, *passed):
            os.close(one)
        self._out = os.fdopen(ours_out, "wb", buffering=0)
        self._in = os.fdopen(ours_in, "rb")
        self._number = 0
        self._session = ""
        #: What the page wrote to its console, and what its policy refused; the URLs that it asked for.
        self.faults: list[str] = []
        self.asked: list[str] = []
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self._call(f"{domain}.enable")

    def __enter__(self) -> Chromium:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        try:
            self._process.wait(60)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(60)
        self._out.close()
        self._in.close()
        self._log.close()

    def open(self, url: str) -> None:
        """Go there, and wait until the page is loaded."""
        self._call("Page.navigate", url=url)
        self.until("document.readyState === 'complete' && location.protocol === 'http:'", "the page is loaded")

    def leave(self) -> None:
        """Show nothing, so that no server is asked any more."""
        self._call("Page.navigate", url="about:blank")

    def run(self, script: str) -> Any:
        """Return the value of a JavaScript expression in the page; None where the page went away under it."""
        try:
            answer = self._call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        except _Navigated:
            return None
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def until(self, script: str, what: str) -> None:
        """Wait until the expression is true."""
        _until(lambda: self.run(script), f"{what}: {script}")

    def _call(self, method: str, **params: Any) -> dict[str, Any]:
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        self._out.write(json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") == self._number:
                if "navigated" in answer.get("error", {}).get("message", ""):
                    raise _Navigated
                assert "error" not in answer, (method, answer["error"])
                found: dict[str, Any] = answer["result"]
                return found
            self._note(answer)

    def _receive(self) -> dict[str, Any]:
        data = bytearray()
        while (byte := self._in.read(1)) != b"\0":
            assert byte, "Chromium has ended; its log is beside its profile"
            data += byte
        found: dict[str, Any] = json.loads(data)
        return found

    def _note(self, event: Mapping[str, Any]) -> None:
        params = event.get("params", {})
        if event.get("method") == "Log.entryAdded":
            self.faults.append(params["entry"]["text"])
        elif event.get("method") == "Runtime.exceptionThrown":
            self.faults.append(params["exceptionDetails"]["text"])
        elif event.get("method") == "Network.requestWillBeSent":
            self.asked.append(params["request"]["url"])


def _until(there: Callable[[], object], what: str) -> None:
    end = time.monotonic() + PATIENCE
    while not there():
        assert time.monotonic() < end, f"not within {PATIENCE} s: {what}"
        time.sleep(0.1)
