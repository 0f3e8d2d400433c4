"""Who uses what of an account: the instances and capacity reservations of every run, by our stamp."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from pytest_capacity.backends.aws import reading
from pytest_capacity.backends.aws.listing import WIDTH, answers, any_run, list_instances, list_reservations
from pytest_capacity.backends.aws.plan import NODE, RESERVATION
from pytest_capacity.backends.aws.session import Cloud
from pytest_capacity.backends.aws.stamp import read_stamp
from pytest_capacity.backends.uses import stamped_use
from pytest_capacity.model import Held, Unread
from pytest_capacity.usage import CloudResource

_KINDS: Final = (NODE, RESERVATION)


def read_uses(cloud: Cloud, regions: Sequence[str]) -> Iterator[CloudResource | Unread]:
    """Yield what bears our stamp in ``regions``: two lists a region, all at once."""
    if not regions:
        return
    with ThreadPoolExecutor(min(WIDTH, 2 * len(regions)), thread_name_prefix="uses") as pool:
        asked = {pool.submit(_read, cloud, region, kind): (region, kind) for region in regions for kind in _KINDS}
        yield from answers(cloud, asked)


def _read(cloud: Cloud, region: str, kind: str) -> list[CloudResource]:
    things: list[tuple[Any, Held]]
    if kind == NODE:
        things = [(one, reading.node(region, one)) for one in list_instances(cloud, region, any_run())]
    else:
        # The filters of this call are few, and by a tag's key is none of the documented ones: the stamp is read here.
        things = [(one, reading.reservation(region, one)) for one in list_reservations(cloud, region, [])]
    found = (stamped_use(held, read_stamp(thing.get("Tags", ())), (region,)) for thing, held in things)
    return [one for one in found if one is not None]
