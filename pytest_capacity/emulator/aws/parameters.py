"""Systems Manager, for the parameters that hold ids of images: ``GetParameter``."""

from __future__ import annotations

from typing import Any, Final

from pytest_capacity.emulator.aws.catalogue import ACCOUNT, Ec2Catalogue
from pytest_capacity.emulator.aws.partitions import partition
from pytest_capacity.emulator.aws.service import JsonService
from pytest_capacity.emulator.face import Asked
from pytest_capacity.emulator.http import HttpResponse
from pytest_capacity.emulator.refusal import Refusal

#: The public parameters of Linux images begin so (Systems Manager user guide, "Finding public parameters").
_PUBLIC: Final = "/aws/service/"


class Parameters(JsonService):
    """The service, for all regions. Public parameters name the emulator's own Linux images."""

    operations = ("GetParameter",)
    unknown = "UnknownOperationException"
    message_key = "message"

    def __init__(self, catalogue: Ec2Catalogue) -> None:
        self._catalogue = catalogue

    def do(self, asked: Asked) -> HttpResponse:
        """Carry out the call."""
        name = str(asked.params.get("Name", ""))
        architecture = "arm64" if name.endswith(("/arm64", "-arm64")) else "x86_64"
        image = next((one for one in self._linux(asked.region) if one.architecture == architecture), None)
        if not name.startswith(_PUBLIC) or image is None:
            raise Refusal("ParameterNotFound", f"Parameter {name} not found.")
        region = asked.region
        parameter = {
            "Name": name,
            "Type": "String",
            "Value": image.id,
            "Version": 1,
            "DataType": "aws:ec2:image",
            "ARN": f"arn:{partition(region)}:ssm:{region}::parameter{name}",
        }
        return HttpResponse.of_json({"Parameter": parameter})

    def _linux(self, region: str) -> list[Any]:
        return [one for one in self._catalogue.backend(region).amis.values() if _is_ours(one)]


def _is_ours(image: Any) -> bool:
    return bool(image.owner_id == ACCOUNT and image.name.startswith("emulated-linux"))
