"""Who uses what of a compartment and those below it: the instances and reservations of every run, by our stamp."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from pytest_capacity.backends.oci import reading
from pytest_capacity.backends.oci.kinds import NODE, RESERVATION
from pytest_capacity.backends.oci.listing import answers, compartments_below, list_kind
from pytest_capacity.backends.oci.session import WIDTH, Cloud
from pytest_capacity.backends.oci.stamp import read_stamp
from pytest_capacity.backends.uses import stamped_use
from pytest_capacity.model import Unread
from pytest_capacity.usage import CloudResource


def read_uses(cloud: Cloud, regions: Sequence[str]) -> Iterator[CloudResource | Unread]:
    """Yield what bears our stamp in ``regions``: two lists a region and compartment, all at once.

    OCI has no filter for tags, so all is listed and the stamp read here.
    """
    if not regions:
        return
    compartments, unread = compartments_below(cloud, regions[0], cloud.compartment)
    yield from unread
    with ThreadPoolExecutor(WIDTH, thread_name_prefix="uses") as pool:
        asked = {
            pool.submit(_read, cloud, region, place, kind): (region, kind)
            for region in regions
            for place in compartments
            for kind in (NODE, RESERVATION)
        }
        yield from answers(cloud, asked)


def _read(cloud: Cloud, region: str, place: str, kind: str) -> list[CloudResource]:
    listed = list(list_kind(cloud, region, place, kind))
    found = (
        stamped_use(reading.held(kind, region, thing), read_stamp(thing.get("freeformTags")), (region,))
        for thing in listed
    )
    return [one for one in found if one is not None]
