"""A machine's metadata: the run's SSH key, and what the user wants it to do at its start."""

from __future__ import annotations

from typing import Final

from pytest_capacity.backends.gce.settings import GroupSettings
from pytest_capacity.config.userdata import WINDOWS, form_of

#: Bytes of one value of the metadata (Compute Engine documentation, "VM metadata": 256 KB).
VALUE_LIMIT: Final = 256 * 1024

#: Where each form of user data goes. Scripts go to the guest environment, which every image of Google's has, and not
#: all have cloud-init (Debian's have none); everything else is cloud-init's.
SCRIPT_KEY: Final = "startup-script"
CLOUD_INIT_KEY: Final = "user-data"
WINDOWS_KEY: Final = "windows-startup-script-ps1"


def metadata_of(group: GroupSettings, public_key: str, user: str) -> dict[str, str]:
    """The metadata of the group's machines by key; ``public_key`` is the run's own, empty where it has none.

    Keys of the project are kept off, and so is OS Login, under which the key would not count.
    """
    items = dict(group.gce.metadata)
    if public_key:
        items["ssh-keys"] = "\n".join(filter(None, [items.get("ssh-keys", ""), f"{user}:{public_key.strip()}"]))
        items.setdefault("block-project-ssh-keys", "TRUE")
        items.setdefault("enable-oslogin", "FALSE")
    if group.group.user_data is not None:
        items[user_data_key(group.group.user_data)] = group.group.user_data
    return items


def user_data_key(text: str) -> str:
    """The key of the metadata under which the machine reads user data of that form."""
    form = form_of(text)
    if form == WINDOWS:
        return WINDOWS_KEY
    return SCRIPT_KEY if form == "x-shellscript" else CLOUD_INIT_KEY
