"""The AWS catalogue: regions, zones, types, images and networks, as moto ships them."""

from __future__ import annotations

import copy
import ipaddress
import threading
from collections.abc import Mapping
from functools import cached_property
from typing import Any, Final

from moto.core.exceptions import ServiceException
from moto.core.utils import get_service_model
from moto.ec2.models import ec2_backends
from moto.ec2.models.availability_zones_and_regions import RegionsAndZonesBackend
from moto.ec2.models.instance_types import INSTANCE_TYPE_OFFERINGS, INSTANCE_TYPES
from msgspec import Struct

from pytest_capacity.emulator.aws.own import KEYS, read_own
from pytest_capacity.emulator.catalogue import PRICE_OF_A_VCPU, SPOT_SHARE
from pytest_capacity.emulator.refusal import Refusal

ACCOUNT: Final = "123456789012"

#: Operations of the other services.
_OTHER_OPERATIONS: Final = frozenset(
    {
        "GetCallerIdentity",
        "DecodeAuthorizationMessage",
        "CreateGroup",
        "GroupResources",
        "UngroupResources",
        "ListGroupResources",
        "DeleteGroup",
        "ListServiceQuotas",
        "GetServiceQuota",
        "ListAWSDefaultServiceQuotas",
        "GetAWSDefaultServiceQuota",
    }
)

#: Images of the account's own that exist in every region under the same id: platform details, architecture, name.
#: Each is a day younger than the one before it.
IMAGES: Final = {
    "ami-0e000000000000005": ("Linux/UNIX", "x86_64", "emulated-linux-old-x86_64"),
    "ami-12c6146b": ("Linux/UNIX", "x86_64", "emulated-linux-x86_64"),
    "ami-0e000000000000001": ("Linux/UNIX", "arm64", "emulated-linux-arm64"),
    "ami-0e000000000000002": ("Windows", "x86_64", "emulated-windows-x86_64"),
    "ami-0e000000000000003": ("Red Hat Enterprise Linux", "x86_64", "emulated-rhel-x86_64"),
    "ami-0e000000000000004": ("SUSE Linux", "x86_64", "emulated-suse-x86_64"),
    "ami-0e000000000000006": ("Linux/UNIX", "arm64_mac", "emulated-macos-arm64_mac"),
}


#: USD an hour, on demand. The emulator's own figures, near those of us-east-1, and the same in every region.
PRICES: Final[Mapping[str, float]] = {
    "t3.micro": 0.0104,
    "t3.small": 0.0208,
    "t3.medium": 0.0416,
    "t3.large": 0.0832,
    "c6i.large": 0.085,
    "c6i.xlarge": 0.17,
    "c6i.2xlarge": 0.34,
    "m6i.large": 0.096,
    "m6i.xlarge": 0.192,
    "i4i.large": 0.172,
    "i4i.xlarge": 0.343,
    "i4i.2xlarge": 0.686,
    "i4i.4xlarge": 1.373,
}


class Image(Struct, frozen=True):
    """The image properties that a launch reads."""

    id: str
    platform: str
    architecture: str
    root_device: str


class Network(Struct, frozen=True):
    """The subnet properties that a launch reads."""

    subnet: str
    vpc: str
    zone: str
    cidr: str
    public: bool


class Ec2Catalogue:
    """moto's knowledge of AWS. moto is not safe for threads: hold ``lock`` for more than names."""

    #: EC2 bills a machine by the second, but at least this long.
    least_s: Final = 60.0
    own_keys: Final = KEYS

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self._ready: set[str] = set()

    @cached_property
    def _zones(self) -> dict[str, dict[str, str]]:
        return {
            region: {zone.name: zone.zone_id for zone in zones}
            for region, zones in RegionsAndZonesBackend.zones.items()
        }

    def regions(self) -> frozenset[str]:
        """Return every region."""
        return frozenset(self._zones)

    def zones(self) -> frozenset[str]:
        """Return every zone of every region, by name."""
        return frozenset(zone for zones in self._zones.values() for zone in zones)

    def zones_of(self, region: str) -> dict[str, str]:
        """Return names and ids of a region's zones."""
        return self._zones.get(region, {})

    def has_type(self, type_: str) -> bool:
        """Return whether EC2 has such a type."""
        return type_ in INSTANCE_TYPES

    def vcpus(self, type_: str) -> int | None:
        """Return the vCPUs of a type; None if they are not known."""
        known = INSTANCE_TYPES.get(type_)
        return int(known["VCpuInfo"]["DefaultVCpus"]) if known else None

    def memory_gb(self, type_: str) -> float | None:
        """Return the memory of a type; None if it is not known."""
        known = INSTANCE_TYPES.get(type_)
        return int(known["MemoryInfo"]["SizeInMiB"]) / 1024 if known else None

    def architecture(self, type_: str) -> str:
        """Return the processor architecture of a type, the newest one."""
        return self.architectures(type_)[-1]

    def family(self, type_: str) -> str:
        """Return the family of a type: ``i4i`` of ``i4i.large``."""
        return type_.partition(".")[0]

    def price(self, type_: str, market: str) -> float:
        """Return the price of one machine for an hour (USD)."""
        hourly = PRICES.get(type_)
        if hourly is None:
            hourly = (self.vcpus(type_) or 2) * PRICE_OF_A_VCPU
        return hourly * SPOT_SHARE if market == "spot" else hourly

    def uses(self, type_: str, market: str) -> Mapping[str, float]:
        """Return what a launch uses of each quota: EC2's quotas count vCPUs, those of spot apart."""
        return {"spot_vcpus" if market == "spot" else "vcpus": self.vcpus(type_) or 0}

    def metrics(self) -> frozenset[str]:
        """Return what a quota can limit."""
        return frozenset({"vcpus", "spot_vcpus"})

    def operations(self) -> frozenset[str]:
        """Return every operation that a fault can name."""
        return self._operations

    @cached_property
    def _operations(self) -> frozenset[str]:
        return frozenset(get_service_model("ec2").operation_names) | _OTHER_OPERATIONS

    def check_own(self, values: Mapping[str, Any]) -> None:
        """Check the weather's part ``own: {aws: ...}``. Raise `ValueError` in words."""
        read_own(values)

    @cached_property
    def _offered(self) -> frozenset[tuple[str, str]]:
        by_zone = INSTANCE_TYPE_OFFERINGS["availability-zone"]
        return frozenset((one["Location"], one["InstanceType"]) for region in by_zone.values() for one in region)

    def offered(self, zone: str, type_: str) -> bool:
        """Return whether AWS sells the type in the zone at all."""
        return (zone, type_) in self._offered

    def offerings(self, region: str) -> list[tuple[str, str]]:
        """Return zone and type of all that a region sells."""
        sold = INSTANCE_TYPE_OFFERINGS["availability-zone"].get(region, ())
        return [(one["Location"], one["InstanceType"]) for one in sold]

    def joins(self, type_: str, strategy: str) -> bool:
        """Return whether machines of a type may join a placement group of this strategy."""
        return strategy in INSTANCE_TYPES[type_]["PlacementGroupInfo"]["SupportedStrategies"]

    def architectures(self, type_: str) -> list[str]:
        """Return the processor architectures of a type."""
        return list(INSTANCE_TYPES[type_]["ProcessorInfo"]["SupportedArchitectures"])

    def sold_as(self, type_: str) -> list[str]:
        """Return how a type is sold: on-demand, spot."""
        return list(INSTANCE_TYPES[type_].get("SupportedUsageClasses", ["on-demand", "spot"]))

    def backend(self, region: str) -> Any:
        """Return moto's state of a region, with the emulator's images in it."""
        with self.lock:
            backend = ec2_backends[ACCOUNT][region]
            if region not in self._ready:
                _add_images(backend)
                self._ready.add(region)
            return backend

    def warm(self, region: str) -> None:
        """Load what the first call would otherwise wait for."""
        self.backend(region)
        self.offered(region, "")
        model = get_service_model("ec2")
        for operation in ("RunInstances", "DescribeInstances", "CreateCapacityReservation"):
            model.operation_model(operation).output_shape  # noqa: B018 - read for its effect: botocore builds it lazily

    def forget(self) -> None:
        """Remove what moto keeps (networks and groups that users made)."""
        with self.lock:
            for region in self._ready:
                ec2_backends[ACCOUNT][region].reset()
            self._ready.clear()

    def image(self, region: str, id_: str) -> Image:
        """Return an image; refuse as EC2 does if there is none."""
        if not id_.startswith("ami-"):
            raise Refusal("InvalidAMIID.Malformed", f'Invalid id: "{id_}" (expecting "ami-...")')
        found = self.backend(region).amis.get(id_)
        if found is None:
            raise Refusal("InvalidAMIID.NotFound", f"The image id '[{id_}]' does not exist")
        return Image(id_, found.platform_details, found.architecture, found.root_device_name or "/dev/xvda")

    def network(self, region: str, subnet_id: str | None, zone: str | None) -> Network:
        """Return a subnet by id, or the default one of a zone."""
        backend = self.backend(region)
        with self.lock:
            try:
                if subnet_id is not None:
                    subnet = backend.get_subnet(subnet_id)
                else:
                    subnet = backend.get_default_subnets().get(zone)
            except ServiceException as problem:
                raise Refusal(problem.code, problem.message) from None
        if subnet is None:
            raise Refusal("MissingInput", f"No default subnet for availability zone: '{zone}'.")
        public = str(subnet.map_public_ip_on_launch).lower() == "true"
        return Network(subnet.id, subnet.vpc_id, subnet.availability_zone, subnet.cidr_block, public)

    def security_groups(self, region: str, vpc: str, ids: list[str], names: list[str]) -> list[tuple[str, str]]:
        """Return id and name of security groups; the VPC's default one if none is requested."""
        backend = self.backend(region)
        found = []
        with self.lock:
            for id_ in ids:
                group = backend.get_security_group_from_id(id_)
                if group is None:
                    raise Refusal("InvalidGroup.NotFound", f"The security group '{id_}' does not exist")
                found.append((group.id, group.name))
            for name in names or ([] if ids else ["default"]):
                group = backend.get_security_group_from_name(name, vpc)
                if group is None:
                    words = f"The security group '{name}' does not exist in default VPC '{vpc}'"
                    raise Refusal("InvalidGroup.NotFound", words)
                found.append((group.id, group.name))
        return found


def _add_images(backend: Any) -> None:
    for image in backend.amis.values():
        image.platform_details = _platform(image)
        # The API's description knows `Windows` and nothing else.
        image.platform = "Windows" if image.platform_details == "Windows" else None
    model = backend.amis["ami-12c6146b"]
    for day, (id_, (platform, architecture, name)) in enumerate(IMAGES.items(), 1):
        image = copy.copy(model)
        image.id, image.name, image.description = id_, name, "An image of the emulator"
        image.platform_details, image.architecture = platform, architecture
        image.platform = "Windows" if platform == "Windows" else None
        image.root_device_name = "/dev/xvda"
        image.owner_id, image.owner_alias = ACCOUNT, None
        image.creation_date = f"2026-01-{day:02}T00:00:00.000Z"
        backend.amis[id_] = image


def _platform(image: Any) -> str:
    """Return the PlatformDetails of an image, which every real one has and moto's do not."""
    name = (image.name or "").lower()
    if (image.platform or "").lower() == "windows":
        return "Windows"
    if name.startswith("rhel"):
        return "Red Hat Enterprise Linux"
    return "SUSE Linux" if name.startswith("suse") else "Linux/UNIX"


def address(cidr: str, number: int) -> str:
    """Return the ``number``-th machine's address in a network; the first four are AWS's own."""
    network = ipaddress.ip_network(cidr)
    return str(network[4 + number % (network.num_addresses - 5)])
