"""The network of the emulated OCI, by the SDK's own client."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("oci", reason="the extra [oci] is not installed")

import oci.core
import oci.exceptions
from oci.core import models

from tests.emulated import Emulator
from tests.emulator.oci.calls import (
    COMPARTMENT,
    launch,
    refused,
    subnet,
    vcn,
)
from tests.emulator.oci.conftest import Connect


def test_a_network_is_built_and_taken_apart_in_order(compute: Any, network: Any, emulator: Emulator) -> None:
    """Each of its parts is refused while another uses it."""
    of = vcn(network)
    common = {"compartment_id": COMPARTMENT, "vcn_id": of.id}
    gateway = network.create_internet_gateway(models.CreateInternetGatewayDetails(is_enabled=True, **common)).data
    rule = models.RouteRule(destination="0.0.0.0/0", destination_type="CIDR_BLOCK", network_entity_id=gateway.id)
    routes = network.create_route_table(models.CreateRouteTableDetails(route_rules=[rule], **common)).data
    security = network.create_security_list(
        models.CreateSecurityListDetails(egress_security_rules=[], ingress_security_rules=[], **common)
    ).data
    inner = subnet(network, of, route_table_id=routes.id, security_list_ids=[security.id])
    instance = compute.launch_instance(launch(inner.id)).data
    for delete, id_ in (
        (network.delete_subnet, inner.id),
        (network.delete_route_table, routes.id),
        (network.delete_security_list, security.id),
        (network.delete_internet_gateway, gateway.id),
        (network.delete_vcn, of.id),
    ):
        refused("Conflict", 409, delete, id_)
    compute.terminate_instance(instance.id)
    network.delete_subnet(inner.id)
    network.delete_security_list(security.id)
    network.delete_route_table(routes.id)
    network.delete_internet_gateway(gateway.id)
    network.delete_vcn(of.id)
    assert emulator.held() == []
    refused("NotAuthorizedOrNotFound", 404, network.get_vcn, of.id)


def test_a_subnet_lies_in_its_network(network: Any) -> None:
    """A block outside of the VCN's is refused, and one that is none."""
    of = vcn(network)
    with pytest.raises(oci.exceptions.ServiceError, match="not within"):
        subnet(network, of, "192.168.0.0/24")
    with pytest.raises(oci.exceptions.ServiceError, match="cidrBlock"):
        subnet(network, of, "10.1.0.0/99")


def test_a_closed_subnet_gives_no_public_address(compute: Any, network: Any) -> None:
    """Who asks for one there is refused."""
    of = subnet(network, prohibit_public_ip_on_vnic=True)
    card = models.CreateVnicDetails(subnet_id=of.id, assign_public_ip=True)
    refused("InvalidParameter", 400, compute.launch_instance, launch(of.id, create_vnic_details=card))


def test_a_full_subnet(compute: Any, network: Any) -> None:
    """A subnet of four addresses has one to give, beside its router."""
    of = subnet(network, cidr="10.1.0.0/30")
    compute.launch_instance(launch(of.id))
    refused("LimitExceeded", 400, compute.launch_instance, launch(of.id))


def test_regions_are_apart(connect: Connect, network: Any) -> None:
    """What is in one region is not there for the endpoint of another."""
    of = vcn(network)
    phoenix = connect(oci.core.VirtualNetworkClient, "us-phoenix-1")
    refused("NotAuthorizedOrNotFound", 404, phoenix.get_vcn, of.id)
    assert phoenix.list_vcns(COMPARTMENT).data == []
    nowhere = connect(oci.core.VirtualNetworkClient, "us-nowhere-1")
    refused("NotAuthorizedOrNotFound", 404, nowhere.list_vcns, COMPARTMENT)
