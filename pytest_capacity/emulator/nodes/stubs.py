"""The commands of a node that must not reach the machine which the emulator runs on."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Final

_SUDO: Final = """#!/bin/sh
while [ $# -gt 0 ]; do
  case $1 in
    --) shift; break ;;
    --user|--group|--prompt|--host|--chdir|-u|-g|-p|-h|-D|-C|-T|-R|-U) shift; [ $# -eq 0 ] || shift ;;
    -*) shift ;;
    *) break ;;
  esac
done
while :; do
  case $1 in
    [A-Za-z_]*=*) export "$1"; shift ;;
    *) break ;;
  esac
done
[ $# -gt 0 ] || exec /bin/sh
# A full path would lead past the node's own commands.
case $1 in
  /*) [ ! -x {bin}/"${1##*/}" ] || { name=${1##*/}; shift; exec {bin}/"$name" "$@"; } ;;
esac
exec "$@"
"""

_SHUTDOWN: Final = """#!/bin/sh
word=poweroff
after=1
for one in "$@"; do
  case $one in
    -c) echo cancel > {door}; exit 0 ;;
    -r|--reboot) word=reboot ;;
    now|+0) after=0 ;;
    +*) after=${one#+} ;;
    -*) ;;
    *:*) echo "shutdown: the emulator knows now and +MINUTES, not $one" >&2; exit 1 ;;
  esac
done
echo "$word $after" > {door}
"""

_AT_ONCE: Final = """#!/bin/sh
echo "{word} 0" > {door}
"""

_SYSTEMCTL: Final = """#!/bin/sh
case " $* " in
  *" poweroff "*|*" halt "*) echo "poweroff 0" > {door} ;;
  *" reboot "*) echo "reboot 0" > {door} ;;
  *) echo "{name}: an emulated node has no services" >&2; exit 1 ;;
esac
"""

_INIT: Final = """#!/bin/sh
case $1 in
  0) echo "poweroff 0" > {door} ;;
  6) echo "reboot 0" > {door} ;;
  *) echo "{name}: an emulated node has no services" >&2; exit 1 ;;
esac
"""

_CLOUD_INIT: Final = """#!/bin/sh
case $1 in
  status) shift ;;
  -v|--version) echo "cloud-init 24.1-emulated"; exit 0 ;;
  *) echo "cloud-init: the emulator knows status, not $1" >&2; exit 2 ;;
esac
wait= long= format=
while [ $# -gt 0 ]; do
  case $1 in
    -w|--wait) wait=1 ;;
    -l|--long) long=1 ;;
    --format) format=$2; shift ;;
    --format=*) format=${1#--format=} ;;
  esac
  shift
done
while status=$(cat {cloud_init}); [ -n "$wait" ] && [ "$status" = running ]; do
  [ -n "$format" ] || printf .
  sleep 0.2
done
[ -z "$wait" ] || [ -n "$format" ] || echo
# Since 23.4 what it went on after is told apart: by the extended status, and by exit status 2 (cloud-init's
# documentation, "Failure states").
extended=$status
[ "$status" != degraded ] || { status=done; extended="degraded done"; }
if [ "$format" = json ]; then
  printf '{"status": "%s", "extended_status": "%s", ' "$status" "$extended"
  echo '"detail": "DataSourceEmulated", "errors": []}'
else
  echo "status: $status"
  [ -z "$long" ] || printf 'extended_status: %s\\ndetail: DataSourceEmulated\\nerrors: []\\n' "$extended"
fi
case $extended in error) exit 1 ;; degraded*) exit 2 ;; esac
exit 0
"""

_HOSTNAME: Final = """#!/bin/sh
case $1 in
  -f|--fqdn|--long|-A) echo {fqdn} ;;
  -I|-i|--ip-address|--all-ip-addresses) echo {ip} ;;
  -d|--domain) echo {domain} ;;
  ""|-s|--short) echo {host} ;;
  *) echo "hostname: an emulated node keeps its name" >&2; exit 1 ;;
esac
"""


def write_stubs(folder: Path, door: Path, cloud_init: Path, private_ip: str, host: str, domain: str) -> None:
    """Write the scripts. What they have to say to the emulator they write to ``door``."""
    words = {
        "bin": shlex.quote(str(folder)),
        "door": shlex.quote(str(door)),
        "cloud_init": shlex.quote(str(cloud_init)),
        "host": host,
        "fqdn": f"{host}.{domain}",
        "domain": domain,
        "ip": private_ip,
    }
    for name, text in _SCRIPTS.items():
        script = folder / name
        # `replace`, and no `format`: the shell uses braces itself.
        written = text
        for word, value in {**words, "name": name, "word": "reboot" if name == "reboot" else "poweroff"}.items():
            written = written.replace(f"{{{word}}}", value)
        script.write_text(written, encoding="utf-8")
        script.chmod(0o755)


_SCRIPTS: Final[Mapping[str, str]] = {
    "cloud-init": _CLOUD_INIT,
    "halt": _AT_ONCE,
    "hostname": _HOSTNAME,
    "init": _INIT,
    "poweroff": _AT_ONCE,
    "reboot": _AT_ONCE,
    "service": _SYSTEMCTL,
    "shutdown": _SHUTDOWN,
    "sudo": _SUDO,
    "systemctl": _SYSTEMCTL,
    "telinit": _INIT,
}
