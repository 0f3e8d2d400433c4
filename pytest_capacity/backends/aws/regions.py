"""Why a region does not answer: it is not enabled for the account, or there is no such region.

EC2 says of both what it says of bad credentials. So the account is looked at from a region that accepts them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from botocore.exceptions import BotoCoreError, ClientError, EndpointConnectionError

from pytest_capacity.text import distance

#: What a region says of credentials that it does not know, since it is closed to their account.
_NOT_ACCEPTED: Final = frozenset(
    {"AuthFailure", "InvalidClientTokenId", "UnrecognizedClientException", "SignatureDoesNotMatch"}
)
#: The region of each partition that no account can be without, by the beginning of its regions' names.
_HOMES: Final = {
    "cn-": "cn-north-1",
    "us-gov-": "us-gov-west-1",
    "us-iso-": "us-iso-east-1",
    "us-isob-": "us-isob-east-1",
    "eusc-": "eusc-de-east-1",
}

#: ``call(service, region, operation, **parameters)``.
Call = Callable[..., dict[str, Any]]


class ClosedRegionError(BotoCoreError):
    """A region refuses credentials that another one accepts."""

    fmt = "{region} is not enabled for this account: it refuses ({code}) credentials that {home} accepts{status}"


class UnknownRegionError(BotoCoreError):
    """The partition has no region of that name."""

    fmt = "there is no region {region!r}{near}"


def others(region: str, regions: Sequence[str]) -> list[str]:
    """Return where the account can be looked at though ``region`` does not answer: those of the run, then its home."""
    home = next((home for prefix, home in _HOMES.items() if region.startswith(prefix)), "us-east-1")
    return [one for one in dict.fromkeys([*regions, home]) if one != region]


def may_be_closed(problem: Exception, region: str, known: Sequence[str]) -> bool:
    """Return whether ``problem`` is what a closed or an unknown region says. ``known`` are the SDK's regions."""
    if isinstance(problem, EndpointConnectionError):
        return region not in known
    return isinstance(problem, ClientError) and problem.response.get("Error", {}).get("Code") in _NOT_ACCEPTED


def why(problem: Exception, region: str, regions: Sequence[str], call: Call) -> Exception:
    """Return what is wrong with ``region``, or ``problem`` where another region says no more about it."""
    for home in others(region, regions):
        try:
            answer = call("ec2", home, "describe_regions", AllRegions=True)["Regions"]
        except (ClientError, BotoCoreError):
            continue
        states = {one["RegionName"]: one.get("OptInStatus", "") for one in answer}
        if region not in states:
            near = min(sorted(states), key=lambda one: distance(region, one))
            return UnknownRegionError(region=region, near=f"; the nearest that there is: {near}")
        status = states[region]
        code = problem.response["Error"]["Code"] if isinstance(problem, ClientError) else type(problem).__name__
        told = f", and there it is {status}" if status == "not-opted-in" else ""
        return ClosedRegionError(region=region, home=home, code=code, status=told)
    return problem
