"""What the handlers of all resource types share: the World, places, answers, and operations that take time."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from pytest_capacity.emulator.azure.catalogue import NO_ZONE, TENANT, AzureCatalogue, zone_name
from pytest_capacity.emulator.azure.things import Member, Resource, Vm
from pytest_capacity.emulator.azure.wire import ArmPath, base_url, make_id, retry_after
from pytest_capacity.emulator.face import Asked
from pytest_capacity.emulator.http import HttpResponse
from pytest_capacity.emulator.refusal import Refusal
from pytest_capacity.emulator.secret import Secret
from pytest_capacity.emulator.things import Operation, Thing
from pytest_capacity.emulator.world import World

CLOUD: Final = "azure"


class Context:
    """One World, with Azure's operations on it. Every method is called with its lock held."""

    def __init__(self, world: World, secret: Secret, catalogue: AzureCatalogue) -> None:
        self.world = world
        self.secret = secret
        self.catalogue = catalogue
        #: When each capacity reservation group lost its last member.
        self.emptied: dict[str, float] = {}

    @property
    def now(self) -> float:
        """Return the World's time."""
        return self.world.clock.now()

    def seconds(self, name: str) -> float:
        """Return a time of the weather."""
        return self.world.seconds(name, CLOUD)

    def born(self, path: ArmPath, region: str, body: Mapping[str, Any], written: str) -> dict[str, Any]:
        """Return the arguments of every new thing."""
        container = make_id(path.subscription, path.group)
        if len(path.names) > 1:
            container = make_id(path.subscription, path.group, path.type.rpartition("/")[0], *path.names[:-1])
        return {
            **self.world.born(CLOUD),
            "id": path.id,
            "kind": path.type.rpartition("/")[2] or "resourceGroups",
            "name": path.names[-1] if path.names else path.group,
            "region": region,
            "container": container if path.type else "",
            "tags": dict(body.get("tags") or {}),
            "path": written,
            "body": dict(body),
        }

    def need_group(self, path: ArmPath, *, to_make: bool = False) -> Resource:
        """Return the resource group of a path. Raise `Refusal` where it is not there, or is on its way out."""
        group = self.world.get(make_id(path.subscription, path.group))
        if not isinstance(group, Resource) or not group.live(self.now):
            raise Refusal("ResourceGroupNotFound", f"Resource group '{path.group}' could not be found.")
        if to_make and group.state(self.now) == "Deleting":
            words = f"The resource group '{path.group}' is in deprovisioning state and cannot perform this operation."
            raise Refusal("ResourceGroupBeingDeleted", words, 409)
        return group

    def find(self, id_: str) -> Thing | None:
        """Return a live thing of Azure by its id."""
        thing = self.world.get(id_)
        return thing if thing is not None and thing.cloud == CLOUD and thing.live(self.now) else None

    def need(self, path: ArmPath) -> Thing:
        """Return a live thing. Raise `Refusal`: of its group's, or its own absence."""
        self.need_group(path)
        thing = self.find(path.id)
        if thing is None:
            kind = path.type + "/" + "/".join(path.names)
            words = f"The Resource '{kind}' under resource group '{path.group}' was not found."
            raise Refusal("ResourceNotFound", words, 404)
        return thing

    def location(self, body: Mapping[str, Any]) -> str:
        """Return the region of a body. Raise `Refusal` for one that there is not."""
        region = str(body.get("location", "")).replace(" ", "").lower()
        if region not in self.catalogue.regions():
            words = f"The provided location '{region}' is not available for resource type."
            raise Refusal("LocationNotAvailableForResourceType", words)
        return region

    def zone(self, region: str, body: Mapping[str, Any]) -> str:
        """Return the zone of a body. Raise `Refusal` for one that the region has not."""
        zones = [str(one) for one in body.get("zones") or ()]
        if len(zones) > 1:
            raise Refusal("InvalidParameter", "A single zone is allowed for this resource.")
        name = zone_name(region, zones[0] if zones else "")
        if zones[:1] == [NO_ZONE] or name not in self.catalogue.zones_of(region):
            words = f"The zone(s) '{zones[0]}' for resource is not supported in location '{region}'."
            raise Refusal("InvalidParameter", words)
        return name

    def check_etag(self, asked: Asked, thing: Thing | None) -> None:
        """Raise `Refusal` where a condition in the headers is not met."""
        expected, absent = asked.request.headers.get("If-Match"), asked.request.headers.get("If-None-Match")
        refused = Refusal("PreconditionFailed", "Precondition given in the request headers is not met.", 412)
        if absent == "*" and thing is not None:
            raise refused
        if expected and (thing is None or expected not in ("*", etag(thing))):
            raise refused

    def begin(
        self,
        asked: Asked,
        thing: Thing,
        seconds: float,
        error: Refusal | None = None,
        then: Callable[[], None] | None = None,
    ) -> Operation:
        """Begin what takes ``seconds``; ``then`` is called when it has ended."""
        return self.world.begin(
            Operation(
                **self.world.born(CLOUD),
                id=f"azure-operation-{self.world.hex(32)}",
                kind="operation",
                region=thing.region,
                verb=asked.operation,
                target=thing.id,
                done_at=self.now + seconds,
                error=error,
                then=(lambda _: then()) if then is not None else None,
            )
        )

    def operation_headers(self, asked: Asked, operation: Operation, kinds: str) -> dict[str, str]:
        """Return the headers that lead to an operation: ``a`` Azure-AsyncOperation, ``l`` Location."""
        provider = "Microsoft.Network" if "/Microsoft.Network/" in operation.target else "Microsoft.Compute"
        root = f"{base_url(asked.request)}/subscriptions/{asked.params['path'].subscription}"
        place = f"{root}/providers/{provider}/locations/{operation.region}"
        version = asked.request.first("api-version")
        headers = retry_after(operation.done_at - self.now)
        if "a" in kinds:
            headers["Azure-AsyncOperation"] = f"{place}/operations/{operation.id}?api-version={version}"
        if "l" in kinds:
            headers["Location"] = f"{place}/operationResults/{operation.id}?api-version={version}"
        return headers

    def signature(self, text: str) -> str:
        """Return what signs a URL that needs no token."""
        return hmac.new(self.secret.text.encode(), text.encode(), hashlib.sha256).hexdigest()

    def token(self) -> tuple[str, int]:
        """Return an access token, of the form that Azure's have (JWT), and when it ends."""
        expires = int(self.now) + 3600
        claims = {"aud": "https://management.azure.com/", "tid": TENANT, "appid": "emulated", "oid": "emulated"}
        parts = [{"typ": "JWT", "alg": "HS256"}, {**claims, "sub": "emulated", "exp": expires}]
        text = ".".join(_base64(json.dumps(part).encode()) for part in parts)
        return f"{text}.{self.signature(text)}", expires

    def is_ours(self, token: str) -> bool:
        """Return whether it is a token of this emulator that has not ended, or the secret itself."""
        text, _, signature = token.rpartition(".")
        if not text or not hmac.compare_digest(signature, self.signature(text)):
            return self.secret.equals(token)
        claims = text.partition(".")[2]
        return self.now < float(json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))["exp"])

    def resources(self, kind: str, group: str = "") -> list[Resource]:
        """Return the live resources of a kind, in the order of making."""
        found = [one for one in self.world.of(Resource, CLOUD, kind=kind) if not group or one.container == group]
        return sorted(found, key=lambda one: one.number)

    def machines(self, group: str = "") -> list[Vm]:
        """Return the live machines."""
        found = [one for one in self.world.of(Vm, CLOUD) if not group or one.container == group]
        return sorted(found, key=lambda one: one.number)

    def members(self, group: str) -> list[Member]:
        """Return the live members of a capacity reservation group."""
        return sorted(
            (one for one in self.world.of(Member, CLOUD) if one.container == group), key=lambda one: one.number
        )


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def etag(thing: Thing) -> str:
    """Return the ETag of a thing."""
    return f'"{thing.number:08x}-{thing.version:04x}"'


def accepted(body: Mapping[str, Any] | None, status: int, headers: Mapping[str, str]) -> HttpResponse:
    """Return the answer of a call that has begun something; without a body where there is none."""
    if body is None:
        return HttpResponse(status, b"", dict(headers))
    return HttpResponse.of_json(body, status, headers)
