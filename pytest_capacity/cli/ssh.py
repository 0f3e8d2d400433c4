"""``pytest-capacity ssh RUN GROUP/N``: become ``ssh`` to a node."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Sequence
from typing import Final, NoReturn

from pytest_capacity.cli.console import Misused
from pytest_capacity.cli.runs import Seen, absence, find, look
from pytest_capacity.errors import CapacityError, NodeError
from pytest_capacity.model import Node, Placed

_FORM: Final = re.compile(r"(?:(?P<topology>[^/]+)/)?(?P<group>[^/]*[^/0-9][^/]*)(?:/(?P<number>[0-9]+))?")


def main(options: argparse.Namespace) -> NoReturn:
    """Does not come back. Raises `Misused` where it is not said which node, and `CapacityError`."""
    seen = look(find(options.run, options.journal))
    if not seen.placed:
        # Nodes of a run whose keeper died may be there all the same: that is when one wants to look at them.
        raise CapacityError(absence(seen) if seen.description is None else f"run {seen.run.id} has no nodes yet")
    node = _chosen(seen, options.node)
    if node.access is None:
        raise NodeError(
            f"node {node.name} of run {seen.run.id} is not reached by SSH: its configuration has no `ssh:`. "
            "Add `ssh: {}` (or `ssh: {user: ..., key: ...}`) to the configuration, and start the run anew"
        )
    from pytest_capacity.remote.export import ssh_command

    command = ssh_command(node, options.command)
    sys.stdout.flush()
    try:
        os.execvp(command[0], command)
    except OSError as error:
        raise CapacityError(f"{command[0]} cannot be started: {error}. Install an OpenSSH client") from error


def _chosen(seen: Seen, wanted: str | None) -> Node:
    """Return the node that ``wanted`` names: ``db/0``, ``default/db/0``, or ``db`` where the group has one."""
    form = _FORM.fullmatch(wanted) if wanted else None
    found = [name for name in _names(seen.placed) if wanted is None or (form and _fits(form, name))]
    if len(found) == 1:
        topology, group, number = found[0]
        return next(placed for placed in seen.placed if placed.topology == topology).nodes[group][number]
    if wanted is None:
        asked = f"run {seen.run.id} has several nodes"
    elif found:
        asked = f"{wanted!r} may be any of {len(found)} nodes of run {seen.run.id}"
    else:
        asked = f"run {seen.run.id} has no node {wanted!r}"
        found = _names(seen.placed)
    short = len(seen.placed) == 1
    listed = [f"  {group}/{number}" if short else f"  {topology}/{group}/{number}" for topology, group, number in found]
    raise Misused("\n".join([f"{asked}. Name one of these:", *listed]))


def _names(placed: Sequence[Placed]) -> list[tuple[str, str, int]]:
    return [
        (one.topology, group, number)
        for one in placed
        for group, nodes in one.nodes.items()
        for number in range(len(nodes))
    ]


def _fits(form: re.Match[str], name: tuple[str, str, int]) -> bool:
    topology, group, number = name
    return (
        form["topology"] in (None, topology)
        and form["group"] == group
        and (form["number"] is None or int(form["number"]) == number)
    )
