"""Scheduled Events: what Azure is about to do to a machine, which only the machine itself can read.

A spot machine has at least 30 seconds from the event "Preempt" to its end. The first request of a machine may take
Azure two minutes (Azure documentation, "Scheduled Events for Linux VMs"): until then no event is read, and the machine
counts as preempted when it is gone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

#: The metadata service answers without a proxy only, and refuses what does not have this header.
COMMAND: Final = (
    "curl -sf --noproxy '*' -m 4 -H Metadata:true "
    "'http://169.254.169.254/metadata/scheduledevents?api-version=2020-07-01'"
)


def preemption_of(name: str, text: str) -> str:
    """Return what the events of ``text`` report of the end of the spot machine ``name``; "" if they report nothing."""
    try:
        document = json.loads(text)
    except ValueError:
        return ""
    events = document.get("Events") if isinstance(document, Mapping) else None
    for event in events if isinstance(events, list) else ():
        if isinstance(event, Mapping) and event.get("EventType") == "Preempt" and _concerns(event, name):
            # It is empty once the event has started.
            when = f" not before {event['NotBefore']}" if event.get("NotBefore") else ""
            return f"Preempt: {event.get('EventStatus') or 'Scheduled'}{when}"
    return ""


def _concerns(event: Mapping[str, Any], name: str) -> bool:
    """Return whether the event is for ``name``: machines of availability or scale sets get the others' events, too."""
    resources = event.get("Resources")
    return isinstance(resources, list) and name.lower() in [str(one).lower() for one in resources]
