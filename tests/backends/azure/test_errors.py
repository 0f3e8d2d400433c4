"""What Azure's words mean: codes, the text where the code alone does not say it, and polls that were refused."""

from __future__ import annotations

from typing import Any

import pytest
from azure.core.exceptions import ClientAuthenticationError
from azure.identity import AzureCliCredential, ChainedTokenCredential, EnvironmentCredential
from msgspec.structs import replace

from pytest_capacity.backends import open_backend
from pytest_capacity.backends.azure.errors import diagnose_error
from pytest_capacity.backends.azure.operations import poll
from pytest_capacity.backends.azure.session import ArmError
from pytest_capacity.model import ErrorPart, Market
from tests.backends.azure.runs import request
from tests.backends.azure.test_bodies import pieces
from tests.emulated import Emulator

QUOTA = (
    "Operation could not be completed as it results in exceeding approved {} quota. Additional details - Deployment "
    "Model: Resource Manager, Location: eastus, Current Limit: 10, Current Usage: 8, Additional Required: 8"
)

FAMILY = QUOTA.format("standardLSv3Family Cores")
SPOT = "type+zone+market"
#: What is said of a disk whose machine is not deallocated: by Azure's documentation, and by its users.
RUNNING = "while it is attached to running VM y. Resizing a disk requires the virtual machine to be deallocated"
CHANGE = "Change in disk property of OS disk ''"


@pytest.mark.parametrize(
    ("code", "words", "market", "kind", "scope", "step"),
    [
        (
            "OperationNotAllowed",
            FAMILY,
            None,
            "quota",
            "family+region+market",
            "move-on",
        ),
        ("QuotaExceeded", FAMILY, None, "quota", "family+region+market", "move-on"),
        ("OperationNotAllowed", QUOTA.format("Total Regional Cores"), None, "quota", "market+region", "move-on"),
        ("OperationNotAllowed", QUOTA.format("LowPriorityCores"), "spot", "spot-quota", "market+region", "move-on"),
        ("OperationNotAllowed", QUOTA.format("Public IP Addresses"), None, "quota", "region", "move-on"),
        ("OperationNotAllowed", "This is not allowed.", None, "invalid", "none", "stop"),
        ("OperationNotAllowed", "Disk x is attached to VM y.", None, "conflict", "none", "back-off"),
        ("OperationNotAllowed", f"Cannot resize disk x {RUNNING}.", None, "conflict", "none", "back-off"),
        ("OperationNotAllowed", f"{CHANGE} is not allowed when VM is running.", None, "conflict", "none", "back-off"),
        ("BadRequest", "The disk/snapshot resource with id x cannot be resized down.", None, "invalid", "none", "stop"),
        ("QuotaExceeded", "The quota of the region is used up.", None, "quota", "region", "move-on"),
        ("QuotaExceeded", "", None, "quota", "family+zone", "move-on"),
        (
            "SkuNotAvailable",
            "not available with priority 'Spot'.",
            "spot",
            "spot-capacity",
            "type+zone+market",
            "move-on",
        ),
        ("SkuNotAvailable", "", "spot", "spot-capacity", SPOT, "move-on"),
        ("SkuNotAvailable", "", "on-demand", "type-unsupported", "type+zone", "move-on"),
        (
            "SkuNotAvailable",
            "Following SKUs have failed for Capacity Restrictions",
            None,
            "capacity-region",
            "type+zone",
            "move-on",
        ),
        ("SkuNotAvailable", "in zones '1' for subscription s", None, "type-unsupported", "type+zone", "move-on"),
        ("SkuNotAvailable", "not available for subscription s", None, "type-unsupported", "type+region", "move-on"),
        ("ZonalAllocationFailed", "", None, "capacity-zone", "type+zone", "move-on"),
        ("AllocationFailed", "not enough in this region", None, "capacity-region", "type+region", "move-on"),
        ("AllocationFailed", "", None, "capacity-region", "type+zone", "move-on"),
        ("OverconstrainedZonalAllocationRequest", "", None, "capacity-zone", "type+zone+market", "move-on"),
        ("OverconstrainedAllocationRequest", "", None, "capacity-region", "type+region+market", "move-on"),
        ("OverconstraintedZonalAllocationRequest", "", None, "capacity-zone", "type+zone+market", "move-on"),
        ("InsufficientCapacity", "", None, "capacity-zone", "type+zone+market", "move-on"),
        ("OperationPreempted", "", "spot", "spot-capacity", SPOT, "move-on"),
        ("SpotPriceGreaterThanProvidedMaxPrice", "", "spot", "spot-price", "type+region+market", "move-on"),
        ("AnotherOperationInProgress", "", None, "conflict", "none", "back-off"),
        ("AuthorizationFailed", "", None, "denied", "cloud", "stop"),
        ("RequestDisallowedByPolicy", "", None, "denied", "region", "move-on"),
        ("ResourceNotFound", "", "on-demand", "missing", "none", "gone"),
        ("ResourceNotFound", "", "spot", "spot-capacity", SPOT, "move-on"),
    ],
)
def test_what_a_code_means(code: str, words: str, market: Market | None, kind: str, scope: str, step: str) -> None:
    """By its text where that decides; the market counts where the code means another thing for spot."""
    error = ArmError("write", 409, (ErrorPart(code, words, 409),))
    found = diagnose_error(error, market=market)
    assert (found.kind, found.scope, found.step, found.code) == (kind, scope, step, code)


def test_a_wrapped_code_counts_before_its_wrapper() -> None:
    """DeploymentFailed and Conflict say only that there is a reason."""
    parts = (
        ErrorPart("Conflict", "The request failed", 409),
        ErrorPart("ResourceDeploymentFailure", "", 409, depth=1),
        ErrorPart("ZonalAllocationFailed", "no", 409, depth=2),
    )
    assert diagnose_error(ArmError("write", 409, parts)).code == "ZonalAllocationFailed"
    assert diagnose_error(ArmError("write", 409, parts[:2])).kind == "conflict"


@pytest.mark.parametrize(
    ("http", "code", "state"),
    [
        (429, "TooManyRequests", ""),
        (503, "ServerBusy", ""),
        (401, "ExpiredAuthenticationToken", ""),
        (404, "NotFound", "forgotten"),
        (409, "ZonalAllocationFailed", "failed"),
    ],
)
def test_a_poll_that_is_refused(emulator: Emulator, http: int, code: str, state: str) -> None:
    """A refusal of the poll says nothing of the operation, but for one that Azure has forgotten, or that has failed."""
    asked = request(emulator)
    backend: Any = open_backend(asked)
    group, network = (next(one for one in pieces(asked) if one.kind == kind) for kind in ("resource-group", "network"))
    backend.create(group)
    (made,) = backend.create(network)
    fault = {"operation": "Operations_Get", "error": code, "http": http}
    emulator.weather(faults=[fault])
    url = made.facts["operation"]
    if state:
        outcome = poll(backend._arm, url)
        assert outcome.state == state
        assert [part.code for part in outcome.parts] == ([code] if state == "failed" else [])
    else:
        with pytest.raises(ArmError) as refused:
            poll(backend._arm, url)
        assert refused.value.http == http


def test_what_is_not_azures_is_told_as_the_sdks() -> None:
    """An exception of azure-core is read by its class, or the ones that it is of; another one is unknown."""
    from azure.core.exceptions import ServiceRequestTimeoutError

    found = diagnose_error(ServiceRequestTimeoutError("no answer"))
    assert (found.kind, found.step, found.by) == ("transient", "back-off", "the SDK")
    assert diagnose_error(ZeroDivisionError("x")).kind == "unknown"
    assert replace(found, by="") != found


def test_what_is_wrong_with_each_credential_is_told_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    """azure-identity's own words, without the addresses of its guides."""
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.delenv("AZURE_CLIENT_ID", raising=False)
    tried = ChainedTokenCredential(EnvironmentCredential(), AzureCliCredential())
    with pytest.raises(ClientAuthenticationError) as caught:
        tried.get_token("https://management.azure.com/.default")
    found = diagnose_error(caught.value)
    assert (found.kind, found.step) == ("auth", "stop")
    assert found.words == (
        "none of these gave a token: EnvironmentCredential (Environment variables are not fully configured), "
        "AzureCliCredential (Azure CLI not found on path)"
    )
