"""Instances, shapes, images, console histories, work requests."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any, Final

from pytest_capacity.emulator.catalogue import Place
from pytest_capacity.emulator.face import Asked
from pytest_capacity.emulator.http import HttpResponse
from pytest_capacity.emulator.oci import clusters, network, reservations, shapes, volumes
from pytest_capacity.emulator.oci.api import CLOUD, Api, accepted, answer, hidden, invalid, paged, required, when
from pytest_capacity.emulator.oci.catalogue import FAULT_DOMAINS, REGIONS, SHAPES, ImageKind
from pytest_capacity.emulator.oci.things import HISTORY, INSTANCE, Instance, NetworkThing
from pytest_capacity.emulator.refusal import Refusal, WrongState
from pytest_capacity.emulator.things import Other, Reservation

#: Bytes of all metadata of an instance.
_METADATA: Final = 32000
#: What shapes begin with that can be changed (OCI documentation, "Changing the Shape of an Instance").
_RESHAPED: Final = ("VM.Standard", "VM.Optimized")


def launch(api: Api, asked: Asked) -> HttpResponse:
    """Start one instance."""
    body = asked.params["body"]
    required(body, "compartmentId", "availabilityDomain", "shape")
    made = api.once(asked, body, lambda: _make(api, asked, body))
    instance = api.need(made, {INSTANCE: Instance}, asked.region)
    return answer(instance, shown(api, instance), str(instance.details["work"]))


def _make(api: Api, asked: Asked, body: Mapping[str, Any]) -> str:
    compartment, domain = api.compartment(body["compartmentId"]), api.domain(asked, body["availabilityDomain"])
    shape, fault_domain = str(body["shape"]), str(body.get("faultDomain") or "")
    _check_shape(api, asked, body, domain)
    image = _check_source(api, asked, body, shape)
    subnet = _check_card(api, asked, body)
    place = api.place(asked.region, domain, fault_domain)
    cluster = clusters.usable(api, body.get("clusterPlacementGroupId"), asked.region, domain)
    wanted = reservations.Wanted(shape, fault_domain, cluster, body.get("shapeConfig"))
    seat = _seat(api, body, place, compartment, wanted)
    late = asked.strike.late()
    boot = api.world.seconds("boot_s", CLOUD)
    card, metadata = body["createVnicDetails"], body.get("metadata") or {}
    id_ = api.ocid("instance", asked.region)
    instance = Instance(
        **api.world.born(CLOUD),
        id=id_,
        kind=INSTANCE,
        region=asked.region,
        zone=place.zone,
        name=str(body.get("displayName") or f"instance{api.world.hex(8)}"),
        tags=api.tags(body),
        token=asked.token or "",
        type=shape,
        market="spot" if body.get("preemptibleInstanceConfig") else "on-demand",
        running_at=api.now + boot,
        reservation_id=seat.id if seat else None,
        error=late,
        private_ip=network.next_address(api, subnet),
        public_ip=f"203.0.113.{api.world.number() % 254 + 1}" if card.get("assignPublicIp") else "",
        hostname=str(body.get("displayName") or ""),
        public_keys=tuple(filter(None, str(metadata.get("ssh_authorized_keys") or "").splitlines())),
        user=image.user,
        ssh_delay_s=api.world.seconds("ssh_delay_s", CLOUD),
        cloud_init_s=api.world.seconds("cloud_init_s", CLOUD),
        user_data=_user_data(metadata),
        compartment=compartment,
        domain_name=domain,
        fault_domain=fault_domain or FAULT_DOMAINS[api.world.number() % len(FAULT_DOMAINS)],
        subnet=subnet.id,
        vnic=api.ocid("vnic", asked.region),
        cluster=cluster,
        boot_volume=api.ocid("bootvolume", asked.region),
        boot_gb=volumes.size_of((body["sourceDetails"]).get("bootVolumeSizeInGBs")),
    )
    instance.details = {
        "work": api.work(asked, "LaunchInstance", id_, compartment, boot, late),
        "reservation": str(body.get("capacityReservationId") or ""),
        "image": body["sourceDetails"]["imageId"],
        "shapeConfig": body.get("shapeConfig") or {},
        "preemptible": body.get("preemptibleInstanceConfig"),
        "faultDomain": fault_domain,
        "metadata": dict(metadata),
        "definedTags": body.get("definedTags") or {},
    }
    api.world.add_machine(instance)
    return id_


def _seat(
    api: Api, body: Mapping[str, Any], place: Place, compartment: str, wanted: reservations.Wanted
) -> Reservation | None:
    """Return the reservation in which a launch sits; None: outside."""
    spot, reservation = bool(body.get("preemptibleInstanceConfig")), str(body.get("capacityReservationId") or "")
    if spot and reservation:
        raise invalid("A preemptible instance cannot use a capacity reservation.")
    config = reservations.seat(api, reservation, place.region, compartment, wanted) if reservation else None
    free = api.world.free_seats(config) if config else ()
    market = "spot" if spot else "on-demand"
    return api.world.room().seats(place, wanted.type, market, 1, 1, free, only_reserved=config is not None)[0]


def _check_shape(api: Api, asked: Asked, body: Mapping[str, Any], domain: str) -> None:
    shape, fault_domain = SHAPES.get(str(body["shape"])), body.get("faultDomain")
    if shape is None:
        raise invalid(f"The shape {body['shape']!r} is not valid.")
    if fault_domain and fault_domain not in FAULT_DOMAINS:
        raise invalid(f"The faultDomain {fault_domain!r} is not valid.")
    if api.world.lacks_type(api.place(asked.region, domain, str(fault_domain or "")), str(body["shape"])):
        raise hidden(f"shape {body['shape']} in {domain}")
    size = body.get("shapeConfig") or {}
    if not shape.flexible:
        if size:
            raise invalid(f"shapeConfig is only for flexible shapes, and {body['shape']} is none.")
        return
    if not size.get("ocpus"):
        raise Refusal("MissingParameter", f"shapeConfig.ocpus must be given for {body['shape']}.", 400)
    if not 1 <= float(size["ocpus"]) <= shape.most_ocpus:
        raise invalid(f"{body['shape']} takes 1 to {shape.most_ocpus:g} OCPUs.")


def _check_source(api: Api, asked: Asked, body: Mapping[str, Any], shape: str) -> ImageKind:
    source = body.get("sourceDetails") or {}
    required(source, "sourceType", "imageId")
    image = shapes.images_of(api, asked.region).get(str(source["imageId"]))
    if image is None:
        raise hidden(f"image {source['imageId']}")
    if image.arm != SHAPES[shape].arm:
        raise invalid(f"Shape {shape} is not valid for image {source['imageId']}.")
    if sum(len(key) + len(str(value)) for key, value in (body.get("metadata") or {}).items()) > _METADATA:
        raise invalid(f"Metadata takes at most {_METADATA} bytes.")
    return image


def _check_card(api: Api, asked: Asked, body: Mapping[str, Any]) -> NetworkThing:
    card = body.get("createVnicDetails") or {}
    required(card, "subnetId")
    subnet = api.need(str(card["subnetId"]), {network.SUBNET: NetworkThing}, asked.region)
    if card.get("assignPublicIp") and subnet.details.get("prohibitPublicIpOnVnic"):
        raise invalid(f"The subnet {subnet.id} prohibits public IP addresses.")
    return subnet


def _user_data(metadata: Mapping[str, Any]) -> bytes:
    try:
        return base64.b64decode(str(metadata.get("user_data") or ""), validate=True)
    except (binascii.Error, ValueError):
        raise invalid("metadata.user_data is not in base64.") from None


def get(api: Api, asked: Asked) -> HttpResponse:
    """Return one; a terminated one for a while, too."""
    instance = api.need(asked.params["id"], {INSTANCE: Instance}, asked.region)
    return answer(instance, shown(api, instance))


def list_(api: Api, asked: Asked) -> HttpResponse:
    """Return those of a compartment; terminated ones stay listed for a while."""
    return paged([shown(api, one) for one in api.in_domains(Instance, asked)], asked)


def update(api: Api, asked: Asked) -> HttpResponse:
    """Change tags, name and shape."""
    instance = api.changeable({INSTANCE: Instance}, asked)
    body = asked.params["body"]
    tags = api.tags(body) if "freeformTags" in body else instance.tags
    if {"shape", "shapeConfig", "capacityReservationId"} & body.keys():
        _reshape(api, asked, instance, body)
    instance.tags = tags
    instance.name = str(body.get("displayName") or instance.name)
    instance.version += 1
    work = api.work(asked, "UpdateInstance", instance.id, instance.compartment, 0.0)
    return answer(instance, shown(api, instance), work)


def _reshape(api: Api, asked: Asked, instance: Instance, body: Mapping[str, Any]) -> None:
    """Give an instance another shape, size or reservation, all by one update. One that runs is restarted for it."""
    stage = instance.stage(api.now)
    if stage not in ("running", "stopped"):
        raise WrongState(instance.kind, instance.id, instance.state(api.now))
    shape = str(body.get("shape") or instance.type)
    size = body.get("shapeConfig") or (instance.details["shapeConfig"] if shape == instance.type else None)
    if SHAPES[shape].flexible if shape in SHAPES else False:
        # What an update leaves out is as by default for the shape (API reference, UpdateInstanceShapeConfigDetails).
        size = {"ocpus": SHAPES[shape].ocpus, "memoryInGBs": SHAPES[shape].memory_gb, **(size or {})}
    _check_shape(api, asked, {"shape": shape, "shapeConfig": size}, instance.domain_name)
    image = shapes.images_of(api, asked.region)[instance.details["image"]]
    if shape != instance.type:
        for one in (instance.type, shape):
            if not one.startswith(_RESHAPED):
                raise invalid(f"The shape {one} cannot be changed to or from.")
        if image.arm != SHAPES[shape].arm:
            raise invalid(f"Shape {shape} is not valid for image {instance.details['image']}.")
        if stage == "running" and body.get("updateOperationConstraint") == "AVOID_DOWNTIME":
            raise WrongState(instance.kind, instance.id, instance.state(api.now))
    reservation = str(body.get("capacityReservationId", instance.details["reservation"]) or "")
    wanted = reservations.Wanted(shape, _asked_domain(instance), instance.cluster, size)
    config = reservations.seat_for(api, reservation, instance, wanted) if reservation else None
    if config is None and stage == "running":
        place = api.place(instance.region, instance.domain_name, _asked_domain(instance))
        api.world.room().check(place, shape, instance.market, 1)
    instance.type = shape
    if stage == "running":
        instance.reservation_id = config.id if config else None
    instance.details = {**instance.details, "shapeConfig": size or {}, "reservation": reservation}


def _asked_domain(instance: Instance) -> str:
    """Return the fault domain that its launch named; empty where OCI chose one."""
    return str(instance.details["faultDomain"])


def terminate(api: Api, asked: Asked) -> HttpResponse:
    """Send one away, its boot volume along unless that is to stay."""
    instance = api.changeable({INSTANCE: Instance}, asked)
    if asked.request.first("preserveBootVolume", "false") == "true":
        volume = Other(
            **api.world.born(CLOUD),
            id=instance.boot_volume,
            kind="boot-volume",
            region=asked.region,
            zone=instance.domain_name,
            hourly=0.0018,
        )
        api.world.add(volume)
    api.world.leave(instance)
    stop = api.world.seconds("stop_s", CLOUD)
    return accepted(api.work(asked, "TerminateInstance", instance.id, instance.compartment, stop))


def act(api: Api, asked: Asked) -> HttpResponse:
    """Stop or start one. It starts in the reservation that it is in, or not at all."""
    instance = api.changeable({INSTANCE: Instance}, asked)
    action = asked.request.first("action").upper()
    if action in ("STOP", "SOFTSTOP"):
        if instance.stage(api.now) != "running":
            raise WrongState(instance.kind, instance.id, instance.state(api.now))
        api.world.stop(instance)
    elif action == "START":
        reservation = str(instance.details["reservation"])
        wanted = reservations.Wanted(
            instance.type, _asked_domain(instance), instance.cluster, instance.details["shapeConfig"]
        )
        config = reservations.seat_for(api, reservation, instance, wanted) if reservation else None
        api.world.start(instance, config)
        instance.restarted = True
    else:
        raise invalid(f"The action {action!r} is not one of STOP, SOFTSTOP, START.")
    instance.version += 1
    return answer(instance, shown(api, instance))


def shown(api: Api, instance: Instance) -> dict[str, Any]:
    """Return an instance as the API has it."""
    details = instance.details
    body: dict[str, Any] = {
        "id": instance.id,
        "compartmentId": instance.compartment,
        "availabilityDomain": instance.domain_name,
        "faultDomain": instance.fault_domain,
        "displayName": instance.name,
        "region": REGIONS[instance.region][0],
        "shape": instance.type,
        "imageId": details["image"],
        "sourceDetails": {"sourceType": "image", "imageId": details["image"]},
        "lifecycleState": instance.state(api.now),
        "timeCreated": when(instance.made),
        "freeformTags": dict(instance.tags),
        "definedTags": details["definedTags"],
        "metadata": details["metadata"],
        "launchMode": "NATIVE",
    }
    if details["shapeConfig"]:
        body["shapeConfig"] = details["shapeConfig"]
    if details["reservation"] and (instance.reservation_id or instance.stage(api.now) in ("stopping", "stopped")):
        body["capacityReservationId"] = details["reservation"]
    if instance.cluster:
        body["clusterPlacementGroupId"] = instance.cluster
    if details["preemptible"]:
        body["preemptibleInstanceConfig"] = details["preemptible"]
    return body


def capture_history(api: Api, asked: Asked) -> HttpResponse:
    """Keep what the console has at this time."""
    body = asked.params["body"]
    required(body, "instanceId")
    instance = api.need(str(body["instanceId"]), {INSTANCE: Instance}, asked.region)
    history = Other(
        **api.world.born(CLOUD),
        id=api.ocid("consolehistory", asked.region),
        kind=HISTORY,
        region=asked.region,
        zone=instance.domain_name,
        shown=False,
        details={"instance": instance.id, "text": instance.node.console() if instance.node else ""},
    )
    api.world.add(history)
    return answer(history, _shown_history(instance, history))


def _shown_history(instance: Instance, history: Other) -> dict[str, Any]:
    return {
        "id": history.id,
        "instanceId": instance.id,
        "availabilityDomain": instance.domain_name,
        "compartmentId": instance.compartment,
        "lifecycleState": "SUCCEEDED",
        "timeCreated": when(history.made),
    }


def get_history(api: Api, asked: Asked) -> HttpResponse:
    """Return the state of a capture."""
    history = api.need(asked.params["id"], {HISTORY: Other}, asked.region)
    instance = api.need(str(history.details["instance"]), {INSTANCE: Instance}, asked.region)
    return answer(history, _shown_history(instance, history))


def history_content(api: Api, asked: Asked) -> HttpResponse:
    """Return what was captured."""
    history = api.need(asked.params["id"], {HISTORY: Other}, asked.region)
    text = str(history.details["text"])[-int(asked.request.first("length", "10240")) :]
    return HttpResponse(200, text.encode(), {"Content-Type": "text/plain"})


def delete_history(api: Api, asked: Asked) -> HttpResponse:
    """Remove a capture."""
    api.world.remove(api.need(asked.params["id"], {HISTORY: Other}, asked.region))
    return accepted()
