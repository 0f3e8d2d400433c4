"""AWS: EC2, STS, Resource Groups, Service Quotas and Systems Manager behind one signature."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pytest_capacity.emulator.aws import signature
from pytest_capacity.emulator.aws.api import Ec2
from pytest_capacity.emulator.aws.catalogue import ACCOUNT, Ec2Catalogue
from pytest_capacity.emulator.aws.context import CLOUD
from pytest_capacity.emulator.aws.parameters import Parameters
from pytest_capacity.emulator.aws.quotas import ServiceQuotas
from pytest_capacity.emulator.aws.refusals import in_words
from pytest_capacity.emulator.aws.resource_groups import ResourceGroups
from pytest_capacity.emulator.aws.service import Service
from pytest_capacity.emulator.aws.sts import Sts
from pytest_capacity.emulator.face import Answer, Asked
from pytest_capacity.emulator.http import HttpRequest, HttpResponse
from pytest_capacity.emulator.refusal import Refusal
from pytest_capacity.emulator.secret import Secret
from pytest_capacity.emulator.world import World


class Aws:
    """The face: the signature of a request names the service and region that it is for."""

    name: Final = CLOUD

    def __init__(self, world: World, secret: Secret) -> None:
        self.catalogue = Ec2Catalogue()
        self._secret = secret
        self._ec2 = Ec2(world, self.catalogue)
        self._services: Mapping[str, Service] = {
            "ec2": self._ec2,
            "resource-groups": ResourceGroups(world),
            "servicequotas": ServiceQuotas(world),
            "ssm": Parameters(self.catalogue),
            "sts": Sts(world),
        }

    def claims(self, request: HttpRequest) -> bool:
        """Return whether a request is AWS's: signed in AWS's way, or a form without anything that names its cloud."""
        authorization = request.headers.get("Authorization", "")
        unsigned = request.method == "POST" and request.path == "/" and not authorization
        return unsigned or authorization.startswith(signature.ALGORITHM)

    def read(self, request: HttpRequest) -> Asked:
        """Return the call's parts."""
        scope = signature.read_scope(request)
        if scope is None:
            return Asked(operation=request.form().get("Action", ""), request=request)
        service = self._services.get(scope.service)
        if service is None:
            words = f"the emulator has no service {scope.service!r}; it has {', '.join(sorted(self._services))}"
            refusal = Refusal("UnknownService", words, 404)
            return Asked(operation="", request=request, region=scope.region, refusal=refusal)
        return service.read(request, scope.region)

    def check(self, asked: Asked) -> Refusal | None:
        """Return a refusal if the request is not signed with the emulator's secret."""
        return signature.check(asked.request, self._secret.text)

    def do(self, asked: Asked) -> Answer:
        """Carry out the call."""
        return self._service(asked).do(asked)

    def refuse(self, refusal: Refusal, asked: Asked) -> HttpResponse:
        """Return a refusal in AWS's words and the service's form."""
        return self._service(asked).refuse(in_words(refusal, asked.operation), asked)

    def _service(self, asked: Asked) -> Service:
        scope = signature.read_scope(asked.request)
        return self._services.get(scope.service if scope else "", self._ec2)

    def ready(self, url: str) -> Mapping[str, Any]:
        """Return what a client needs: any access key id, and the secret as secret access key."""
        return {"account": ACCOUNT, "access_key_id": "emulated"}

    def warm(self) -> None:
        """Load what the first call would otherwise wait for."""
        self._ec2.warm("us-east-1")


def make(world: World, secret: Secret) -> Aws:
    """Return the face."""
    return Aws(world, secret)
