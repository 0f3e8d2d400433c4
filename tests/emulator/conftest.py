"""Clients of boto3 whose every answer is checked."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.config import Config
from botocore.model import StringShape

from tests.emulated import Emulator, start_emulator

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client

#: A connection to EC2 in a region: ``connect("eu-west-1")``.
Connect = Callable[..., "EC2Client"]


@pytest.fixture(scope="session")
def emulator_process() -> Iterator[Emulator]:
    """As everywhere, and coverage looks at it."""
    with start_emulator(measured=True) as emulator:
        yield emulator
        assert emulator.errors() == ""


@pytest.fixture
def connect(emulator: Emulator) -> Iterator[Connect]:
    """Makes EC2 clients that do not retry; at the end every answer is held against botocore's model of the API."""
    answers: list[tuple[Any, bytes]] = []

    def make(region: str = "us-east-1", attempts: int | None = 1, max_pool_connections: int = 10) -> EC2Client:
        retries: Any = {"mode": "standard", "total_max_attempts": attempts} if attempts else None
        config = Config(retries=retries, max_pool_connections=max_pool_connections)
        client = boto3.client(
            "ec2",
            region,
            endpoint_url=emulator.url,
            config=config,
            aws_access_key_id="emulated",
            aws_secret_access_key=emulator.secret,
        )

        def listen(event_name: str, response_dict: Any = None, **_: Any) -> None:
            if response_dict is not None and response_dict["status_code"] == 200:
                operation = client.meta.service_model.operation_model(event_name.rpartition(".")[2])
                answers.append((operation, response_dict["body"]))

        client.meta.events.register("response-received.ec2", listen)
        return client

    yield make
    for operation, body in answers:
        faults = list(strangers(operation.output_shape, ET.fromstring(body), operation.name))
        assert faults == []


@pytest.fixture
def ec2(connect: Connect) -> EC2Client:
    """EC2 of us-east-1."""
    return connect()


def strangers(shape: Any, element: ET.Element, where: str) -> Iterator[str]:
    """What an answer has that the API's description does not: elements, enumerated values."""
    if shape is not None and shape.type_name == "list":
        for child in element:
            yield from strangers(shape.member, child, f"{where}[]")
        return
    if shape is None or shape.type_name == "structure":
        known = {} if shape is None else dict(shape.members)
        tags = {member.serialization.get("name", name): member for name, member in known.items()}
        for child in element:
            tag = child.tag.rpartition("}")[2]
            if tag in tags:
                yield from strangers(tags[tag], child, f"{where}.{tag}")
            elif tag not in ("requestId", "return"):
                yield f"{where}: unknown element {tag}"
        return
    text = element.text or ""
    if isinstance(shape, StringShape) and shape.enum and text not in shape.enum:
        yield f"{where}: {text!r} is none of {shape.enum}"
