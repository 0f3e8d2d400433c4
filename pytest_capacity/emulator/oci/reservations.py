"""Compute capacity reservations and capacity reports."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from pytest_capacity.emulator.catalogue import Place
from pytest_capacity.emulator.face import Asked
from pytest_capacity.emulator.http import HttpResponse
from pytest_capacity.emulator.oci import clusters
from pytest_capacity.emulator.oci.api import (
    CLOUD,
    Api,
    accepted,
    answer,
    conflict,
    invalid,
    paged,
    required,
    when,
)
from pytest_capacity.emulator.oci.catalogue import FAULT_DOMAINS, SHAPES
from pytest_capacity.emulator.oci.own import own_of
from pytest_capacity.emulator.oci.signing import TENANCY
from pytest_capacity.emulator.oci.things import ENVELOPE, RESERVATION, Config, Envelope, Instance
from pytest_capacity.emulator.refusal import NoStock, Refusal
from pytest_capacity.emulator.things import Operation

#: Shapes in one report.
_MOST_SHAPES: Final = 10


def create(api: Api, asked: Asked) -> HttpResponse:
    """Hold capacity for every configuration, or for none."""
    body = asked.params["body"]
    required(body, "compartmentId", "availabilityDomain")
    made = api.once(asked, body, lambda: _make(api, asked, body))
    envelope = api.need(made, {ENVELOPE: Envelope}, asked.region)
    return answer(envelope, shown(api, envelope), str(envelope.details["work"]))


def _make(api: Api, asked: Asked, body: Mapping[str, Any]) -> str:
    compartment, domain = api.compartment(body["compartmentId"]), api.domain(asked, body["availabilityDomain"])
    configs = body.get("instanceReservationConfigs") or []
    late = asked.strike.late()
    id_ = api.ocid("capacityreservation", asked.region)
    pending = api.world.seconds("pending_s", CLOUD)
    envelope = Envelope(
        **api.world.born(CLOUD),
        id=id_,
        kind=ENVELOPE,
        shown=False,
        region=asked.region,
        zone=domain,
        name=str(body.get("displayName") or ""),
        tags=api.tags(body),
        token=asked.token or "",
        compartment=compartment,
        active_at=api.now + pending,
        details={
            "definedTags": body.get("definedTags") or {},
            "isDefaultReservation": bool(body.get("isDefaultReservation")),
        },
    )
    held = [_config(api, asked, envelope, number, config) for number, config in enumerate(configs)]
    _check_room(api, held)
    if late is not None:
        envelope.leaving_at = envelope.removed = api.now + pending
    work = api.work(asked, "CREATE_CAPACITY_RESERVATION", id_, compartment, pending, late)
    envelope.details = {**envelope.details, "work": work}
    api.world.add(envelope)
    for one in held:
        one.error = late
        api.world.add_reservation(one)
    return id_


def _config(api: Api, asked: Asked, envelope: Envelope, number: int, given: Mapping[str, Any]) -> Config:
    required(given, "instanceShape", "reservedCount")
    shape, fault_domain = str(given["instanceShape"]), str(given.get("faultDomain") or "")
    if shape not in SHAPES:
        raise invalid(f"The shape {shape!r} is not valid.")
    if fault_domain and fault_domain not in FAULT_DOMAINS:
        raise invalid(f"The faultDomain {fault_domain!r} is not valid.")
    size = given.get("instanceShapeConfig")
    if SHAPES[shape].flexible and not (size and size.get("ocpus") and size.get("memoryInGBs")):
        raise Refusal("MissingParameter", f"instanceShapeConfig must be given for the flexible shape {shape}.", 400)
    cluster = clusters.usable(api, given.get("clusterPlacementGroupId"), asked.region, envelope.zone)
    place = api.place(asked.region, envelope.zone, fault_domain)
    if api.world.lacks_type(place, shape):
        raise invalid(f"The shape {shape} is not available in {place.zone}.")
    if int(given["reservedCount"]) < 1:
        raise invalid("reservedCount must be 1 or more.")
    return Config(
        **api.world.born(CLOUD),
        id=f"{envelope.id}#{number}",
        kind=RESERVATION,
        region=asked.region,
        zone=place.zone,
        name=envelope.name,
        tags=envelope.tags,
        token=envelope.token,
        container=envelope.id,
        type=shape,
        count=int(given["reservedCount"]),
        active_at=envelope.active_at,
        fault_domain=fault_domain,
        cluster=cluster,
        details={"instanceShapeConfig": size} if size else {},
    )


def _check_room(api: Api, configs: list[Config]) -> None:
    """Raise where stock or limits cannot give all of them together."""
    wanted: dict[tuple[Place, str], int] = {}
    for one in configs:
        key = (Place(CLOUD, one.region, one.zone), one.type)
        wanted[key] = wanted.get(key, 0) + one.count
    for (place, type_), count in wanted.items():
        api.world.room().check(place, type_, "on-demand", count)


def get(api: Api, asked: Asked) -> HttpResponse:
    """Return one with its configurations."""
    envelope = api.need(asked.params["id"], {ENVELOPE: Envelope}, asked.region)
    return answer(envelope, shown(api, envelope))


def list_(api: Api, asked: Asked) -> HttpResponse:
    """Return those of a compartment without their configurations; deleted ones stay listed."""
    listed = [
        {key: value for key, value in shown(api, one).items() if key != "instanceReservationConfigs"}
        for one in api.in_domains(Envelope, asked)
    ]
    return paged(listed, asked)


def update(api: Api, asked: Asked) -> HttpResponse:
    """Change tags and configurations. A configuration that the body leaves out is deleted."""
    envelope = _active(api, asked)
    body = asked.params["body"]
    given = body.get("instanceReservationConfigs")
    tags = api.tags(body) if "freeformTags" in body else envelope.tags
    changes = None if given is None else _reconfigured(api, asked, envelope, given)
    late = asked.strike.late()
    pending = api.world.seconds("pending_s", CLOUD) if changes is not None and any(changes) else 0.0
    envelope.tags = tags
    for one in configs_of(api, envelope):
        one.tags = tags
    envelope.version += 1
    envelope.updating_until = api.now + pending

    def then(operation: Operation) -> None:
        envelope.version += 1
        if changes is not None and operation.error is None:
            changes.apply(api)

    verb = "UPDATE_CAPACITY_RESERVATION"
    return accepted(api.work(asked, verb, envelope.id, envelope.compartment, pending, late, then=then))


class Changes(NamedTuple):
    """The outcome of an update of a reservation, once it is done."""

    new: list[Config]
    resized: list[tuple[Config, int]]
    left_out: list[Config]

    def apply(self, api: Api) -> None:
        """Hold the new state from now on."""
        for one in self.left_out:
            api.world.end_reservation(one, "cancelled")
        for one in self.new:
            api.world.add_reservation(one)
        for one, count in self.resized:
            api.world.resize(one, count)


def _reconfigured(api: Api, asked: Asked, envelope: Envelope, given: list[Mapping[str, Any]]) -> Changes:
    now = {_key(one): one for one in configs_of(api, envelope)}
    number = len(api.world.contents(envelope.id)) + int(envelope.version) * 100
    wanted = [_config(api, asked, envelope, number + at, one) for at, one in enumerate(given)]
    for one in wanted:
        known = now.get(_key(one))
        grown = one.count - (known.count if known else 0)
        if known is not None and one.count < api.world.inside(known):
            raise conflict(f"{api.world.inside(known)} instances use the configuration of {one.type}.")
        if grown > 0:
            api.world.room().check(Place(CLOUD, one.region, one.zone), one.type, "on-demand", grown)
    left_out = [one for key, one in now.items() if key not in {_key(new) for new in wanted}]
    if any(api.world.inside(one) for one in left_out):
        raise conflict("Instances use a configuration that the update leaves out.")
    resized = [(now[_key(one)], one.count) for one in wanted if _key(one) in now and now[_key(one)].count != one.count]
    return Changes([one for one in wanted if _key(one) not in now], resized, left_out)


def _key(config: Config) -> tuple[str, str, str, str]:
    return config.type, config.fault_domain, config.cluster, repr(config.details.get("instanceShapeConfig"))


def delete(api: Api, asked: Asked) -> HttpResponse:
    """Let the capacity go, once no instance uses it."""
    envelope = _active(api, asked)
    inside = [one for one in configs_of(api, envelope) if api.world.inside(one)]
    if inside:
        raise conflict(
            f"The capacity reservation {envelope.id} is used by instances. Terminate them or move them out of it first."
        )
    for one in configs_of(api, envelope):
        api.world.end_reservation(one, "cancelled")
    stop = api.world.seconds("stop_s", CLOUD)
    envelope.leaving_at, envelope.removed = api.now, api.now + stop
    envelope.version += 1
    return accepted(api.work(asked, "DELETE_CAPACITY_RESERVATION", envelope.id, envelope.compartment, stop))


def _active(api: Api, asked: Asked) -> Envelope:
    envelope = api.changeable({ENVELOPE: Envelope}, asked)
    if envelope.state(api.now) != "ACTIVE":
        raise Refusal("IncorrectState", f"{envelope.id} is {envelope.state(api.now)}.", 409)
    return envelope


def configs_of(api: Api, envelope: Envelope) -> list[Config]:
    """Return the configurations of a reservation that are there now."""
    return [one for one in api.world.of(Config, CLOUD, envelope.region) if one.container == envelope.id]


class Wanted(NamedTuple):
    """The values of a launch that have to equal those of a configuration of its reservation."""

    type: str
    fault_domain: str
    cluster: str
    size: Any


def seat(api: Api, reservation: str, region: str, compartment: str, wanted: Wanted) -> Config:
    """Return the configuration of a reservation in which a launch finds room."""
    envelope = api.need(reservation, {ENVELOPE: Envelope}, region)
    if envelope.compartment != compartment:
        words = f"Authorization failed or requested related resource not found: {reservation}."
        raise Refusal("RelatedResourceNotAuthorizedOrNotFound", words, 400)
    if envelope.state(api.now) != "ACTIVE":
        raise Refusal("IncorrectState", f"The capacity reservation is {envelope.state(api.now)}.", 409)
    fitting = _fitting(api, envelope, wanted)
    if not fitting:
        raise invalid(
            "The capacity reservation has no configuration for the shape, fault domain and cluster placement group of "
            "the instance."
        )
    return next((one for one in fitting if api.world.free_seats(one)), fitting[0])


def _fitting(api: Api, envelope: Envelope, wanted: Wanted) -> list[Config]:
    return [
        one
        for one in configs_of(api, envelope)
        if (one.type, one.fault_domain, one.cluster) == (wanted.type, wanted.fault_domain, wanted.cluster)
        and (not wanted.size or _same_size(one.details.get("instanceShapeConfig"), wanted.size))
    ]


def seat_for(api: Api, reservation: str, instance: Instance, wanted: Wanted) -> Config:
    """Return the configuration with room for an instance that is there; its own place counts as a free one."""
    envelope = api.need(reservation, {ENVELOPE: Envelope}, instance.region)
    if envelope.compartment != instance.compartment or envelope.zone != instance.domain_name:
        raise invalid("The capacity reservation is in another compartment or availability domain than the instance.")
    fitting = [one for one in _fitting(api, envelope, wanted) if _has_room(api, one, instance)]
    if not fitting or envelope.state(api.now) not in ("ACTIVE", "UPDATING"):
        raise invalid("The reservation does not have sufficient capacity for the new shape.")
    return fitting[0]


def _has_room(api: Api, config: Config, instance: Instance) -> bool:
    return instance.reservation_id == config.id or bool(api.world.free_seats(config))


def _same_size(one: Any, other: Any) -> bool:
    return all(float((one or {}).get(key) or 0) == float(other.get(key) or 0) for key in ("ocpus", "memoryInGBs"))


def list_instances(api: Api, asked: Asked) -> HttpResponse:
    """Return the instances in a reservation."""
    envelope = api.need(asked.params["id"], {ENVELOPE: Envelope}, asked.region)
    inside = {one.id for one in configs_of(api, envelope)}
    listed = [
        {
            "id": one.id,
            "availabilityDomain": one.domain_name,
            "compartmentId": one.compartment,
            "shape": one.type,
            "faultDomain": one.fault_domain,
        }
        for one in api.world.of(Instance, CLOUD, asked.region)
        if one.reservation_id in inside
    ]
    return paged(listed, asked)


def shown(api: Api, envelope: Envelope) -> dict[str, Any]:
    """Return a reservation as the API has it."""
    configs = configs_of(api, envelope)
    return {
        "id": envelope.id,
        "compartmentId": envelope.compartment,
        "availabilityDomain": envelope.zone,
        "displayName": envelope.name,
        "freeformTags": dict(envelope.tags),
        "definedTags": envelope.details["definedTags"],
        "isDefaultReservation": envelope.details["isDefaultReservation"],
        "lifecycleState": envelope.state(api.now),
        "timeCreated": when(envelope.made),
        "reservedInstanceCount": sum(one.count for one in configs),
        "usedInstanceCount": sum(_counted(api, one) for one in configs),
        "instanceReservationConfigs": [_shown_config(api, one) for one in configs],
    }


def _counted(api: Api, config: Config) -> int:
    """Return how many instances a configuration counts as used: the weather may have it lag behind the launches."""
    lag = own_of(api.world).count_lag_s
    recent = [one for one in api.world.of(Instance, CLOUD, config.region) if one.reservation_id == config.id]
    late = sum(1 for one in recent if one.occupies(api.now) and api.now < one.made + lag)
    return api.world.inside(config) - late


def _shown_config(api: Api, config: Config) -> dict[str, Any]:
    body = {
        "instanceShape": config.type,
        "reservedCount": config.count,
        "usedCount": _counted(api, config),
        **config.details,
    }
    places = {"faultDomain": config.fault_domain, "clusterPlacementGroupId": config.cluster}
    return {**body, **{key: value for key, value in places.items() if value}}


def report(api: Api, asked: Asked) -> HttpResponse:
    """Return what stock a domain has of some shapes."""
    body = asked.params["body"]
    required(body, "compartmentId", "availabilityDomain", "shapeAvailabilities")
    if api.compartment(body["compartmentId"]) != TENANCY:
        raise invalid("compartmentId must be the root compartment.")
    domain, wanted = api.domain(asked, body["availabilityDomain"]), body["shapeAvailabilities"]
    if len(wanted) > _MOST_SHAPES:
        raise invalid(f"A report takes at most {_MOST_SHAPES} shapes.")
    return HttpResponse.of_json(
        {
            "compartmentId": TENANCY,
            "availabilityDomain": domain,
            "shapeAvailabilities": [_availability(api, asked, domain, one) for one in wanted],
            "timeCreated": when(api.now),
        }
    )


def _availability(api: Api, asked: Asked, domain: str, wanted: Mapping[str, Any]) -> dict[str, Any]:
    required(wanted, "instanceShape")
    shape = str(wanted["instanceShape"])
    place = api.place(asked.region, domain, str(wanted.get("faultDomain") or ""))
    status = "AVAILABLE"
    if shape not in SHAPES or api.world.lacks_type(place, shape):
        status = "HARDWARE_NOT_SUPPORTED"
    else:
        try:
            api.world.room().check(place, shape, "on-demand", 1)
        except NoStock:
            status = "OUT_OF_HOST_CAPACITY"
        except Refusal:
            # The report is about hosts; it does not contain what the account may still use.
            status = "AVAILABLE"
    return {**{key: value for key, value in wanted.items() if value}, "availabilityStatus": status}
