"""STS, as far as anyone asks who they are."""

from __future__ import annotations

import uuid
from typing import Final
from xml.sax.saxutils import escape

from pytest_capacity.emulator.aws import policy
from pytest_capacity.emulator.aws.catalogue import ACCOUNT
from pytest_capacity.emulator.aws.own import own_of
from pytest_capacity.emulator.aws.partitions import partition
from pytest_capacity.emulator.face import Asked
from pytest_capacity.emulator.http import HttpRequest, HttpResponse
from pytest_capacity.emulator.refusal import Refusal
from pytest_capacity.emulator.world import World

NAMESPACE: Final = "https://sts.amazonaws.com/doc/2011-06-15/"
_XML: Final = {"Content-Type": "text/xml;charset=UTF-8"}


_KNOWN: Final = ("GetCallerIdentity", "DecodeAuthorizationMessage")


class Sts:
    """One account, one user, whatever the access key id."""

    def __init__(self, world: World) -> None:
        self._world = world

    def read(self, request: HttpRequest, region: str) -> Asked:
        """Return the call's parts."""
        operation = request.form().get("Action", "")
        words = f"The action {operation} is not valid for this web service; the emulator has {', '.join(_KNOWN)}."
        known = operation in _KNOWN
        refusal = None if known else Refusal("InvalidAction", words)
        return Asked(operation=operation, request=request, region=region, writes=False, refusal=refusal)

    def do(self, asked: Asked) -> HttpResponse:
        """Return the caller's identity, or the text of an encoded message."""
        if asked.operation == "DecodeAuthorizationMessage":
            return self._decode(asked)
        arn = f"<Arn>arn:{partition(asked.region)}:iam::{ACCOUNT}:user/emulated</Arn>"
        who = f"{arn}<UserId>AIDAEMULATED00000000</UserId><Account>{ACCOUNT}</Account>"
        text = f"<GetCallerIdentityResult>{who}</GetCallerIdentityResult>"
        text += f"<ResponseMetadata><RequestId>{uuid.uuid4()}</RequestId></ResponseMetadata>"
        tag = "GetCallerIdentityResponse"
        return HttpResponse(200, f'<{tag} xmlns="{NAMESPACE}">{text}</{tag}>'.encode(), _XML)

    def _decode(self, asked: Asked) -> HttpResponse:
        if not own_of(self._world).policy.decodable:
            words = "User: emulated is not authorized to perform: sts:DecodeAuthorizationMessage"
            raise Refusal("AccessDenied", words, 403)
        text = escape(policy.decode(asked.request.form().get("EncodedMessage", "")))
        result = f"<DecodeAuthorizationMessageResult><DecodedMessage>{text}</DecodedMessage>"
        result += f"</DecodeAuthorizationMessageResult><ResponseMetadata><RequestId>{uuid.uuid4()}</RequestId>"
        tag = "DecodeAuthorizationMessageResponse"
        return HttpResponse(200, f'<{tag} xmlns="{NAMESPACE}">{result}</ResponseMetadata></{tag}>'.encode(), _XML)

    def refuse(self, refusal: Refusal, asked: Asked) -> HttpResponse:
        """Return a refusal in the service's form."""
        error = f"<Type>Sender</Type><Code>{escape(refusal.code)}</Code><Message>{escape(refusal.message)}</Message>"
        text = f'<ErrorResponse xmlns="{NAMESPACE}"><Error>{error}</Error><RequestId>{uuid.uuid4()}</RequestId>'
        return HttpResponse(refusal.http or 400, f"{text}</ErrorResponse>".encode(), _XML, refusal.code)
