"""Every row of GCE, Azure, OCI and OpenStack: from an error as their SDKs give it to class, scope and step."""

from __future__ import annotations

from typing import Final

import pytest

from pytest_capacity.backends.diagnosis import diagnose, packaged_table
from pytest_capacity.model import ErrorPart, Market

#: Code, message and status, and the class, scope and step that follow.
Said = tuple[str, str, int | None, str]


GCE: Final[list[Said]] = [
    ("ZONE_RESOURCE_POOL_EXHAUSTED", "", None, "capacity-zone type+zone+market move-on"),
    ("ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS", "", None, "capacity-zone type+zone+market move-on"),
    ("RESOURCE_POOL_EXHAUSTED", "", None, "capacity-zone type+zone+market move-on"),
    ("insufficientCapacity", "", None, "capacity-zone type+zone+market move-on"),
    ("INSUFFICIENT_CAPACITY", "", None, "capacity-zone type+zone+market move-on"),
    ("GCE_STOCKOUT", "", None, "capacity-zone type+zone+market move-on"),
    ("ERROR_STOCKOUT", "", None, "capacity-zone type+zone+market move-on"),
    ("stockout", "", None, "capacity-zone type+zone+market move-on"),
    (
        "",
        "The zone does not have enough resources available to fulfill the request.",
        None,
        "capacity-zone type+zone+market move-on",
    ),
    ("", "(stockout) n2-standard-4", None, "capacity-zone type+zone+market move-on"),
    ("VM_MIN_COUNT_NOT_REACHED", "", None, "capacity-zone type+zone+market move-on"),
    ("UNSUPPORTED_OPERATION", "", None, "invalid none stop"),
    ("", "Instance was preempted.", None, "preempted type+zone+market move-on"),
    ("", "Instance failed to start due to preemption.", None, "spot-capacity type+zone+market move-on"),
    (
        "QUOTA_EXCEEDED",
        "Quota 'CPUS' exceeded.  Limit: 24.0 in region us-central1.",
        None,
        "quota family+region+market move-on",
    ),
    (
        "quotaExceeded",
        "Quota 'CPUS' exceeded.  Limit: 24.0 in region us-central1.",
        None,
        "quota family+region+market move-on",
    ),
    ("QUOTA_EXCEEDED", "Quota 'GPUS_ALL_REGIONS' exceeded.  Limit: 0.0", None, "quota cloud move-on"),
    ("QUOTA_EXCEEDED", "Quota 'CPUS' exceeded.  Limit: 32.0 globally.", None, "quota cloud move-on"),
    ("QUOTA_EXCEEDED", "Quota 'X' exceeded.  Limit: 1.0 in zone us-central1-a.", None, "quota family+zone move-on"),
    (
        "QUOTA_EXCEEDED",
        "Quota 'PREEMPTIBLE_CPUS' exceeded.  Limit: 1.0 in region us-central1.",
        None,
        "spot-quota market+region move-on",
    ),
    ("QUOTA_EXCEEDED", "", None, "quota family+zone move-on"),
    ("rateLimitExceeded", "Rate Limit Exceeded", None, "throttle none back-off"),
    ("", "Rate Limit Exceeded", None, "throttle none back-off"),
    ("userRateLimitExceeded", "", None, "throttle none back-off"),
    ("RESOURCE_OPERATION_RATE_EXCEEDED", "", None, "throttle none back-off"),
    ("IP_SPACE_EXHAUSTED_WITH_DETAILS", "", None, "network-exhausted region move-on"),
    ("", "External IP resource pool is exhausted", None, "network-exhausted region move-on"),
    (
        "CONDITION_NOT_MET",
        "Specified reservation 'r' does not have available resources for the request.",
        None,
        "reservation-full reservation move-on",
    ),
    (
        "CONDITION_NOT_MET",
        "No available resources in specified reservations 'r'",
        None,
        "reservation-mismatch reservation stop",
    ),
    ("CONDITION_NOT_MET", "Specified reservations [r] do not exist.", None, "reservation-mismatch reservation stop"),
    (
        "CONDITION_NOT_MET",
        "Cannot use r: it requires reservation to be in READY state, it is CREATING",
        None,
        "reservation-not-ready reservation back-off",
    ),
    (
        "CONDITION_NOT_MET",
        "All automatic reservations in your project that match are fully consumed.",
        None,
        "reservation-full reservation move-on",
    ),
    (
        "CONDITION_NOT_MET",
        "There is no automatic reservation matching the instance",
        None,
        "reservation-mismatch zone move-on",
    ),
    (
        "CONDITION_NOT_MET",
        "Reservation r is incorrect for the requested resources.",
        None,
        "reservation-mismatch reservation stop",
    ),
    (
        "CONDITION_NOT_MET",
        "The reservation must exist in the same project as the instance.",
        None,
        "reservation-mismatch reservation stop",
    ),
    (
        "CONDITION_NOT_MET",
        "Zone does not currently have sufficient capacity for the requested resources",
        None,
        "capacity-zone type+zone+market move-on",
    ),
    ("CONDITION_NOT_MET", "Constraint constraints/compute.vmExternalIpAccess violated", None, "denied cloud stop"),
    (
        "",
        "Machine type with name 'n9' does not exist in zone 'us-central1-a'.",
        None,
        "type-unsupported type+zone move-on",
    ),
    ("", "a2-highgpu-1g can not be used without accelerator(s)", None, "type-unsupported type+zone move-on"),
    (
        "notFound",
        "The resource 'projects/p/zones/z/machineTypes/n9' was not found",
        None,
        "type-unsupported type+zone move-on",
    ),
    ("notFound", "The resource 'projects/p/global/images/mine' was not found", None, "invalid region stop"),
    ("notFound", "The resource 'projects/p' was not found", None, "invalid region stop"),
    ("RESOURCE_NOT_FOUND", "The resource 'projects/p/zones/z/instances/one' was not found", None, "missing none gone"),
    (
        "forbidden",
        "Location us-central1-a is not found or access is unauthorized.",
        None,
        "account-blocked zone move-on",
    ),
    ("RESOURCE_NOT_READY", "", None, "conflict none back-off"),
    ("alreadyExists", "", None, "conflict none ask-again"),
    ("resourceInUseByAnotherResource", "", None, "conflict none back-off"),
    ("", "The resource_policy resource 'p' is already being used by 'r'", None, "conflict none back-off"),
    ("PERMISSIONS_ERROR", "", None, "denied cloud stop"),
    ("IAM_PERMISSION_DENIED", "", None, "denied cloud stop"),
    ("SERVICE_ACCOUNT_ACCESS_DENIED", "", None, "denied cloud stop"),
    ("accessNotConfigured", "", None, "denied cloud stop"),
    ("forbidden", "", None, "denied cloud stop"),
    ("", "Required 'compute.instances.create' permission for 'projects/p'", None, "denied cloud stop"),
    ("authError", "Invalid Credentials", None, "auth cloud stop"),
    ("required", "Login Required", None, "auth cloud stop"),
    ("", "", 401, "auth cloud stop"),
    ("invalid", "", None, "invalid none stop"),
    ("badRequest", "", None, "invalid none stop"),
    ("TIMEOUT", "", None, "timeout type+zone+market move-on"),
    ("backendError", "", None, "transient none ask-again"),
    ("internalError", "", None, "transient none ask-again"),
    ("INTERNAL_ERROR", "", None, "transient none ask-again"),
    ("", "bad gateway", 502, "transient none ask-again"),
    ("", "", 429, "throttle none back-off"),
    ("conditionNotMet", "", None, "unknown none stop"),
]

AZURE: Final[list[Said]] = [
    (
        "OperationNotAllowed",
        "It results in exceeding approved LowPriorityCores quota. Location: eastus",
        None,
        "spot-quota market+region move-on",
    ),
    (
        "OperationNotAllowed",
        "It results in exceeding approved standardDSv3Family Cores quota. Location: eastus",
        None,
        "quota family+region+market move-on",
    ),
    (
        "OperationNotAllowed",
        "It results in exceeding approved Total Regional Cores quota. Location: eastus",
        None,
        "quota market+region move-on",
    ),
    ("OperationNotAllowed", "Submit a request for Quota increase at https://aka.ms/x", None, "quota region move-on"),
    ("OperationNotAllowed", "The VM is being deleted", None, "invalid none stop"),
    (
        "QuotaExceeded",
        "It results in exceeding approved PublicIPAddresses quota. Location: eastus",
        None,
        "quota region move-on",
    ),
    ("QuotaExceeded", "Quota exceeded", None, "quota family+zone move-on"),
    ("ResourceQuotaExceeded", "", None, "quota family+zone move-on"),
    ("SkuNotAvailable", "not available for priority=Spot", None, "spot-capacity type+zone+market move-on"),
    (
        "SkuNotAvailable",
        "The following SKUs have failed for Capacity Restrictions: Standard_D2s_v3",
        None,
        "capacity-region type+zone move-on",
    ),
    (
        "SkuNotAvailable",
        "X is not available in location 'eastus' for subscription 's'",
        None,
        "type-unsupported type+region move-on",
    ),
    (
        "SkuNotAvailable",
        "X is not available in location 'eastus' zones '1' for subscription 's'",
        None,
        "type-unsupported type+zone move-on",
    ),
    ("VMSizeNotSupported", "", None, "type-unsupported type+region move-on"),
    ("BadRequest", "The VM size X is not supported for subscription s", None, "type-unsupported type+region move-on"),
    ("BadRequest", "", None, "invalid none stop"),
    ("ZonalAllocationFailed", "", None, "capacity-zone type+zone move-on"),
    (
        "AllocationFailed",
        "We do not have sufficient capacity for the VM size in this region.",
        None,
        "capacity-region type+region move-on",
    ),
    ("AllocationFailed", "", None, "capacity-region type+zone move-on"),
    ("OverconstrainedZonalAllocationRequest", "", None, "capacity-zone type+zone+market move-on"),
    ("OverconstrainedZonalAllocation", "", None, "capacity-zone type+zone+market move-on"),
    ("OverconstrainedAllocationRequest", "", None, "capacity-region type+region+market move-on"),
    ("Overconstrainted", "", None, "capacity-zone type+zone+market move-on"),
    ("InsufficientCapacity", "", None, "capacity-zone type+zone+market move-on"),
    ("OperationPreempted", "", None, "spot-capacity type+zone+market move-on"),
    ("ResourceNotFound", "", None, "missing none gone"),
    ("NotFound", "", None, "missing none gone"),
    ("SpotPriceGreaterThanProvidedMaxPrice", "", None, "spot-price type+region+market move-on"),
    ("AzureSpotFeatureNotEnabledForSubscription", "", None, "type-unsupported market move-on"),
    ("AzureSpotIsNotSupportedForThisVMSize", "", None, "type-unsupported type+market move-on"),
    (
        "NotSupported",
        "Capacity Reservation is not supported for VM size 'X'.",
        None,
        "type-unsupported type+market move-on",
    ),
    (
        "Whatever",
        "Capacity reservation group 'g' does not have a reservation of this size",
        None,
        "reservation-mismatch reservation stop",
    ),
    (
        "Whatever",
        "The capacity reservation cannot be deleted: machines are associated with it",
        None,
        "conflict reservation back-off",
    ),
    ("NicReservedForAnotherVm", "", None, "conflict none back-off"),
    ("InsufficientSubnetSize", "", None, "network-exhausted region move-on"),
    ("OSProvisioningTimedOut", "", None, "timeout none move-on"),
    ("StuckInCreating", "", None, "timeout type+zone+market move-on"),
    ("RetryableError", "", None, "transient none ask-again"),
    ("InternalServerError", "", None, "transient none ask-again"),
    ("InternalExecutionError", "", None, "transient none ask-again"),
    ("NetworkingInternalOperationError", "", None, "transient none ask-again"),
    ("TooManyRequests", "", None, "throttle none back-off"),
    ("ReadOnlyDisabledSubscription", "", None, "account-blocked cloud stop"),
    ("AuthorizationFailed", "", None, "denied cloud stop"),
    ("LinkedAuthorizationFailed", "", None, "denied cloud stop"),
    ("InvalidAuthenticationTokenTenant", "", None, "auth cloud stop"),
    ("InvalidAuthenticationToken", "", None, "auth cloud stop"),
    ("ExpiredAuthenticationToken", "", None, "auth cloud stop"),
    ("AuthenticationFailed", "", None, "auth cloud stop"),
    ("ClientAuthenticationError", "", None, "auth cloud stop"),
    ("RequestDisallowedByPolicy", "", None, "denied region move-on"),
    ("InvalidParameter", "", None, "invalid none stop"),
    ("PropertyChangeNotAllowed", "", None, "invalid none stop"),
    ("", "", 401, "auth cloud stop"),
    ("", "", 429, "throttle none back-off"),
    ("", "", 504, "transient none ask-again"),
    ("Conflict", "", None, "unknown none stop"),
]

OCI: Final[list[Said]] = [
    ("InternalError", "Out of host capacity.", None, "capacity-zone type+zone+market move-on"),
    ("", "Out of host capacity.", None, "capacity-zone type+zone+market move-on"),
    (
        "",
        "Out of capacity for shape VM.Standard.A1.Flex in availability domain AD-1.",
        None,
        "capacity-zone type+zone move-on",
    ),
    ("OutOfCapacity", "", None, "capacity-zone type+zone move-on"),
    ("OutOfHostCapacity", "", None, "capacity-zone type+zone move-on"),
    (
        "",
        "reservation does not have sufficient capacity for the new shape",
        None,
        "reservation-full reservation move-on",
    ),
    (
        "LimitExceeded",
        "The following service limits were exceeded: standard-a1-core-count.",
        None,
        "quota family+zone move-on",
    ),
    (
        "LimitExceeded",
        "The following service limits were exceeded: standard-a1-core-count, standard-a1-core-regional-count.",
        None,
        "quota family+region+market move-on",
    ),
    ("LimitExceeded", "", None, "quota family+zone move-on"),
    ("QuotaExceeded", "", None, "quota region move-on"),
    ("TooManyRequests", "", None, "throttle none back-off"),
    ("", "Too many requests for the user", None, "throttle none back-off"),
    ("", "", 429, "throttle none back-off"),
    ("IncorrectState", "", None, "conflict none back-off"),
    ("ExternalServerIncorrectState", "", None, "conflict none back-off"),
    ("LockConflict", "", None, "conflict none back-off"),
    ("InvalidatedRetryToken", "", None, "conflict none back-off"),
    ("Conflict", "", None, "conflict none back-off"),
    ("NotAuthorizedOrNotFound", "", None, "denied cloud stop"),
    ("NotAuthorized", "", None, "denied cloud stop"),
    ("SignUpRequired", "", None, "denied cloud stop"),
    ("NotAllowed", "", None, "denied cloud stop"),
    ("NotAuthenticated", "", None, "auth cloud stop"),
    ("", "", 401, "auth cloud stop"),
    ("RelatedResourceNotAuthorizedOrNotFound", "", None, "invalid none stop"),
    ("InvalidParameter", "", None, "invalid none stop"),
    ("MissingParameter", "", None, "invalid none stop"),
    ("CannotParseRequest", "", None, "invalid none stop"),
    ("StuckInProvisioning", "", None, "timeout type+zone move-on"),
    ("InternalServerError", "", None, "transient none ask-again"),
    ("InternalError", "", None, "transient none ask-again"),
    ("", "", 503, "transient none ask-again"),
]

BLAZAR: Final[list[Said]] = [
    ("500", "No valid host was found. There are not enough hosts available.", None, "capacity-zone type+zone move-on"),
    ("NotEnoughHostsAvailable", "", None, "capacity-zone type+zone move-on"),
    ("400", "Not enough hosts available", None, "capacity-zone type+zone move-on"),
    ("403", "Quota exceeded for cores, ram: Requested 8", None, "quota region move-on"),
    ("404", "Flavor x could not be found.", None, "type-unsupported type+region move-on"),
    ("404", "flavor", None, "type-unsupported type+region move-on"),
    ("", "Flavor x could not be found.", None, "type-unsupported type+region move-on"),
    ("401", "", None, "auth cloud stop"),
    ("", "", 401, "auth cloud stop"),
    ("403", "Policy doesn't allow it", None, "denied cloud stop"),
    ("", "", 403, "denied cloud stop"),
    ("409", "The lease with name: x already exists", None, "conflict none stop"),
    ("400", "Malformed requirements []", None, "invalid none stop"),
    ("", "", 429, "throttle none back-off"),
    ("", "", 503, "transient none ask-again"),
    ("500", "something else went wrong", None, "unknown none stop"),
]

#: What depends on the market that was tried: cloud, code, market, and what follows.
BY_MARKET: Final[list[tuple[str, str, Market, str]]] = [
    ("gce", "UNSUPPORTED_OPERATION", "spot", "spot-capacity type+zone+market move-on"),
    ("gce", "UNSUPPORTED_OPERATION", "on-demand", "invalid none stop"),
    ("azure", "SkuNotAvailable", "spot", "spot-capacity type+zone+market move-on"),
    ("azure", "SkuNotAvailable", "on-demand", "type-unsupported type+zone move-on"),
    ("azure", "ResourceNotFound", "spot", "spot-capacity type+zone+market move-on"),
]

CASES: Final = [
    (cloud, *said)
    for cloud, cases in (("gce", GCE), ("azure", AZURE), ("oci", OCI), ("blazar", BLAZAR))
    for said in cases
]

#: What scylla-cluster-tests looks for: each is known, and each moves on when nothing more is said.
KEYWORDS: Final = [
    ("gce", "ZONE_RESOURCE_POOL_EXHAUSTED"),
    ("gce", "QUOTA_EXCEEDED"),
    ("gce", "stockout"),
    ("gce", "does not have enough resources"),
    ("gce", "Instance failed to start due to preemption"),
    ("azure", "SkuNotAvailable"),
    ("azure", "ZonalAllocationFailed"),
    ("azure", "AllocationFailed"),
    ("azure", "InsufficientCapacity"),
    ("azure", "QuotaExceeded"),
    ("azure", "Overconstrainted"),
    ("azure", "OperationPreempted"),
]


@pytest.mark.parametrize(("cloud", "code", "message", "http", "meaning"), CASES)
def test_an_error_leads_to_its_step(cloud: str, code: str, message: str, http: int | None, meaning: str) -> None:
    """Class, scope and step; the cloud's own code and words are kept."""
    found = diagnose(packaged_table(cloud), code=code, message=message, http=http)
    assert f"{found.kind} {found.scope} {found.step}" == meaning
    assert (found.code, found.words) == (code, message)


@pytest.mark.parametrize(("cloud", "code", "market", "meaning"), BY_MARKET)
def test_what_was_tried_may_tell_what_is_meant(cloud: str, code: str, market: Market, meaning: str) -> None:
    """Some codes mean something else of a spot machine."""
    found = diagnose(packaged_table(cloud), code=code, market=market)
    assert f"{found.kind} {found.scope} {found.step}" == meaning


@pytest.mark.parametrize("cloud", ["gce", "azure", "oci", "blazar"])
def test_no_row_is_without_a_case(cloud: str) -> None:
    """Each row is the answer to at least one case, and each of its codes is asked."""
    table = packaged_table(cloud)
    hit = [table.row_for(ErrorPart(code, message, http), None) for of, code, message, http, _ in CASES if of == cloud]
    hit += [table.row_for(ErrorPart(code), market) for of, code, market, _ in BY_MARKET if of == cloud]
    assert [row for row in table.rows if row not in hit] == []
    assert {code for row in table.rows for code in row.code} - {code for of, code, *_ in CASES if of == cloud} == set()


@pytest.mark.parametrize(("cloud", "keyword"), KEYWORDS)
def test_a_keyword_alone_moves_on(cloud: str, keyword: str) -> None:
    """As a code, or as the words: nothing says that it reaches farther than the zone."""
    table = packaged_table(cloud)
    found = [diagnose(table, code=keyword), diagnose(table, code="X", message=keyword)]
    assert "move-on" in {one.step for one in found}
    assert {one.step for one in found if one.kind != "unknown"} == {"move-on"}
