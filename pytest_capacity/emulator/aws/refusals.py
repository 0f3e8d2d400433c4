"""The World's refusals in EC2's words, and the HTTP statuses of its codes."""

from __future__ import annotations

from typing import Final

from pytest_capacity.emulator.refusal import (
    NoStock,
    OverQuota,
    Refusal,
    ReservationFull,
    Throttled,
    TokenReused,
)

#: Codes that EC2 answers with something other than HTTP 400 (EC2 API reference, "Error codes": server errors are 5xx).
HTTP_STATUS: Final = {
    "InsufficientInstanceCapacity": 500,
    "InsufficientCapacity": 500,
    "InsufficientHostCapacity": 500,
    "InsufficientReservedInstanceCapacity": 500,
    "InternalError": 500,
    "InternalFailure": 500,
    "RequestLimitExceeded": 503,
    "Unavailable": 503,
    "ServiceUnavailable": 503,
    "AuthFailure": 401,
    "SignatureDoesNotMatch": 403,
    "UnauthorizedOperation": 403,
    "OptInRequired": 401,
    "DryRunOperation": 412,
    "NotFoundException": 404,
}


def in_words(refusal: Refusal, operation: str) -> Refusal:
    """Return a refusal with AWS's code, text and status."""
    match refusal:
        case NoStock():
            code, words = "InsufficientInstanceCapacity", _no_stock(refusal, operation)
        case OverQuota(market="spot"):
            code, words = "MaxSpotInstanceCountExceeded", "Max spot instance count exceeded"
        case OverQuota():
            code = "VcpuLimitExceeded"
            words = (
                f"You have requested more vCPU capacity than your current vCPU limit of {refusal.limit:g} allows for "
                "the instance bucket that the specified instance type belongs to. Please visit "
                "http://aws.amazon.com/contact-us/ec2-request to request an adjustment to this limit."
            )
        case ReservationFull():
            code = "ReservationCapacityExceeded"
            words = "The requested reservation does not have sufficient compatible and available capacity for this"
            words += " request."
        case Throttled():
            code, words = "RequestLimitExceeded", "Request limit exceeded."
        case TokenReused():
            code = "IdempotentParameterMismatch"
            words = "The arguments on this request are inconsistent with arguments used in a previous request with the "
            words += f"client token {refusal.token}."
        case _:
            code, words = refusal.code, refusal.message
    status = refusal.http if refusal.http is not None else HTTP_STATUS.get(code, 400)
    return Refusal(code, words, status, details=refusal.details, scripted=refusal.scripted)


def _no_stock(refusal: NoStock, operation: str) -> str:
    if operation != "RunInstances":
        # A launch's refusal names other zones, a reservation's does not (hashicorp/terraform-provider-aws#34345).
        return "Insufficient capacity."
    if refusal.market == "spot":
        return "There is no Spot capacity available that matches your request."
    type_, zone = refusal.type, refusal.zone
    words = f"We currently do not have sufficient {type_} capacity in the Availability Zone you requested ({zone}). "
    words += "Our system will be working on provisioning additional capacity. "
    if refusal.elsewhere:
        words += f"You can currently get {type_} capacity by not specifying an Availability Zone in your request or "
        words += f"choosing {', '.join(refusal.elsewhere)}."
    return words.strip()
