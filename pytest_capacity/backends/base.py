"""The protocol between the engine and a cloud: eight verbs and some questions (`docs/explanation/design.md`).

A backend makes calls and reads answers. Retrying, falling back, journalling, waiting and pacing are the engine's.
All verbs block; the engine runs them on threads, so a backend must be safe to call from many at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from pytest_capacity.config.provider import (
    Examples,
    GroupDraft,
    Reader,
    SctKeys,
    SctReading,
    Section,
)
from pytest_capacity.model import Diagnosis, Held, Identity, Offer, Order, Piece, Request, Topology, Unread

__all__ = ["Backend", "Examples", "GroupDraft", "Provider", "SctKeys", "SctReading", "Section"]


class Provider(Reader, Protocol):
    """The first face of a cloud: all that pytest and the command line need, without the SDK.

    One object a process, without state, found by entry point (group ``pytest_capacity.backends``). Its module imports
    the standard library, msgspec, and of this package ``config.fields``, ``config.provider``, ``model`` and ``errors``.
    What reads the configuration is in `Reader`.
    """

    #: The modules that the extra brings; looked for, not imported.
    modules: tuple[str, ...]
    #: Whether the emulator that we bring speaks for it.
    emulated: bool
    #: Who logs in on the nodes by SSH where the user says nothing about it; "": whoever runs the keeper.
    default_user: str
    #: Variables that decide which credentials are used: two runs share nodes only where they agree. Never shown.
    credential_variables: tuple[str, ...]
    #: Variables that hold paths: they are made absolute before the keeper starts, which works in ``/``.
    file_variables: tuple[str, ...]
    #: What the names of the SDK's variables begin with: none of them reaches an emulator or an emulated run.
    environment_prefixes: tuple[str, ...]
    #: Keys of `Request.settings` that do not shape nodes: two processes may differ in them and share nodes.
    not_shaping: frozenset[str]
    #: Its rows of the table of errors, and its remedies (`docs/reference/errors.md`); None: it has none.
    errors_file: Path | None

    def normal(self, settings: Mapping[str, Any]) -> Mapping[str, Any]:
        """`Request.settings` as an earlier version wrote them into a journal, in the form of `read_section`. Pure."""
        ...

    def endpoint_of(self, request: Request, environ: Mapping[str, str]) -> str | None:
        """The URL that the run talks to, where the file, a flag or the environment names one; for the header."""
        ...

    def chosen_profile(self, request: Request, environ: Mapping[str, str]) -> str:
        """The profile of the SDK's files that the run uses; "" where none is named. For the header."""
        ...

    def with_environment(self, request: Request, environ: Mapping[str, str]) -> Request:
        """``request`` with what this process's environment decides (a profile), before the keeper starts."""
        ...

    def account_setting(self, request: Request) -> tuple[str, str]:
        """The setting that pins the account, and the account: ``("NAME.account", "1234")``, or two empty texts."""
        ...

    def memory(self, kind: str) -> float | None:
        """For how many seconds a refusal of ``kind`` is remembered; None: as the ladder does for every cloud."""
        ...

    def open(self, request: Request) -> Backend:
        """The second face, for one request. Imports the SDK and makes no call.

        Raises `ConfigError` for what is wrong; a `ModuleNotFoundError` is left to `open_backend`.
        """
        ...


class Backend(Protocol):
    """One cloud, opened for one `Request`. Opening imports the SDK and makes no call."""

    #: The name of its provider.
    name: str
    #: Kinds that may be released side by side, in order. A later set waits until the earlier is gone.
    release_order: Sequence[frozenset[str]]
    #: How many things of a kind one call of the cloud takes; `release` is given no more at once.
    batch: Mapping[str, int]
    #: Kinds whose deadline the cloud itself enforces: each of them is renewed, not just one a region.
    leased: frozenset[str]
    #: Who logs in on the nodes by SSH where the user says nothing about it.
    default_user: str

    def whoami(self) -> Identity:
        """The account that the credentials belong to. At most one call; raises what the SDK raises."""
        ...

    def offers(self, region: str, topology: Topology) -> Sequence[Offer]:
        """Zones of ``region`` in order of their names, and for each whether it can take ``topology`` and why not.

        Reads only, side by side, one round. Fails open: what could not be read does not rule a zone out.
        """
        ...

    def family(self, instance_type: str) -> str:
        """What shares a vCPU quota with ``instance_type``: equal words for types of one quota. Pure."""
        ...

    def plan(self, order: Order) -> Sequence[Sequence[Piece]]:
        """The whole topology in one placement, as rounds of pieces. Pure: the same order gives the same pieces."""
        ...

    def create(self, piece: Piece) -> Sequence[Held]:
        """Make the piece by exactly one mutating call; returns when the cloud has accepted it.

        Raises what the SDK raises; `diagnose` reads it. With the token of an earlier call whose answer was lost it
        gives back what that call made.
        """
        ...

    def change(self, held: Held, deadline: float) -> Held:
        """Extend: one call that sets ``deadline`` (absolute) where the cloud, or failing that our stamp, keeps it."""
        ...

    def refresh(self, helds: Sequence[Held]) -> Sequence[Held]:
        """The same things as the cloud has them now, in the same order; one call (and its pages) a kind and region.

        What the cloud does not list comes back ``unseen``. A failed one carries the cloud's words in ``problem``.
        """
        ...

    def release(self, helds: Sequence[Held]) -> None:
        """Ask the cloud to remove things of one kind and region, in one call. Idempotent; `refresh` confirms.

        Refuses (``ValueError``) what it was not told bears our stamp: a held without a subject.
        """
        ...

    def inventory(self, run: str, regions: Sequence[str]) -> Iterator[Held | Unread]:
        """Everything that bears the stamp of ``run``, gone things left out, all regions and kinds side by side."""
        ...

    def regions(self) -> Sequence[str]:
        """Every region that the account may use."""
        ...

    def console(self, held: Held) -> str:
        """What a node wrote to its console, as far as the cloud has it by now; empty where it has nothing. One call."""
        ...

    def by_hand(self, helds: Sequence[Held]) -> Sequence[str]:
        """The shell commands with which a person removes these things. Pure."""
        ...

    def ends(self, thing: Held | Piece, hard_end: float) -> float | None:
        """When it is gone at the latest though nobody removes it, at a cloud's own pace; None: nothing ends it. Pure.

        A `Piece` is a create call that may or may not have made something.
        """
        ...

    def diagnose(self, problem: Exception | Held) -> Diagnosis:
        """What an exception of this SDK, or a failed thing, means."""
        ...
