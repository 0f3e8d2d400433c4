"""What every operation of the emulated OCI needs: the World, regions, compartments, pages, versions, work requests."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

from pytest_capacity.emulator.catalogue import Place
from pytest_capacity.emulator.face import Asked
from pytest_capacity.emulator.http import HttpResponse
from pytest_capacity.emulator.oci.catalogue import DOMAINS, REGION_KEYS, REGIONS
from pytest_capacity.emulator.oci.signing import TENANCY
from pytest_capacity.emulator.oci.things import Cluster, Envelope, Instance
from pytest_capacity.emulator.refusal import Refusal
from pytest_capacity.emulator.things import Operation, Thing
from pytest_capacity.emulator.world import World

CLOUD: Final = "oci"
#: The compartments below the tenancy: OCID, name, parent.
COMPARTMENTS: Final = (
    ("ocid1.compartment.oc1..aaaaaaaaemulatedtests", "tests", TENANCY),
    ("ocid1.compartment.oc1..aaaaaaaaemulatednightly", "nightly", "ocid1.compartment.oc1..aaaaaaaaemulatedtests"),
)
_MOST_TAGS: Final = 10

T = TypeVar("T", bound=Thing)
#: What stands in an availability domain.
InDomain = TypeVar("InDomain", Instance, Cluster, Envelope)


class Api:
    """The World, with what OCI's operations need of it."""

    def __init__(self, world: World) -> None:
        self.world = world

    @property
    def now(self) -> float:
        """Return the World's time."""
        return self.world.clock.now()

    def ocid(self, kind: str, region: str) -> str:
        """Return a new OCID."""
        return f"ocid1.{kind}.oc1.{REGIONS[region][0]}.a{self.world.hex(40)}"

    def place(self, region: str, domain: str, fault_domain: str = "") -> Place:
        """Return the zone in which a launch counts: the fault domain's, where the weather has it."""
        narrow = Place(CLOUD, region, f"{domain}.{fault_domain}")
        weather = self.world.weather
        named = {key.rpartition("/")[2] for key in (*weather.stock, *weather.offerings)}
        return narrow if fault_domain and narrow.zone in named else Place(CLOUD, region, domain)

    def domain(self, asked: Asked, given: Any) -> str:
        """Return an availability domain of the region; raise OCI's refusal of another."""
        if given not in DOMAINS[asked.region]:
            raise invalid(f"The availabilityDomain {given!r} is not in {asked.region}.")
        return str(given)

    def compartment(self, given: Any) -> str:
        """Return a compartment that there is."""
        if given not in (TENANCY, *(one[0] for one in COMPARTMENTS)):
            raise hidden(f"compartment {given!r}")
        return str(given)

    def need(self, id_: str, kinds: Mapping[str, type[T]], region: str) -> T:
        """Return a live thing of the region; raise `hidden` where there is none."""
        found = self.world.get(id_)
        type_ = kinds.get(found.kind) if found is not None else None
        if found is None or type_ is None or not isinstance(found, type_) or found.region != region:
            raise hidden(id_)
        return found

    def live(self, kinds: Mapping[str, type[T]], asked: Asked) -> T:
        """Return the thing that a call names; raise `hidden` where there is none, or it is deleted."""
        found = self.need(asked.params["id"], kinds, asked.region)
        if not found.live(self.now):
            raise hidden(found.id)
        return found

    def changeable(self, kinds: Mapping[str, type[T]], asked: Asked) -> T:
        """Return the thing that a call names, live and of the version that the call expects."""
        found = self.live(kinds, asked)
        self.world.check_version(found, asked.request.headers.get("if-match"))
        return found

    def in_domains(self, type_: type[InDomain], asked: Asked, domain_key: str = "availabilityDomain") -> list[InDomain]:
        """Return the things of the compartment that a listing names, and of its domain and state where it has them.

        Deleted ones stay listed.
        """
        compartment = self.compartment(asked.request.first("compartmentId"))
        domain, state = asked.request.first(domain_key), asked.request.first("lifecycleState")
        return [
            one
            for one in self.visible(self.world.everything())
            if isinstance(one, type_)
            and (one.region, one.compartment) == (asked.region, compartment)
            and domain in ("", one.domain_name)
            and state in ("", one.state(self.now))
        ]

    def once(self, asked: Asked, meaning: Any, make: Callable[[], str]) -> str:
        """Return the OCID that a create gives; that of the first one, where its retry token comes again."""
        if not asked.token:
            return make()
        return self.world.once(token_key(asked), meaning, lambda: [make()])[0]

    def work(
        self,
        asked: Asked,
        verb: str,
        target: str,
        compartment: str,
        seconds: float,
        error: Any = None,
        then: Callable[[Operation], None] | None = None,
    ) -> str:
        """Begin a work request, after which ``then`` is done; return its OCID."""
        operation = Operation(
            **self.world.born(CLOUD),
            id=self.ocid("coreservicesworkrequest", asked.region),
            kind="work-request",
            region=asked.region,
            verb=verb,
            target=target,
            done_at=self.now + seconds,
            error=error,
            then=then,
            details={"compartmentId": compartment},
        )
        return self.world.begin(operation).id

    def tags(self, body: Mapping[str, Any]) -> dict[str, str]:
        """Return the free-form tags of a body, checked as OCI checks them."""
        tags = body.get("freeformTags") or {}
        if not isinstance(tags, Mapping) or len(tags) > _MOST_TAGS:
            raise invalid(f"freeformTags takes at most {_MOST_TAGS} tags.")
        for key, value in tags.items():
            if not 1 <= len(key) <= 100 or not isinstance(value, str) or len(value) > 256:
                raise invalid(f"The free-form tag {key[:100]!r} is too long or no text.")
        return dict(tags)

    def visible(self, things: Iterable[T]) -> list[T]:
        """Return the things that listings show by now."""
        return [thing for thing in things if thing.visible(self.now)]


def token_key(asked: Asked) -> tuple[str, ...]:
    """Return under what a retry token is known: it belongs to an operation in a region."""
    return (CLOUD, asked.region, asked.operation, asked.token or "")


def paged(items: Sequence[Any], asked: Asked) -> HttpResponse:
    """Return a page of a list, and ``opc-next-page`` where there is more."""
    try:
        limit = int(asked.request.first("limit", "100") or 100)
        start = int(asked.request.first("page", "0") or 0)
    except ValueError:
        raise invalid("limit is no number, or page is no page of this list.") from None
    if not 1 <= limit <= 1000 or start < 0:
        raise invalid("limit must lie between 1 and 1000.")
    headers = {"opc-next-page": str(start + limit)} if start + limit < len(items) else {}
    return HttpResponse.of_json(list(items[start : start + limit]), headers=headers)


def answer(thing: Thing, body: Mapping[str, Any], work_request: str = "", status: int = 200) -> HttpResponse:
    """Return a thing, with its version as ``etag``."""
    headers = {"etag": str(thing.version)}
    if work_request:
        headers["opc-work-request-id"] = work_request
    return HttpResponse.of_json(body, status, headers)


def accepted(work_request: str = "") -> HttpResponse:
    """Return the answer to a delete."""
    headers = {"opc-work-request-id": work_request} if work_request else {}
    return HttpResponse(202 if work_request else 204, b"", headers)


def when(seconds: float) -> str:
    """Return a time as Oracle writes it: RFC 3339, in milliseconds."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def required(body: Mapping[str, Any], *names: str) -> None:
    """Raise OCI's refusal of a body that lacks one of ``names``."""
    for name in names:
        if body.get(name) in (None, ""):
            raise Refusal("MissingParameter", f"{name} may not be null or empty.", 400)


def invalid(message: str) -> Refusal:
    """Return the refusal of a parameter."""
    return Refusal("InvalidParameter", message, 400)


def hidden(what: str) -> Refusal:
    """Return the refusal for what is not there: OCI does not reveal whether it is not there or not for us."""
    return Refusal("NotAuthorizedOrNotFound", f"Authorization failed or requested resource not found: {what}.", 404)


def conflict(message: str) -> Refusal:
    """Return the refusal of what its state does not allow."""
    return Refusal("Conflict", message, 409)


def region_of_ocid(text: str) -> str:
    """Return the region that an OCID names; empty where it names none."""
    parts = text.split(".")
    return REGION_KEYS.get(parts[3], "") if len(parts) > 4 and parts[0] == "ocid1" else ""
