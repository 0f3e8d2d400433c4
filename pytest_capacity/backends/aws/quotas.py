"""What the quotas of an account allow: Service Quotas has the limits, EC2 what is in use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from pytest_capacity.backends.aws.listing import things, where
from pytest_capacity.backends.aws.plan import NODE, RESERVATION
from pytest_capacity.backends.aws.session import Cloud
from pytest_capacity.backends.aws.types import family
from pytest_capacity.model import Market, Quota

_UNIT: Final = "vCPUs"
#: Names of the quotas in Service Quotas, of each family of types (EC2 user guide, "Amazon EC2 service quotas").
_NAMES: Final[Mapping[Market, str]] = {
    "on-demand": "Running On-Demand {family} instances",
    "spot": "All {family} Spot Instance Requests",
}


def read_quotas(cloud: Cloud, region: str, types: Sequence[str]) -> list[Quota]:
    """Return the quotas of ``region`` that machines of ``types`` count against. One round of reads."""
    with ThreadPoolExecutor(4, thread_name_prefix="quotas") as pool:
        limits_read, machines_read = pool.submit(_limits, cloud, region), pool.submit(_running, cloud, region)
        reserved_read, vcpus_read = pool.submit(_reserved, cloud, region), pool.submit(_vcpus, cloud, region, types)
        limits, machines, reserved, vcpus = (
            limits_read.result(),
            machines_read.result(),
            reserved_read.result(),
            vcpus_read.result(),
        )
    more = {*reserved, *(type_ for _, type_, count in machines if not count)} - vcpus.keys()
    vcpus |= _vcpus(cloud, region, sorted(more)) if more else {}
    used: dict[str, float] = {}
    for market, type_, count in machines:
        name = _NAMES[market].format(family=family(type_))
        used[name] = used.get(name, 0.0) + (count or vcpus.get(type_, 0.0))
    for type_, free in reserved.items():
        name = _NAMES["on-demand"].format(family=family(type_))
        used[name] = used.get(name, 0.0) + free * vcpus.get(type_, 0.0)
    return [
        Quota(
            region=region,
            market=market,
            name=name,
            unit=_UNIT,
            limit=limits[name],
            used=used.get(name, 0.0),
            counts={type_: vcpus[type_] for type_ in types if family(type_) == of and type_ in vcpus},
        )
        for of in dict.fromkeys(map(family, types))
        for market, form in _NAMES.items()
        if (name := form.format(family=of)) in limits
    ]


def _limits(cloud: Cloud, region: str) -> dict[str, float]:
    """By the quota's name."""
    pages = cloud.pages(region, "list_service_quotas", "Quotas", service="service-quotas", ServiceCode="ec2")
    return {one["QuotaName"]: float(one["Value"]) for one in pages}


def _running(cloud: Cloud, region: str) -> list[tuple[Market, str, float]]:
    """Market, type and vCPUs of every machine that counts; 0 vCPUs where EC2 does not say how many it was given."""
    return [_counted(one) for one in things(cloud, region, NODE, where("instance-state-name", "pending", "running"))]


def _counted(machine: Mapping[str, Any]) -> tuple[Market, str, float]:
    market: Market = "spot" if machine.get("InstanceLifecycle") == "spot" else "on-demand"
    options = machine.get("CpuOptions") or {}
    return market, machine["InstanceType"], float(options.get("CoreCount", 0) * options.get("ThreadsPerCore", 1))


def _reserved(cloud: Cloud, region: str) -> dict[str, int]:
    """By type what is free in reservations, which counts too; their machines are counted as such."""
    found: dict[str, int] = {}
    for one in things(cloud, region, RESERVATION):
        free = int(one.get("AvailableInstanceCount", 0))
        if one.get("State") == "active" and free:
            found[one["InstanceType"]] = found.get(one["InstanceType"], 0) + free
    return found


def _vcpus(cloud: Cloud, region: str, types: Sequence[str]) -> dict[str, float]:
    """By type. A filter, and not names: EC2 refuses the whole read for one type that the region does not have."""
    pages = cloud.pages(region, "describe_instance_types", "InstanceTypes", Filters=where("instance-type", *types))
    return {one["InstanceType"]: float(one["VCpuInfo"]["DefaultVCpus"]) for one in pages}
