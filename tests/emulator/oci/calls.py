"""Calls of the SDK that several tests make, and what it raises for a refusal."""

from __future__ import annotations

from typing import Any, Final

import oci.exceptions
import pytest
from oci.core import models

TENANCY: Final = "ocid1.tenancy.oc1..aaaaaaaaemulatedtenancy"
COMPARTMENT: Final = "ocid1.compartment.oc1..aaaaaaaaemulatedtests"
DOMAIN: Final = "Uocm:US-ASHBURN-AD-1"
OTHER: Final = "Uocm:US-ASHBURN-AD-2"
IMAGE: Final = "ocid1.image.oc1.iad.aaaaaaaaoraclelinux96202610200"
FLEX: Final = "VM.Standard.E4.Flex"


def vcn(network: Any) -> Any:
    return network.create_vcn(models.CreateVcnDetails(cidr_blocks=["10.1.0.0/16"], compartment_id=COMPARTMENT)).data


def subnet(network: Any, of: Any = None, cidr: str = "10.1.0.0/24", **more: Any) -> Any:
    of = of or vcn(network)
    details = models.CreateSubnetDetails(cidr_block=cidr, vcn_id=of.id, compartment_id=COMPARTMENT, **more)
    return network.create_subnet(details).data


def launch(subnet_id: str, **more: Any) -> models.LaunchInstanceDetails:
    given: dict[str, Any] = {
        "compartment_id": COMPARTMENT,
        "availability_domain": DOMAIN,
        "shape": FLEX,
        "shape_config": models.LaunchInstanceShapeConfigDetails(ocpus=2.0, memory_in_gbs=16.0),
        "source_details": models.InstanceSourceViaImageDetails(image_id=IMAGE),
        "create_vnic_details": models.CreateVnicDetails(subnet_id=subnet_id, assign_public_ip=False),
    }
    return models.LaunchInstanceDetails(**{**given, **more})


def reserve(
    count: int = 2, shape: str = "VM.Standard2.1", **more: Any
) -> models.CreateComputeCapacityReservationDetails:
    config = models.InstanceReservationConfigDetails(instance_shape=shape, reserved_count=count)
    given: dict[str, Any] = {
        "compartment_id": COMPARTMENT,
        "availability_domain": DOMAIN,
        "instance_reservation_configs": [config],
    }
    return models.CreateComputeCapacityReservationDetails(**{**given, **more})


def refused(code: str, status: int, call: Any, *arguments: Any, **more: Any) -> str:
    with pytest.raises(oci.exceptions.ServiceError) as error:
        call(*arguments, **more)
    assert (error.value.code, error.value.status) == (code, status), error.value.message
    assert error.value.headers["opc-request-id"]
    return str(error.value.message)
