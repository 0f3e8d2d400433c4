"""STS, as far as anyone asks who they are."""

from __future__ import annotations

import uuid
from typing import Final
from urllib.parse import parse_qsl

from pytest_capacity.emulator.ec2.catalogue import ACCOUNT
from pytest_capacity.emulator.faults import Strike
from pytest_capacity.emulator.refusal import Refusal
from pytest_capacity.emulator.wire import Answer, Asked
from pytest_capacity.emulator.world import World

NAMESPACE: Final = "https://sts.amazonaws.com/doc/2011-06-15/"


class Sts:
    """One account, one user, whatever the credentials."""

    name: Final = "aws"

    def __init__(self, world: World) -> None:
        self._world = world

    def ask(self, region: str, path: str, body: bytes) -> Asked:
        """Read a call, and see what the weather has for it."""
        form = dict(parse_qsl(body.decode("utf-8", "replace")))
        operation = form.get("Action", "")
        known = operation == "GetCallerIdentity"
        words = f"The action {operation} is not valid for this web service; the emulator has GetCallerIdentity."
        with self._world.lock:
            strike = self._world.faults.strike(operation, region) if known else Strike()
        return Asked(
            operation=operation,
            region=region,
            form=form,
            strike=strike,
            refusal=None if known else Refusal("InvalidAction", words),
        )

    def do(self, asked: Asked) -> Answer:
        """Say who asks."""
        refusal = asked.refusal or asked.strike.refusal()
        request_id = str(uuid.uuid4())
        if refusal is not None:
            error = f"<Type>Sender</Type><Code>{refusal.code}</Code><Message>{refusal.message}</Message>"
            text = f'<ErrorResponse xmlns="{NAMESPACE}"><Error>{error}</Error><RequestId>{request_id}</RequestId>'
            return Answer(refusal.http, f"{text}</ErrorResponse>".encode(), refusal.code)
        arn = f"<Arn>arn:aws:iam::{ACCOUNT}:user/emulated</Arn>"
        who = f"{arn}<UserId>AIDAEMULATED00000000</UserId><Account>{ACCOUNT}</Account>"
        text = f"<GetCallerIdentityResult>{who}</GetCallerIdentityResult>"
        text += f"<ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata>"
        tag = "GetCallerIdentityResponse"
        return Answer(200, f'<{tag} xmlns="{NAMESPACE}">{text}</{tag}>'.encode())
