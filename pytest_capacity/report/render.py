"""The words that a run shows: its header, its live lines, its summary. Pure: values in, lines out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from pytest_capacity.backends import provider
from pytest_capacity.config.durations import format_duration
from pytest_capacity.keeper.protocol import Description, Event, Holding, Staying
from pytest_capacity.ladder import of_market
from pytest_capacity.model import Attempt, Held, Identity, Node, Placed, Receipt, Request
from pytest_capacity.report import tables
from pytest_capacity.scaling.model import GOOD_OUTCOMES
from pytest_capacity.text import clean, moment

#: Said in the header and again in the summary, so that no emulated run is taken for a real one.
EMULATED: Final = "EMULATED: no cloud is used, nothing is billed"

#: Nodes of one group that the summary lists, unless pytest is verbose.
SHOWN_NODES: Final = 10

#: By how much one is told to extend what is kept, where that is allowed. Seconds.
_EXTENSION: Final = 3600.0

#: Length to which a cloud's words are cut in a line; the keeper's log and the journal have them whole.
_WORDS: Final = 120


class Line(NamedTuple):
    """One line, and how loud it is: ``red``, ``yellow``, ``green`` or plain."""

    text: str
    colour: str = ""

    @property
    def markup(self) -> Mapping[str, bool]:
        """The line's colour as pytest's terminal writer takes it."""
        return {self.colour: True} if self.colour else {}


def header(request: Request, log: str, endpoint: str | None = None) -> list[str]:
    """Return what is known before anything is asked: where, as whom, the run and the keeper's log."""
    lines = ["capacity: " + clean(", ".join([*_where_to(request, endpoint), f"run {request.run}"]))]
    if log:
        lines.append(clean(f"capacity: keeper log {log}"))
    if request.emulated:
        return [*lines, f"capacity: {EMULATED}"]
    endless = provider(request.backend).endless
    return [*lines, f"capacity: {endless}"] if endless else lines


def place_line(request: Request, endpoint: str | None, identity: Identity | None) -> Line:
    """Return where and as whom, in one line for a run without a header (``-q``)."""
    account = [f"account {identity.account}"] if identity else []
    return Line(clean(", ".join([*_where_to(request, endpoint), *account])))


def _where_to(request: Request, endpoint: str | None) -> list[str]:
    parts = [tables.where(request.backend, request.regions)]
    if endpoint:
        parts.append(f"endpoint {endpoint}")
    # What the environment chose is part of the request by now.
    if not request.emulated and (profile := provider(request.backend).chosen_profile(request, {})):
        parts.append(f"profile {profile}")
    return parts


def identity_line(identity: Identity, request: Request) -> str:
    """Return whose credentials are used."""
    who = f" as {identity.who}" if identity.who else ""
    # Without a profile the SDK speaks of "default", even where the credentials come from the environment.
    known = ("", "default", provider(request.backend).chosen_profile(request, {}))
    profile = "" if identity.profile in known else f", profile {identity.profile}"
    return clean(f"capacity: account {identity.account}{who}{profile}")


def expiry_fault(identity: Identity, request: Request, now: float) -> str | None:
    """Return the warning about credentials that end before the run may; None when they last, or it is not known."""
    hard_end = now + request.duration_s
    if identity.expires is None or identity.expires >= hard_end:
        return None
    return (
        f"the credentials of account {identity.account} end at {moment(identity.expires)}, and this run may last until "
        f"{moment(hard_end)}: after that nothing can be renewed or released. "
        "Use credentials that last longer, or a shorter --capacity-duration"
    )


def live(event: Event) -> Line | None:
    """Return the line that a step of the journal is worth; None for steps that only the journal cares about."""
    render = _LIVE.get(event.kind)
    line = render(event.data) if render else None
    if line is None:
        return None
    indent = line.text[: len(line.text) - len(line.text.lstrip())]
    return Line(f"capacity: {indent}{clean(line.text)}", line.colour)


def _said(data: Mapping[str, Any]) -> str:
    code, words = str(data.get("code") or ""), clean(str(data.get("words") or ""), limit=_WORDS)
    return ": ".join(part for part in (code, words) if part)


def _where(data: Mapping[str, Any]) -> str:
    return str(data.get("zone") or data.get("region") or "?")


def _ids(data: Mapping[str, Any]) -> str:
    ids = [_short(str(identifier)) for identifier in data.get("ids") or ()]
    more = f" and {len(ids) - 3} more" if len(ids) > 4 else ""
    return ", ".join(ids[:3] if more else ids) + more


def _short(identifier: str) -> str:
    """Return the last part of an id that is a path; the journal, and what is to be removed by hand, have it whole."""
    return identifier.rpartition("/")[2] if identifier.startswith("/") else identifier


def _kind(data: Mapping[str, Any]) -> str:
    kind, ids = str(data.get("kind") or "thing"), data.get("ids") or ()
    return kind if len(ids) == 1 else f"{len(ids)} {kind}s"


def _attempt_started(data: Mapping[str, Any]) -> Line:
    wanted = f" ({data['wanted']})" if data.get("wanted") else ""
    return Line(f"{data.get('topology', 'default')}: attempt {data.get('number', '?')} in {_where(data)}{wanted}")


def _intent(data: Mapping[str, Any]) -> Line:
    wanted = " ".join(str(part) for part in (data.get("count", 1), "x", data.get("instance_type")) if part)
    what = f" {wanted}" if data.get("instance_type") else ""
    group = f" for {data['group']}" if data.get("group") else ""
    return Line(f"  {_where(data)}: asking for {data.get('kind', 'thing')}{what}{group}")


def _attempt_ended(data: Mapping[str, Any]) -> Line:
    outcome, seconds, code = data.get("outcome", "?"), data.get("seconds"), data.get("code")
    after = f" after {float(seconds):.1f} s" if seconds is not None else ""
    if outcome == "placed":
        return Line(f"  {_where(data)}: placed{after}", "green")
    # The words stand in the line of the refusal.
    what = of_market(data.get("reserved"), data.get("market", ""), data.get("instance_type", ""))
    why = ", ".join(str(part) for part in (what, code) if part)
    return Line(f"  {_where(data)}: {outcome}{after}{f' ({why})' if why else ''}", "yellow")


def _kept(data: Mapping[str, Any]) -> Line | None:
    until = data.get("until")
    return Line(f"kept until {moment(float(until))}") if until is not None else None


class _Shown(dict[str, Any]):
    """The data of an event for a template. What the template names and the event lacks is shown as a question mark."""

    def __init__(self, data: Mapping[str, Any]) -> None:
        seconds = float(data.get("seconds") or 0)
        made = {"where": _where(data), "things": _kind(data), "listed": _ids(data), "said": _said(data)}
        super().__init__({"kind": "thing", "words": "", **data, **made, "seconds": f"{seconds:.1f}"})

    def __missing__(self, key: str) -> str:
        return "?"


def _ops_moved(data: Mapping[str, Any]) -> Line | None:
    phase = data.get("phase")
    return Line(f"  {data.get('target', '?')}: {data.get('name', '?')} is {phase}") if phase else None


def _ops_ended(data: Mapping[str, Any]) -> Line:
    outcome, reason = str(data.get("outcome", "?")), clean(str(data.get("reason") or ""), limit=_WORDS)
    good = outcome in GOOD_OUTCOMES
    words = f"  {data.get('target', '?')}: {data.get('kind', '?')} {data.get('name') or '(not sent)'} {outcome}"
    return Line(f"{words}: {reason}" if reason else words, "green" if good else "yellow")


Rendering = Callable[[Mapping[str, Any]], Line | None]


def _line(template: str, colour: str = "") -> Rendering:
    return lambda data: Line(template.format_map(_Shown(data)), colour)


#: By the kind of the event.
_LIVE: Final[Mapping[str, Rendering]] = {
    "attempt-started": _attempt_started,
    "intent": _intent,
    "created": _line("  {where}: got {things} {listed}"),
    "refused": _line("  {where}: no {kind}: {said}", "yellow"),
    "unknown": _line("  {where}: no clear answer for {kind}, asking again: {said}", "yellow"),
    "unread": _line("{where}: what there is cannot be read now, asking again: {said}", "yellow"),
    "nodes-ready": lambda data: Line(f"  nodes that run: {data.get('count') or 'all'}"),
    "node-ready": _line("  {name}: ready after {seconds} s"),
    "attempt-ended": _attempt_ended,
    "changed": lambda data: Line(str(data.get("words", "")), "yellow") if data.get("words") else None,
    "preempted": _line("{words}", "yellow"),
    "releasing": _line("releasing {things} {listed}"),
    "changing": _line("  {where}: {kind} {id} {words}"),
    "gone": _line("gone: {listed}"),
    "suspect": _line("suspect, and not lent again: {listed}", "yellow"),
    "kept": _kept,
    "extended": lambda data: Line(f"extended: the run may last until {moment(float(data['hard_end']))}"),
    "trouble": _line("{words}", "red"),
    "ending": _line("{words}", "red"),
    "adopted": _line("the keeper had died; another one has taken over what the run holds", "yellow"),
    "database-requested": _line("database {key}: asking for {engine} {name} in namespace {namespace}"),
    "database-ready": _line("database {key}: {name} is ready", "green"),
    "database-refused": _line("database {key}: refused: {words}", "yellow"),
    "database-releasing": _line("database {key}: releasing {name}"),
    "database-gone": _line("database {key}: {name} is gone"),
    "ops-created": _line("{target}: {kind} {name} ({asked})"),
    "ops-moved": _ops_moved,
    "ops-ended": _ops_ended,
    "ops-refused": lambda data: Line(f"refused: {clean(str(data.get('words', '')), limit=_WORDS)}", "yellow"),
}


def summary(receipt: Receipt, request: Request, *, verbosity: int, width: int | None = None) -> Iterator[Line]:
    """Yield the section at the end. With ``-q`` no nodes, and attempts only if one failed."""
    yield from _tried_and_placed(receipt, receipt.attempts, request, verbosity, width)
    for words in receipt.troubles:
        yield Line(f"trouble: {clean(words)}", "red")
    yield from receipt_lines(receipt, emulated=request.emulated)


def _tried_and_placed(
    told: Receipt | Staying, tried: Sequence[Attempt], request: Request, verbosity: int, width: int | None
) -> Iterator[Line]:
    if request.emulated:
        yield Line(EMULATED, "yellow")
    yield from attempt_lines(tried, told.changes, verbosity=verbosity, width=width)
    if verbosity >= 0:
        for placed in told.placed:
            yield from _nodes(placed, verbosity, several=len(request.topologies) > 1)


def attempt_lines(
    tried: Sequence[Attempt], changes: Sequence[str], *, verbosity: int, width: int | None = None
) -> Iterator[Line]:
    """Yield what was tried, and what came out otherwise than asked for. With ``-q`` only if one failed."""
    if tried and (verbosity >= 0 or any(attempt.outcome != "placed" for attempt in tried)):
        yield from map(Line, tables.attempts(tried, verbose=verbosity > 0, width=width))
    for change in dict.fromkeys(changes):
        yield Line(clean(change), "yellow")


def _nodes(placed: Placed, verbosity: int, *, several: bool) -> Iterator[Line]:
    for group, nodes in placed.nodes.items():
        # A group's name is its own only within its topology.
        name = f"{placed.topology}/{group}" if several else group
        shown = nodes if verbosity > 0 or len(nodes) <= SHOWN_NODES else nodes[:SHOWN_NODES]
        for node in shown:
            yield Line(_node(name, node, whole=verbosity > 0))
        if len(shown) < len(nodes):
            yield Line(f"{name}: and {len(nodes) - len(shown)} more (-v shows all)")


def _node(group: str, node: Node, *, whole: bool) -> str:
    addresses = ", ".join(address for address in (node.private_ip, node.public_ip) if address) or "no address"
    name, reservation = (part if whole else _short(part) for part in (node.id, node.reservation_id or ""))
    reservation = f", in {reservation}" if reservation else ""
    return clean(f"{group}: {name} {node.instance_type} {node.market} in {node.zone}, {addresses}{reservation}")


def receipt_lines(receipt: Receipt, *, emulated: bool = False) -> Iterator[Line]:
    """Yield how many things the cloud still lists, which, until when, and how to remove them by hand."""
    if not receipt.asked:
        yield Line("receipt: nothing was asked for")
        return
    unread = {part.region for part in receipt.unread}
    read = ", ".join(region for region in receipt.regions if region not in unread) or "nothing"
    count = len(receipt.left)
    things = "1 thing" if count == 1 else f"{count} things"
    verb = "is" if count == 1 else "are"
    colour = "green" if receipt.clean else "red"
    yield Line(f"receipt: {things} bearing run {receipt.run} {verb} left ({read} read)", colour)
    if receipt.unanswered:
        yield Line(f"unanswered create calls, which may have made something more: {receipt.unanswered}", "red")
        yield Line(f"  the keeper asks on; to wait for it: pytest-capacity release {receipt.run}", "red")
    for part in receipt.unread:
        yield Line(clean(f"not read: {part.kind} in {part.region}: {part.why}"), "red")
    yield from _left(receipt, receipt.left, () if emulated else receipt.by_hand)


def held_lines(
    holding: Holding | None, pid: int, log: str, *, emulated: bool = False, session: str | None = None
) -> Iterator[Line]:
    """Yield what is still held when pytest leaves without waiting for the release.

    In an emulated run there is nothing that a person has to remove.
    """
    if emulated:
        yield Line(EMULATED, "yellow")
    if holding is None:
        yield Line("what is held could not be asked in time", "red")
    elif not holding.held and not holding.unanswered:
        yield Line("nothing is held that the journal knows of", "red")
    else:
        more = f", and what {holding.unanswered} unanswered create calls may have made" if holding.unanswered else ""
        yield Line(f"still held: {len(holding.held)}{more}", "red")
        yield from _left(holding, holding.held, () if emulated else holding.by_hand)
    does = f"keeps or releases session {session}" if session else "goes on releasing"
    yield Line(f"the keeper (pid {pid}) {does}; its log: {log}", "red")


def _left(told: Receipt | Holding, helds: Sequence[Held], by_hand: Sequence[str]) -> Iterator[Line]:
    for held in helds:
        why = f": {held.problem}" if held.problem else ""
        yield Line("  " + clean(f"{held.kind} {held.id} in {held.zone or held.region}, {held.state}{why}"), "red")
    if told.endless:
        yield Line(f"  nothing ends {_ids({'ids': told.endless})} by itself", "red")
    if told.until is not None:
        rest = "the others are " if told.endless else ""
        yield Line(f"  {rest}bound to end by {moment(told.until)} at the latest", "red")
    if by_hand:
        yield Line("  to remove them now:", "red")
    for command in by_hand:
        yield Line(f"    {clean(command)}")


def session_lines(request: Request, now: float, joined: Description | None, drift: Sequence[str]) -> Iterator[str]:
    """Yield the header's lines about a named session: begun or joined, how old, with whom it is shared.

    ``drift`` is what this run asks for differently, and does not get, since the session began without it.
    """
    if request.session is None:
        return
    parts = ["begun"]
    if joined is not None:
        count = sum(len(nodes) for placed in joined.placed for nodes in placed.nodes.values())
        parts = [f"joined, {format_duration(max(0.0, round(now - joined.started)))} old", _nodes_of(count)]
        if joined.owners:
            parts.append(f"shared with process {', '.join(map(str, joined.owners))}")
        if joined.kept_until is not None:
            parts.append(f"was kept until {moment(joined.kept_until)}")
    yield clean(f"capacity: session {request.session}: {', '.join(parts)}")
    for line in drift:
        yield clean(f"capacity: drift: {line}; the session keeps its own until it is built anew")


def staying_lines(
    staying: Staying, request: Request, now: float, *, verbosity: int, since: float = 0.0, width: int | None = None
) -> Iterator[Line]:
    """Yield why nothing was released, and until when nodes are kept and what can be done with them.

    Of the session's attempts those that were made ``since`` then.
    """
    tried = [attempt for attempt in staying.attempts if attempt.started >= since]
    yield from _tried_and_placed(staying, tried, request, verbosity, width)
    count = sum(len(nodes) for placed in staying.placed for nodes in placed.nodes.values())
    name = request.session or request.run
    if staying.until is None:
        others = "1 other process uses it" if staying.others == 1 else f"{staying.others} other processes use it"
        yield Line(f"session {name}: {_nodes_of(count)} stay, since {others}; the last one releases", "green")
        return
    rest = format_duration(max(0.0, round(staying.until - now)))
    yield Line(
        f"session {name}: {_nodes_of(count)} kept until {moment(staying.until)} ({rest}), then released", "yellow"
    )
    groups = [(placed, group) for placed in staying.placed for group in placed.nodes]
    if groups and request.ssh is not None:
        placed, group = groups[0]
        where = group if len(request.topologies) == 1 else f"{placed.topology}/{group}"
        yield Line(f"  pytest-capacity ssh {name} {where}/0")
    room = _EXTENSION if staying.limit is None else min(_EXTENSION, (staying.limit - staying.until) // 60 * 60)
    if room > 0:
        yield Line(f"  pytest-capacity extend {name} {format_duration(room)}")
    yield Line(f"  pytest-capacity release {name}")


def _nodes_of(count: int) -> str:
    return "1 node" if count == 1 else f"{count} nodes"
