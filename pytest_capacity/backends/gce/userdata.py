"""A machine's metadata: the run's SSH key, and what the user wants it to do at its start."""

from __future__ import annotations

import re
from typing import Final

from pytest_capacity.backends.gce.settings import GroupSettings
from pytest_capacity.config.userdata import WINDOWS, form_of

#: Bytes of one value of the metadata (Compute Engine documentation, "VM metadata": 256 KB).
VALUE_LIMIT: Final = 256 * 1024

#: Where each form of user data goes. Scripts go to the guest environment, which every image of Google's has, and not
#: all have cloud-init (Debian's have none); everything else is cloud-init's.
SCRIPT_KEY: Final = "startup-script"
CLOUD_INIT_KEY: Final = "user-data"
#: What stands between the tags that other clouds want around it, by language.
_WINDOWS_KEYS: Final = {"powershell": "windows-startup-script-ps1", "script": "windows-startup-script-cmd"}
_BLOCK: Final = re.compile(r"<(powershell|script)>\r?\n?(.*?)</\1>", re.DOTALL | re.IGNORECASE)


def metadata_of(group: GroupSettings, public_key: str, user: str) -> dict[str, str]:
    """Return the metadata of the group's machines by key; ``public_key`` is the run's own, empty where it has none.

    Keys of the project are kept off, and so is OS Login, under which the key would not count.
    """
    items = dict(group.gce.metadata)
    if public_key:
        items["ssh-keys"] = "\n".join(filter(None, [items.get("ssh-keys", ""), f"{user}:{public_key.strip()}"]))
        items.setdefault("block-project-ssh-keys", "TRUE")
        items.setdefault("enable-oslogin", "FALSE")
    if group.group.user_data is not None:
        items |= _user_data(group.group.user_data)
    return items


def _user_data(text: str) -> dict[str, str]:
    """Return user data under the keys of the metadata where machines read it."""
    form = form_of(text)
    if form == WINDOWS:
        return {_WINDOWS_KEYS[language.lower()]: body for language, body in _BLOCK.findall(text)}
    return {SCRIPT_KEY if form == "x-shellscript" else CLOUD_INIT_KEY: text}
