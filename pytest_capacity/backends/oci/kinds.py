"""The kinds of things that a run has at OCI: where the API has each, what its states mean, what must go before it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from msgspec import Struct

from pytest_capacity.backends.oci.session import COMPUTE, PLACEMENT
from pytest_capacity.model import State

NODE: Final = "node"
RESERVATION: Final = "reservation"
NETWORK: Final = "network"
GATEWAY: Final = "gateway"
ROUTES: Final = "route-table"
SECURITY: Final = "security-list"
SUBNET: Final = "subnet"
CLUSTER: Final = "placement-group"

_NETWORK_STATES: Final[Mapping[str, State]] = {
    "PROVISIONING": "creating",
    "AVAILABLE": "ready",
    "UPDATING": "ready",
    "TERMINATING": "leaving",
    "TERMINATED": "gone",
}
#: An instance that is stopped is ``failed``: none but a person stops ours, and its disk is billed.
_INSTANCE_STATES: Final[Mapping[str, State]] = {
    "PROVISIONING": "creating",
    "STARTING": "creating",
    "RUNNING": "ready",
    "MOVING": "ready",
    "CREATING_IMAGE": "ready",
    "STOPPING": "failed",
    "STOPPED": "failed",
    "TERMINATING": "leaving",
    "TERMINATED": "gone",
}
_RESERVATION_STATES: Final[Mapping[str, State]] = {
    "CREATING": "creating",
    "ACTIVE": "ready",
    "UPDATING": "ready",
    "MOVING": "ready",
    "DELETING": "leaving",
    "DELETED": "gone",
}
#: A group that is ``INACTIVE`` takes no instances, and only a person deactivates one.
_CLUSTER_STATES: Final[Mapping[str, State]] = {
    "CREATING": "creating",
    "ACTIVE": "ready",
    "UPDATING": "ready",
    "INACTIVE": "failed",
    "FAILED": "failed",
    "DELETING": "leaving",
    "DELETED": "gone",
}


class Kind(Struct, frozen=True):
    """One kind of thing: its path in the API, the operations' noun, and the command of Oracle's command line."""

    path: str
    noun: str
    #: ``oci compute instance terminate --instance-id``
    command: str
    states: Mapping[str, State]
    service: str = COMPUTE
    create: str = ""

    @property
    def creating(self) -> str:
        """Return the name of the operation that makes one."""
        return self.create or f"Create{self.noun}"


KINDS: Final[Mapping[str, Kind]] = {
    NODE: Kind(
        "/instances",
        "Instance",
        "compute instance terminate --preserve-boot-volume false --instance-id",
        _INSTANCE_STATES,
        create="LaunchInstance",
    ),
    RESERVATION: Kind(
        "/computeCapacityReservations",
        "ComputeCapacityReservation",
        "compute capacity-reservation delete --capacity-reservation-id",
        _RESERVATION_STATES,
    ),
    NETWORK: Kind("/vcns", "Vcn", "network vcn delete --vcn-id", _NETWORK_STATES),
    GATEWAY: Kind("/internetGateways", "InternetGateway", "network internet-gateway delete --ig-id", _NETWORK_STATES),
    ROUTES: Kind("/routeTables", "RouteTable", "network route-table delete --rt-id", _NETWORK_STATES),
    SECURITY: Kind(
        "/securityLists", "SecurityList", "network security-list delete --security-list-id", _NETWORK_STATES
    ),
    SUBNET: Kind("/subnets", "Subnet", "network subnet delete --subnet-id", _NETWORK_STATES),
    CLUSTER: Kind(
        "/clusterPlacementGroups",
        "ClusterPlacementGroup",
        "cpg cluster-placement-group delete --cluster-placement-group-id",
        _CLUSTER_STATES,
        service=PLACEMENT,
    ),
}

#: What lies in a network that is made for a run.
IN_NETWORK: Final = (GATEWAY, ROUTES, SECURITY, SUBNET)

#: A reservation cannot be deleted before its instances, nor a subnet before their VNICs. No route table may name a
#: gateway that is to be deleted, and no subnet a table or list (API reference, the Delete operations). What is in a
#: cluster placement group has to be deleted before it (OCI documentation, "Deleting a Cluster Placement Group").
RELEASE_ORDER: Final = (
    frozenset({NODE}),
    frozenset({RESERVATION, SUBNET}),
    frozenset({ROUTES, SECURITY, CLUSTER}),
    frozenset({GATEWAY}),
    frozenset({NETWORK}),
)
