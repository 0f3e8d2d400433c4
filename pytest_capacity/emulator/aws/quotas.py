"""Service Quotas, for the two that the World counts: vCPUs of standard machines, on demand and as spot."""

from __future__ import annotations

from typing import Any, Final

from pytest_capacity.emulator.aws.catalogue import ACCOUNT
from pytest_capacity.emulator.aws.context import CLOUD
from pytest_capacity.emulator.aws.partitions import partition
from pytest_capacity.emulator.aws.service import JsonService
from pytest_capacity.emulator.catalogue import Place
from pytest_capacity.emulator.face import Asked
from pytest_capacity.emulator.http import HttpResponse
from pytest_capacity.emulator.refusal import Refusal
from pytest_capacity.emulator.world import World

#: Code, name and metric (Service Quotas, "Amazon EC2").
QUOTAS: Final = {
    "L-1216C47A": ("Running On-Demand Standard (A, C, D, H, I, M, R, T, Z) instances", "vcpus"),
    "L-34B43A08": ("All Standard (A, C, D, H, I, M, R, T, Z) Spot Instance Requests", "spot_vcpus"),
}
#: What is told where the weather sets no limit.
PLENTY: Final = 100000.0


class ServiceQuotas(JsonService):
    """The service, for all regions."""

    operations = ("GetAWSDefaultServiceQuota", "GetServiceQuota", "ListAWSDefaultServiceQuotas", "ListServiceQuotas")
    unknown = "IllegalArgumentException"
    message_key = "Message"

    def __init__(self, world: World) -> None:
        self._world = world

    def do(self, asked: Asked) -> HttpResponse:
        """Carry out the call."""
        if asked.params.get("ServiceCode") != "ec2":
            raise Refusal("NoSuchResourceException", "The request failed because the specified service does not exist.")
        if asked.operation.startswith("List"):
            return HttpResponse.of_json({"Quotas": [self._quota(asked, code) for code in QUOTAS]})
        code = asked.params.get("QuotaCode")
        if code not in QUOTAS:
            words = "The request failed because the specified quota does not exist."
            raise Refusal("NoSuchResourceException", words)
        return HttpResponse.of_json({"Quota": self._quota(asked, code)})

    def _quota(self, asked: Asked, code: str) -> dict[str, Any]:
        name, metric = QUOTAS[code]
        limit = self._world.limits(Place(CLOUD, asked.region)).get(metric)
        region = asked.region
        return {
            "ServiceCode": "ec2",
            "ServiceName": "Amazon Elastic Compute Cloud (Amazon EC2)",
            "QuotaArn": f"arn:{partition(region)}:servicequotas:{region}:{ACCOUNT}:ec2/{code}",
            "QuotaCode": code,
            "QuotaName": name,
            "Value": PLENTY if limit is None else float(limit),
            "Unit": "None",
            "Adjustable": True,
            "GlobalQuota": False,
        }
