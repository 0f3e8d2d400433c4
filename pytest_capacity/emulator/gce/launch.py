"""Instances: how they are made, one by one or many at once, and what is refused before or after the fact."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from pytest_capacity.emulator.catalogue import Place
from pytest_capacity.emulator.face import Asked
from pytest_capacity.emulator.gce import fixed, others
from pytest_capacity.emulator.gce.catalogue import PROJECT, ZONES, Image
from pytest_capacity.emulator.gce.context import CLOUD, Context
from pytest_capacity.emulator.gce.reservations import check_accelerator, check_type, find, need_policy
from pytest_capacity.emulator.gce.things import GceOperation, GceReservation, Instance
from pytest_capacity.emulator.gce.wire import BASE, NAME, invalid, last, path_of, read_time, whole
from pytest_capacity.emulator.refusal import AlreadyExists, NoStock, OverQuota, Refusal, ReservationFull
from pytest_capacity.emulator.things import FOREVER, Reservation

#: Series to whose machines local SSDs can be added.
_LOCAL_SSDS: Final = frozenset({"n1", "n2", "n2d", "c2", "c2d", "a2", "g2"})
#: The least time that a machine can be given. Seconds.
_LEAST_S: Final = 30
_MINE: Final = f"projects/{PROJECT}/reservations/"


class Wish:
    """What a machine is like as far as reservations and stock are concerned, and where it can have its place."""

    def __init__(self, place: Place, type_: str, market: str, body: Mapping[str, Any]) -> None:
        self.place = place
        self.type = type_
        self.market = market
        self.body = body
        self.affinity = body.get("reservationAffinity") or {}

    def seats(self, context: Context, least: int, most: int) -> list[Reservation | None]:
        """Return the place of each machine. Raise what the operation has to report."""
        kind = self.affinity.get("consumeReservationType", "ANY_RESERVATION")
        world = context.world
        if kind == "SPECIFIC_RESERVATION":
            reservation = self._named(context)
            free = world.free_seats(reservation)
            return world.room().seats(self.place, self.type, self.market, least, most, free, only_reserved=True)
        reserved: list[Reservation] = []
        if kind == "ANY_RESERVATION" and self.market == "on-demand":
            for one in world.of(GceReservation, CLOUD, self.place.region):
                if not one.body.get("specificReservationRequired") and self._fits(one):
                    reserved += world.free_seats(one)
        return world.room().seats(self.place, self.type, self.market, least, most, reserved)

    def _named(self, context: Context) -> GceReservation:
        name = str((self.affinity.get("values") or [""])[0]).removeprefix(_MINE)
        try:
            found = find(context, self.place.zone, last(name))
        except Refusal:
            raise Refusal("CONDITION_NOT_MET", f"Specified reservations [{name}] do not exist.") from None
        if not self._fits(found):
            raise Refusal("CONDITION_NOT_MET", f"No available resources in specified reservations [{name}].")
        return found

    def _fits(self, one: GceReservation) -> bool:
        """Return whether all of its properties are those of the machine, as the API requires."""
        properties = one.body["specificReservation"]["instanceProperties"]
        boards = {(last(b.get("acceleratorType")), b.get("acceleratorCount")) for b in self._boards(self.body)}
        others_ = {(last(b.get("acceleratorType")), b.get("acceleratorCount")) for b in self._boards(properties)}
        local = [disk.get("interface", "SCSI") for disk in self.body.get("disks", ()) if disk.get("type") == "SCRATCH"]
        wanted = [disk.get("interface", "SCSI") for disk in properties.get("localSsds") or ()]
        return (
            one.zone == self.place.zone
            and one.type == self.type
            and boards == others_
            and local == wanted
            and (properties.get("minCpuPlatform") or "") == (self.body.get("minCpuPlatform") or "")
        )

    @staticmethod
    def _boards(body: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
        return body.get("guestAccelerators") or ()


class Plan:
    """The machines of a call: all alike, and checked."""

    def __init__(self, context: Context, place: Place, body: Mapping[str, Any]) -> None:
        self.place = place
        self.body = body
        self.type = last(body.get("machineType"))
        scheduling = body.get("scheduling") or {}
        self.scheduling = scheduling
        spot = scheduling.get("provisioningModel") == "SPOT" or bool(scheduling.get("preemptible"))
        self.market: Any = "spot" if spot else "on-demand"
        self.action = scheduling.get("instanceTerminationAction") or "STOP"
        check_type(context, place, self.type)
        self._check_links()
        self.end = end_of(context, self.scheduling)
        self.warning: tuple[str, str] | None = None
        self.image = self._check_disks(context)
        self._check_network()
        self._check_platform()
        self._check_maintenance()
        for policy in body.get("resourcePolicies") or ():
            need_policy(context, place.region, last(policy))
        self.wish = Wish(place, self.type, self.market, body)
        if spot and self.wish.affinity.get("consumeReservationType") == "SPECIFIC_RESERVATION":
            raise invalid(
                "resource.reservationAffinity", "SPECIFIC_RESERVATION", "Spot instances cannot consume reservations."
            )

    def _check_links(self) -> None:
        """Check links: one of one zone's type cannot stand in another zone's machine."""
        path = path_of(self.body.get("machineType"))
        if "/" in path and f"zones/{self.place.zone}/" not in f"{path}/":
            raise invalid("resource.machineType", path, f"The resource is not in zone '{self.place.zone}'.")

    def _check_disks(self, context: Context) -> Image:
        disks = self.body.get("disks") or ()
        boot = next((disk for disk in disks if disk.get("boot")), None)
        if boot is None:
            raise invalid("resource.disks", "", "At least one boot disk must be specified.")
        given = boot.get("initializeParams") or {}
        image = fixed.find_image(path_of(given.get("sourceImage")))
        size = whole(given.get("diskSizeGb") or image.disk_gb, "resource.disks[0].initializeParams.diskSizeGb", 1)
        if size < image.disk_gb:
            raise invalid(
                "resource.disks[0].initializeParams.diskSizeGb",
                str(size),
                f"Requested disk size cannot be smaller than the image size ({image.disk_gb} GB)",
            )
        if size > image.disk_gb:
            words = (
                f"Disk size: '{size} GB' is larger than image size: '{image.disk_gb} GB'. You might need to resize the "
                "root repartition manually if the operating system does not support automatic resizing."
            )
            self.warning = ("DISK_SIZE_LARGER_THAN_IMAGE_SIZE", words)
        local = [disk for disk in disks if disk.get("type") == "SCRATCH"]
        if local and context.catalogue.family(self.type) not in _LOCAL_SSDS:
            raise invalid("resource.disks", self.type, "Local SSDs are not supported by this machine type.")
        return image

    def _check_network(self) -> None:
        for one in self.body.get("networkInterfaces") or ():
            fixed.check_network(path_of(one.get("network")) or "global/networks/default")
            if one.get("subnetwork"):
                fixed.check_subnet(path_of(one["subnetwork"]), self.place.region)

    def _check_platform(self) -> None:
        platform = self.body.get("minCpuPlatform")
        if platform and platform not in fixed.PLATFORMS:
            raise invalid(
                "resource.minCpuPlatform",
                str(platform),
                f"CPU platform type with name '{platform}' does not exist in zone '{self.place.zone}'.",
            )

    def _check_maintenance(self) -> None:
        boards = self.body.get("guestAccelerators") or ()
        for board in boards:
            check_accelerator(self.place, last(board.get("acceleratorType")))
        if self.market == "spot" and self.scheduling.get("onHostMaintenance", "TERMINATE") != "TERMINATE":
            raise invalid("resource.scheduling", "MIGRATE", "Spot instances do not support live migration.")
        if boards and self.scheduling.get("onHostMaintenance", "MIGRATE") != "TERMINATE":
            raise invalid(
                "resource.scheduling", "MIGRATE", "Instances with guest accelerators do not support live migration."
            )


def end_of(context: Context, scheduling: Mapping[str, Any]) -> float | None:
    """Return when a machine is ended by the clock: at an absolute time, or seconds from its start. Raise `Refusal`."""
    limit, at = scheduling.get("maxRunDuration"), scheduling.get("terminationTime")
    if limit and at:
        raise invalid("resource.scheduling", "maxRunDuration", "Only one of the two may be set.")
    if (limit or at) and not scheduling.get("instanceTerminationAction"):
        raise invalid("resource.scheduling", "", "instanceTerminationAction must be specified.")
    if at:
        end = read_time(at)
        if end < context.now + _LEAST_S:
            raise invalid("resource.scheduling.terminationTime", str(at), "Must be at least 30 seconds away.")
        return end
    if limit:
        return context.now + whole(limit.get("seconds", ""), "resource.scheduling.maxRunDuration.seconds", _LEAST_S)
    return None


def insert(context: Context, asked: Asked) -> GceOperation:
    """Make one machine."""
    body = asked.params["body"]
    plan = Plan(context, context.place(asked), body)
    name = str(body.get("name", ""))
    _check_names(context, plan.place, [name])
    path = f"zones/{plan.place.zone}/instances/{name}"
    late = asked.strike.late()
    try:
        seats = plan.wish.seats(context, 1, 1)
    except (NoStock, OverQuota, ReservationFull) as refusal:
        late = late or refusal
    except Refusal as refusal:
        late = late or refusal
    if late is not None:
        return context.begin(asked, "insert", path, context.world.number(), error=late)
    made = _make(context, asked, plan, name, seats[0])
    return context.begin(asked, "insert", path, made.number, warning=plan.warning)


def bulk_insert(context: Context, asked: Asked) -> GceOperation:
    """Make many alike, all of them or (below ``minCount``) none: what was made meanwhile is deleted again."""
    body = asked.params["body"]
    plan = Plan(context, context.place(asked), body.get("instanceProperties") or {})
    count = whole(body.get("count", ""), "resource.count", 1)
    least = whole(body.get("minCount", count), "resource.minCount", 1)
    names = list(body.get("perInstanceProperties") or {}) or _pattern(str(body.get("namePattern", "")), count)
    if len(names) != count:
        raise invalid("resource.perInstanceProperties", str(len(names)), "Must have as many entries as `count`.")
    _check_names(context, plan.place, names)
    path = f"zones/{plan.place.zone}/instances/bulkInsert"
    late = asked.strike.late()
    seats: list[Reservation | None] = []
    try:
        seats = plan.wish.seats(context, least, count)
    except (NoStock, OverQuota) as refusal:
        late = late or refusal
        seats = [None] * min(refusal.left, count)
    except Refusal as refusal:
        late = late or refusal
    group = f"{context.world.hex(8)}-{context.world.hex(4)}-{context.world.hex(4)}"
    made = [_make(context, asked, plan, name, seat) for name, seat in zip(names, seats, strict=False)]
    for machine in made:
        # Each machine has its own operation, too.
        one = f"zones/{plan.place.zone}/instances/{machine.name}"
        context.begin(asked, "insert", one, machine.number, group=group)
    if late is None:
        counts = (count, len(made), 0)
        return context.begin(asked, "bulkInsert", path, counts=counts, group=group, warning=plan.warning)
    words = f"Requested minimum count of {least} VMs could not be created."

    def roll_back() -> None:
        for machine in made:
            context.world.leave(machine)

    return context.begin(
        asked,
        "bulkInsert",
        path,
        error=late,
        errors=[Refusal("VM_MIN_COUNT_NOT_REACHED", words)],
        then=roll_back,
        counts=(count, len(made), len(made)),
        group=group,
    )


def _pattern(pattern: str, count: int) -> list[str]:
    digits = pattern.count("#")
    if not digits or "#" * digits not in pattern:
        raise invalid("resource.namePattern", pattern, "Must have one run of '#'.")
    return [pattern.replace("#" * digits, str(number).zfill(digits)) for number in range(1, count + 1)]


def _check_names(context: Context, place: Place, names: Sequence[str]) -> None:
    taken = {one.name for one in context.world.of(Instance, CLOUD) if one.zone == place.zone}
    for name in names:
        if not NAME.fullmatch(name):
            raise invalid("resource.name", name, "Must be a match of regex '(?:[a-z](?:[-a-z0-9]{0,61}[a-z0-9])?)'")
        if name in taken:
            raise AlreadyExists("instance", f"projects/{PROJECT}/zones/{place.zone}/instances/{name}")


def _make(context: Context, asked: Asked, plan: Plan, name: str, seat: Reservation | None) -> Instance:
    world, place, body = context.world, plan.place, plan.body
    provisioned_at = context.now + context.seconds("operation_s")
    metadata = dict(body.get("metadata") or {})
    items = {item["key"]: str(item.get("value", "")) for item in metadata.get("items") or ()}
    users, keys = _ssh_keys(items.get("ssh-keys", ""))
    born = world.born(CLOUD)
    number = int(born["number"])
    other = world.get(name)
    network = (body.get("networkInterfaces") or [{}])[0]
    index = list(ZONES).index(place.region)
    made = Instance(
        **born,
        # The name, by which gcloud and we find it, unless it lives in another zone too.
        id=name if other is None or not other.live(context.now) else f"{place.zone}/{name}",
        kind="instance",
        region=place.region,
        zone=place.zone,
        name=name,
        tags=dict(body.get("labels") or {}),
        token=asked.token or "",
        type=plan.type,
        market=plan.market,
        running_at=provisioned_at + context.seconds("boot_s"),
        provisioned_at=provisioned_at,
        reservation_id=seat.id if seat is not None else None,
        ends_when_taken=plan.action == "DELETE",
        shutdown_at=plan.end,
        ends_by_shutdown=plan.action == "DELETE",
        private_ip=f"10.{128 + index}.{number // 250 % 16}.{number % 250 + 2}",
        public_ip=f"198.51.100.{number % 250 + 2}" if network.get("accessConfigs") else "",
        hostname=name,
        domain=f"{place.zone}.c.{PROJECT}.internal",
        public_keys=tuple(keys),
        user=users[0] if len(set(users)) == 1 else "",
        ssh_delay_s=context.seconds("ssh_delay_s"),
        cloud_init_s=context.seconds("cloud_init_s"),
        user_data=(items.get("user-data") or items.get("startup-script") or "").encode(),
        body=body,
        metadata=metadata,
    )
    world.add_machine(made)
    _make_disks(context, plan, made)
    if made.gone_at != FOREVER and made.gone_at <= context.now:
        made.public_keys = ()
    return made


def _make_disks(context: Context, plan: Plan, made: Instance) -> None:
    for number, disk in enumerate(plan.body.get("disks") or ()):
        if disk.get("type") != "SCRATCH" and disk.get("initializeParams"):
            given = disk["initializeParams"]
            about = {
                "sizeGb": given.get("diskSizeGb") or plan.image.disk_gb,
                "type": given.get("diskType"),
                "labels": given.get("labels") or {},
                "description": given.get("description", ""),
                "sourceImage": f"{BASE}projects/{plan.image.project}/global/images/{plan.image.name}",
            }
            name = given.get("diskName") or (made.name if number == 0 else f"{made.name}-{number}")
            others.make_disk(context, made.region, made.zone, name, about, made, bool(disk.get("autoDelete")))


def _ssh_keys(text: str) -> tuple[list[str], list[str]]:
    """Return users and keys of the metadata ``ssh-keys``: ``USER:KEY``, one a line."""
    pairs = [line.partition(":")[::2] for line in text.splitlines() if ":" in line]
    return [user for user, _ in pairs], [key.strip() for _, key in pairs]
