"""A real blazar-api and a real blazar-manager 18.0.0 in one process, beside the stand-ins: ``python -m ... DIRECTORY``.

Prints one line of JSON when it is ready. Blazar is as it is, with two exceptions: its event loop runs every 0.3 s
instead of every 10 s, and its clock is ahead by what a test asks for.
"""

from __future__ import annotations

import gettext
import json
import sys
import threading
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from tests.blazar import placement  # noqa: F401 - its routes.
from tests.blazar.services import Services
from tests.blazar.world import PASSWORD

_CONFIG = """
[DEFAULT]
transport_url = fake://
host = 127.0.0.1
os_auth_protocol = http
os_auth_host = 127.0.0.1
os_auth_port = {port}
os_admin_username = admin
os_admin_password = {password}
os_admin_project_name = admin
use_stderr = false
log_file = {state}/blazar.log
[manager]
plugins = physical.host.plugin,virtual.instance.plugin,flavor.instance.plugin
minutes_before_end_lease = 0
[database]
connection = sqlite:///{state}/blazar.sqlite?timeout=60
[keystone_authtoken]
auth_type = password
auth_url = {url}/v3
www_authenticate_uri = {url}/v3
username = admin
password = {password}
project_name = admin
user_domain_name = Default
project_domain_name = Default
[oslo_messaging_notifications]
driver = noop
[oslo_concurrency]
lock_path = {state}
"""


class _Gateway:
    """In front of Blazar: loses the answer to a call when the weather says so, as a proxy whose time is up does."""

    def __init__(self, app: Callable[..., Iterable[bytes]], services: Services) -> None:
        self._app = app
        self._services = services
        self._lock = threading.Lock()

    def __call__(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        weather = self._services.world.weather
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        if method != "GET":
            self._services.world.calls.append(f"{method} {path}")
        with self._lock:
            lose = weather.get("lose_reply") and method == "POST" and path == "/v1/leases"
            if lose:
                weather["lose_reply"] = False
        kind = "leases" if path.startswith("/v1/leases") else "others"
        with self._services.world.delayed(method, kind):
            found = list(self._app(environ, start if not lose else lambda *_: None))
        if not lose:
            return found
        start("504 Gateway Timeout", [("Content-Type", "text/html")])
        return [b"<html><body><h1>504 Gateway Time-out</h1></body></html>"]


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""


def _write_in_turn() -> None:
    """Have each transaction wait for its turn when it begins.

    oslo.db begins them so that one which has read and then writes is refused at once ("database is locked") if another
    one writes; Blazar's own database waits there, and Blazar leaves a lease in ERROR that it cannot delete any more.
    """
    from sqlalchemy import Engine, event

    def begin(connection: Any) -> None:
        if "in_transaction" not in connection.info:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            connection.info["in_transaction"] = True

    event.listen(Engine, "begin", begin)  # Before that of oslo.db, which listens to one engine.


def main() -> None:
    """Start it all; serve until the process is ended."""
    state = Path(sys.argv[1])
    services = Services()
    services.start()
    config = state / "blazar.conf"
    config.write_text(_CONFIG.format(port=services.port, url=services.url, state=state, password=PASSWORD))
    gettext.install("blazar")
    from blazar.api import app
    from blazar.db.sqlalchemy import api as database
    from blazar.manager import service
    from blazar.notification import notifier
    from blazar.utils import service as utils
    from oslo_config import cfg
    from oslo_db import options
    from oslo_utils import timeutils

    real = timeutils.utcnow

    def utcnow(*given: Any, **named: Any) -> datetime:
        found: datetime = real(*given, **named)
        return found + timedelta(seconds=services.world.weather.get("ahead_s", 0.0))

    timeutils.utcnow = utcnow
    cfg.CONF([], project="blazar", prog="blazar", default_config_files=[str(config)])
    utils.prepare_service([])
    options.set_defaults(cfg.CONF)
    _write_in_turn()
    database.setup_db()
    notifier.init()
    service.EVENT_INTERVAL = 0.3
    service.ManagerService().start()
    httpd = make_server("127.0.0.1", 0, _Gateway(app.VersionSelectorApplication(), services), _Server, _Quiet)
    services.blazar = f"http://127.0.0.1:{httpd.server_port}"
    print(json.dumps({"blazar": services.blazar, "cloud": services.url}), flush=True)
    httpd.serve_forever()


if __name__ == "__main__":
    main()
