"""The script in user data with which a node ends itself: the net under everything else, in the machine itself."""

from __future__ import annotations

from typing import Final

from pytest_capacity.backends.times import format_time

# The minutes are counted on the machine, from an absolute time, so the same order gives the same bytes: a call repeated
# with its token must not differ in anything. User data runs at the first boot only and a pending shutdown does not
# outlive a reboot, so the timer is left where cloud-init looks at every boot. `shutdown` is gone or refuses on some
# small images, hence the second way.
_SHELL: Final = """\
#!/bin/sh
# pytest-capacity: this machine ends itself at {when}.
timer=/var/lib/cloud/scripts/per-boot/pytest-capacity-end
mkdir -p "${{timer%/*}}"
cat >"$timer" <<'TIMER'
#!/bin/sh
left=$(( {seconds} - $(date +%s) ))
[ "$left" -gt 0 ] || left=0
if ! shutdown -P "+$(( (left + 59) / 60 ))"; then
  (sleep "$left"; poweroff -f) >/dev/null 2>&1 &
fi
TIMER
chmod 755 "$timer"
"$timer"
"""

_POWERSHELL: Final = """\
# pytest-capacity: this machine ends itself at {when}.
$left = [Math]::Max(0, {seconds} - [DateTimeOffset]::UtcNow.ToUnixTimeSeconds())
shutdown.exe /s /f /t $left
"""


def powershell(hard_end: float) -> str:
    """Return what a Windows machine runs at every boot to shut itself down at ``hard_end``."""
    # shutdown.exe counts seconds, at most ten years of them.
    return _POWERSHELL.format(when=format_time(hard_end), seconds=int(hard_end))


def user_data(platform: str, hard_end: float) -> str:
    """Return user data for a machine of ``platform`` (EC2's words) that shuts itself down at ``hard_end``."""
    if platform.startswith("Windows"):
        # EC2Launch runs it at every boot because of <persist>.
        return f"<powershell>\n{powershell(hard_end)}</powershell>\n<persist>true</persist>\n"
    return _SHELL.format(when=format_time(hard_end), seconds=int(hard_end))
