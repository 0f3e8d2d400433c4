"""The one user data that EC2 takes: the user's own, with the timer by which a node ends itself beside it."""

from __future__ import annotations

import email
import hashlib
import re
from email.message import Message
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from typing import Final

from pytest_capacity.backends.aws import timer
from pytest_capacity.config.userdata import MIME, WINDOWS, form_of, is_plain
from pytest_capacity.errors import Refused
from pytest_capacity.model import NodeGroup

#: cloud-init runs scripts in the order of their names: the timer stands though one of the user's never ends.
_TIMER_NAME: Final = "00-pytest-capacity-end"

_BLOCK: Final = re.compile(r"<(powershell|script)>(.*?)</\1>", re.DOTALL | re.IGNORECASE)
_PERSIST: Final = re.compile(r"<persist>\s*(true|false)\s*</persist>", re.IGNORECASE)

# Our timer must run at every boot, and EC2Launch knows that of all blocks or none. So the user's, which are for the
# first boot unless they say otherwise, leave a mark and look for it.
_ONCE: Final = {
    "powershell": """
$mark = "$env:ProgramData\\pytest-capacity-powershell"
if (Test-Path $mark) { exit 0 }
New-Item -ItemType File -Force $mark | Out-Null
""",
    "script": """
if exist "%ProgramData%\\pytest-capacity-script" exit /b 0
type nul > "%ProgramData%\\pytest-capacity-script"
""",
}


def user_data(group: NodeGroup, platform: str, hard_end: float | None) -> str:
    """Return user data for the nodes of ``group`` on ``platform`` (EC2's words); empty where there is none.

    They shut themselves down at ``hard_end`` (None: they do not, and the user's own is handed over as it is). The same
    arguments give the same text: a call repeated with its token must not differ in anything. Raises `Refused` for what
    machines of the platform would not read.
    """
    own = group.user_data
    if hard_end is None:
        return own or ""
    if own is None:
        return timer.user_data(platform, hard_end)
    if platform.startswith("Windows"):
        return _for_windows(group.name, own, hard_end)
    return _for_cloud_init(own, timer.user_data(platform, hard_end))


def _for_cloud_init(own: str, ending: str) -> str:
    script = MIMEText(ending, "x-shellscript", "us-ascii")
    script.add_header("Content-Disposition", "attachment", filename=_TIMER_NAME)
    # A boundary of the contents' own, which they cannot hold.
    whole = MIMEMultipart(boundary="pytest-capacity-" + hashlib.sha256(f"{ending}{own}".encode()).hexdigest()[:24])
    whole.attach(script)
    whole.attach(_part(own))
    return whole.as_string(maxheaderlen=0)


def _part(own: str) -> Message:
    form = form_of(own)
    if form == MIME:
        return email.message_from_string(own.lstrip())
    # What cloud-init does not know it names in its log; so it would without us.
    subtype = "plain" if form in (None, WINDOWS) else form
    return MIMEText(own, subtype, "us-ascii" if is_plain(own) else "utf-8")


def _for_windows(group: str, own: str, hard_end: float) -> str:
    """Return the user's own with the timer first: EC2Launch takes one block of each language."""
    blocks = {language.lower(): body for language, body in _BLOCK.findall(own)}
    if not blocks:
        raise Refused(
            f"group {group!r} asks for Windows machines with user_data that Windows does not read: EC2Launch takes "
            "<powershell>...</powershell> and <script>...</script>. Nothing was created for it. Write it in one of "
            "these, or set aws.self_terminate to false, and it is handed over as it is"
        )
    persists = [word.lower() for word in _PERSIST.findall(own)] == ["true"]
    once = {} if persists else _ONCE
    rest = _PERSIST.sub("", _BLOCK.sub("", own)).strip()
    bodies = {"powershell": f"\n{timer.powershell(hard_end)}"}
    for language, body in blocks.items():
        bodies[language] = bodies.get(language, "") + once.get(language, "") + body
    written = [f"<{language}>{body}</{language}>" for language, body in sorted(bodies.items())]
    return "\n".join([*written, "<persist>true</persist>", *([rest] if rest else [])]) + "\n"
