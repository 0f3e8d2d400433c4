"""The console output of a machine."""

from __future__ import annotations

import base64
from typing import Any, Final

from pytest_capacity.emulator.aws.context import Context, when
from pytest_capacity.emulator.aws.instances import the
from pytest_capacity.emulator.aws.things import Instance

#: How much of it EC2 keeps (API reference, GetConsoleOutput: "the most recent 64 KB").
KEPT: Final = 65536


def get(ctx: Context) -> dict[str, Any]:
    """Answer GetConsoleOutput: empty before the machine runs; what it wrote stays when it is gone."""
    one = the(ctx, ctx.params["InstanceId"])
    ctx.dry_run()
    ran = one.running_at <= ctx.now and one.running_at < one.leaving_at
    text = _booted(one) + (one.node.console() if one.node is not None else "") if ran else ""
    output = base64.b64encode(text.encode("utf-8", "replace")[-KEPT:]).decode("ascii")
    return {"InstanceId": one.id, "Timestamp": when(one.running_at if ran else one.made), "Output": output}


def _booted(one: Instance) -> str:
    return (
        f"[    0.000000] Linux version 6.1.0-emulated ({one.details['Architecture']})\n"
        f"[    0.000000] DMI: Amazon EC2 {one.type}/, emulated in {one.zone}\n"
        "[    0.512000] systemd[1]: Detected virtualization amazon.\n"
        f"[    1.024000] cloud-init[512]: Cloud-init v. 24.1 running 'init'. Instance {one.id}.\n"
    )
