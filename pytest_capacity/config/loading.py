"""The file, and what flags, environment and ini say over it -> one checked `Request`, or every fault at once."""

from __future__ import annotations

import re
import uuid
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec
from msgspec.structs import replace

from pytest_capacity.config.access import read_collect, read_ssh
from pytest_capacity.config.databases import KEYS as DATABASE_KEYS
from pytest_capacity.config.databases import read_databases
from pytest_capacity.config.errors import read_errors
from pytest_capacity.config.fallback import check_moving, check_patience, default_timeout, read_moving
from pytest_capacity.config.fields import (
    Faults,
    as_bool,
    as_choice,
    as_text,
    as_texts,
    chosen,
    named,
    refuse_unknown,
    shown,
)
from pytest_capacity.config.files import Files, read_files
from pytest_capacity.config.groups import EXCLUSIVE, MARKETS, Defaults, read_topologies
from pytest_capacity.config.near import is_loopback
from pytest_capacity.config.own_regions import OwnRegions, read_own_regions
from pytest_capacity.config.provider import Reader, Readers, Section
from pytest_capacity.config.retention import read_keeping
from pytest_capacity.config.sct import in_their_words, is_sct, translate
from pytest_capacity.config.sct import is_reserving as is_sct_reserving
from pytest_capacity.config.source import Overrides, Source, lasting, split
from pytest_capacity.errors import ConfigError
from pytest_capacity.model import Fallback, Market, Request, Topology

DEFAULT_DURATION_S: Final = 90 * 60.0
DEFAULT_RELEASE_TIMEOUT_S: Final = 5 * 60.0
MAX_RELEASE_TIMEOUT_S: Final = 3600.0
MAX_DURATION_S: Final = 7 * 86400.0

#: What messages call a configuration that was given as a mapping.
GIVEN: Final = "params"

#: What machines of the user's own have nothing to do with.
_OF_A_CLOUD: Final = (
    "regions",
    "zones",
    "market",
    "use_reservations",
    "endpoint",
    "prices",
    "errors",
    "fallback",
    "colocate",
    "retry_until",
    "on_preempt",
)
_KEYS: Final = (
    "backend",
    *_OF_A_CLOUD,
    "groups",
    "topologies",
    "reserve",
    "duration",
    "timeout",
    "release_timeout",
    "journal",
    "project",
    "test_id",
    "ssh",
    "collect",
    "session",
    "keep",
    "keep_for",
    "limits",
    *DATABASE_KEYS,
)
_ID_FORM: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")


def load(
    overrides: Overrides,
    *,
    clouds: Readers,
    path: Path | Sequence[Path] | None,
    environ: Mapping[str, str],
    topologies: Mapping[str, Topology] | None = None,
    run: str | None = None,
    project: str | None = None,
    values: Mapping[str, Any] | None = None,
    new_run: Callable[[], str] = lambda: str(uuid.uuid4()),
    warn: Callable[[str], None] = lambda words: warnings.warn(words, FutureWarning, stacklevel=3),
) -> Request:
    """Return the checked request of one run: ``overrides`` over the file at ``path`` (None: no file) over defaults.

    ``path`` may be several files, of which a later one goes before an earlier one.
    ``clouds`` are the providers, of which the chosen one reads what is its own. ``topologies`` are the ones that a hook
    gave, checked like the file's. ``environ`` is read for the SDK's region, and for the variables of
    scylla-cluster-tests where the file is one of its. ``run`` is the run id where one is fixed
    already, before ``test_id:`` and ``new_run``. ``project`` is the default of ``project:``; it is made to fit.
    ``values`` stand in the place of the file's. ``warn`` is called with what is deprecated. Groups come back
    with market and reserve resolved.

    Raises `ConfigError` with all faults at once.
    """
    given = values is not None
    paths = [path] if isinstance(path, Path) else list(path or ())
    if paths and not given:
        files = read_files(paths)
    else:
        files = Files(values=values or {}, name=GIVEN if given else "capacity.yaml")
    source = Source(files.values, files, overrides, has_flags=not given)
    faults = Faults()
    names: Mapping[str, str] = {}
    known = (*_KEYS, *clouds.names())
    if is_sct(files.values, known, clouds):
        try:
            translated = translate(source, environ, known, clouds, warn, faults)
        except ConfigError as error:
            raise ConfigError(files.attributed(error.faults)) from None
        source, names = replace(source, values=translated.values), translated.names
    refuse_unknown(source.values, known, f"{source.file}: ", faults)
    own_faults = len(faults.lines)
    backend = _backend(source, clouds, faults)
    request = _request(source, backend, clouds, environ, topologies or {}, project, faults)
    run = run or source.read("test_id", named(_ID_FORM, "nightly-42 (at most 64)"), faults) or new_run()
    request = replace(request, run=run, dialect="sct" if names else "own")
    backend.check_request(request, source, faults)
    if faults.lines:
        raise ConfigError(files.attributed(in_their_words(faults.lines, own_faults, source.file, names, backend)))
    _check_plain(request)
    return request


def _check_plain(request: Request) -> None:
    """Raise `ConfigError` where a provider gave what cannot be sent to the keeper, or is of another type."""
    try:
        msgspec.json.decode(msgspec.json.encode(request), type=Request)
    except (TypeError, ValueError) as error:  # Among the latter are those of msgspec.
        words = f"backend {request.backend!r}: its provider made what is no plain data of a request: {error}"
        raise ConfigError([f"{words}. Correct that package."]) from error


def _request(
    source: Source,
    backend: Reader,
    clouds: Readers,
    environ: Mapping[str, str],
    given: Mapping[str, Topology],
    project: str | None,
    faults: Faults,
) -> Request:
    """Return the request, without the run's id."""
    own = backend.owns_machines
    duration = source.read("duration", lasting(MAX_DURATION_S, "a run lasts at most"), faults) or DEFAULT_DURATION_S
    request = Request(
        backend=backend.name,
        run="",
        project="",
        topologies={},
        regions=(),
        reserve=not own,
        duration_s=duration,
        timeout_s=duration,
        emulated=source.overrides.emulator,
    )
    names = tuple(clouds.names())
    defaults = Defaults(source=source, provider=backend, providers=names, request=request)
    defaults = _no_cloud(defaults, faults) if own else _cloud(defaults, given, environ, faults)
    request = replace(defaults.request, topologies=read_topologies(given, defaults, faults))
    if not own:
        check_moving(source, request, defaults.common_regions, defaults.own_regions, faults)
    provisioning = lasting(duration, "provisioning cannot take longer than `duration`,")
    timeout = source.read("timeout", provisioning, faults) or default_timeout(request)
    request = replace(request, timeout_s=timeout)
    check_patience(source, request, faults)
    request = read_databases(source, replace(request, collect=read_collect(source, faults)), faults)
    project = source.read("project", named(_ID_FORM, "storage-tests (at most 64)"), faults) or _slug(project)
    request = read_keeping(source, replace(request, project=project), MAX_DURATION_S, faults)
    ending = lasting(MAX_RELEASE_TIMEOUT_S, "the end of a run waits at most")
    return replace(
        request,
        release_timeout_s=source.read("release_timeout", ending, faults) or DEFAULT_RELEASE_TIMEOUT_S,
        ssh=read_ssh(source, own, request, faults),
        errors=() if own else read_errors(source, backend.name, names, faults),
        journal=source.read("journal", as_text, faults),
    )


def _cloud(defaults: Defaults, given: Mapping[str, Topology], environ: Mapping[str, str], faults: Faults) -> Defaults:
    """Return them with what a cloud has."""
    source, provider = defaults.source, defaults.provider
    own = read_own_regions(source, provider, given, faults)
    common = _regions(source, provider, environ, own, faults)
    regions = tuple(dict.fromkeys((*common, *own.every)))
    if source.overrides.emulator and provider.name and not provider.emulated:
        what = f"is given, and the emulator does not speak for `backend: {provider.name}`"
        faults.add("--capacity-emulator", what, "Leave it out.")
    request = read_moving(source, replace(defaults.request, regions=regions), faults)
    market, reserve = _market(source, request.fallback, faults)
    request = replace(request, market=market, reserve=reserve)
    defaults = replace(defaults, request=request, own_regions=own.named, common_regions=common)
    defaults = _with_section(defaults, faults)
    request = replace(
        defaults.request,
        zones=_zones(source, provider, regions, faults),
        use_reservations=_use_reservations(source, provider, faults),
        endpoint=_endpoint(source, provider, faults),
        prices=_prices(source, provider, faults),
    )
    return replace(defaults, request=request)


def _no_cloud(defaults: Defaults, faults: Faults) -> Defaults:
    """Return them with what the user's own machines have; refuse what only a cloud could do, as it is not done."""
    source, provider = defaults.source, defaults.provider
    sections = [name for name in defaults.providers if name != provider.name]
    for key in (*_OF_A_CLOUD, *sections):
        value, where = source.get(key)
        if value is not None:
            faults.add(where, f"is given, and `backend: {provider.name}` has no cloud to ask for it", "Leave it out.")
    if source.read("reserve", as_bool, faults):
        faults.add(source.get("reserve")[1], "is true, and machines of your own need no reservation", "Leave it out.")
    # The cluster of the databases is emulated too.
    if source.overrides.emulator and not source.values.get("databases"):
        what = f"is given, and `backend: {provider.name}` has no cloud to emulate"
        faults.add("--capacity-emulator", what, "Leave it out.")
    request = replace(defaults.request, regions=provider.default_regions({})[0])
    return _with_section(replace(defaults, request=request), faults)


def _with_section(defaults: Defaults, faults: Faults) -> Defaults:
    """Return them with the provider's own section; those of others, in a file for several, are not looked at."""
    source, provider, request = defaults.source, defaults.provider, defaults.request
    before = len(faults.lines)
    values, where = source.section(provider.name, provider.examples.section, faults)
    base = source.files.folder_of(provider.name)
    section = Section(values=values, where=where, regions=request.regions, base=base, emulated=request.emulated)
    request = replace(request, settings=provider.read_section(section, faults))
    return replace(defaults, request=request, section=section, settings_wrong=len(faults.lines) > before)


def is_reserving(values: Mapping[str, Any], where: str, clouds: Readers) -> bool:
    """Return whether a configuration chooses a backend and has not switched reservations off. Nothing else is checked.

    Raises `ConfigError` where ``reserve`` is neither true nor false.
    """
    faults = Faults()
    if is_sct(values, (*_KEYS, *clouds.names()), clouds):
        on = is_sct_reserving(values, where, clouds, faults)
    else:
        value = values.get("reserve")
        reserve = True if value is None else as_bool(value, f"{where}: reserve", faults)
        on = bool(values.get("backend")) and reserve is not False
    if faults.lines:
        raise ConfigError(faults.lines)
    return on


def _backend(source: Source, clouds: Readers, faults: Faults) -> Reader:
    value, where = source.get("backend")
    names = tuple(clouds.names())
    if value is None:
        flag = f"Pass --capacity-backend={names[0]}, or write" if source.has_flags else "Write"
        faults.add(where, "no backend is chosen", f"{flag} `backend: {names[0]}`. What there is: {', '.join(names)}.")
        return Reader()
    name = as_choice(value, names, where, faults)
    return clouds.get(name) if name in names else Reader()


def _regions(
    source: Source,
    provider: Reader,
    environ: Mapping[str, str],
    own: OwnRegions,
    faults: Faults,
) -> tuple[str, ...]:
    """Return those of the topologies that have none for themselves."""
    value, where = source.get("regions")
    if own.whole:
        if value is not None and not source.is_overridden("regions"):
            faults.add(where, "is given, and every topology names regions for itself", "Leave it out.")
        return ()
    before = len(faults.lines)
    given = split(value, where, faults) if value is not None else ()
    example = provider.examples.region
    if value is None:
        given, variable = provider.default_regions(environ)
        if not given:
            flag = ", pass --capacity-region" if source.has_flags else ""
            variables = "".join(f", or set {name}" for name in provider.region_variables[:1])
            faults.add(where, "no region is named", f"Write `regions: [{example}]`{flag}{variables}.")
        if not variable:
            return tuple(given)  # The provider's own, if there is one.
        where = variable
    elif not given and len(faults.lines) == before:
        faults.add(where, "names no region", f"Write `regions: [{example}]`.")
    return provider.read_regions(given, where, faults)


def _zones(source: Source, provider: Reader, regions: tuple[str, ...], faults: Faults) -> tuple[str, ...]:
    value, where = source.get("zones")
    return provider.read_zones(split(value, where, faults), regions, where, faults) if value is not None else ()


def _market(source: Source, fallback: Fallback, faults: Faults) -> tuple[Market, bool]:
    """Return the market that groups take by default, and whether what is on demand is reserved by default."""
    market: Market = source.read("market", chosen(*MARKETS), faults) or "on-demand"
    reserve = source.read("reserve", as_bool, faults)
    # A flag alone says which of the two is meant now; it is no contradiction of the file.
    same_level = source.is_overridden("market") == source.is_overridden("reserve")
    if market == "spot" and reserve and same_level and not fallback.spot_to_on_demand:
        faults.add(source.get("reserve")[1], "is true, and the market is spot", EXCLUSIVE)
    return market, True if reserve is None else reserve


def _endpoint(source: Source, provider: Reader, faults: Faults) -> str | None:
    """Return the URL to use; None too where an emulator is started, whose URL is not known yet."""
    value, where = source.get("endpoint")
    if value is None:
        return None
    url = as_text(value, where, faults)
    if url is not None:
        _check_url(url, provider.examples.endpoint, where, faults)
    if source.overrides.emulator:
        if source.is_overridden("endpoint"):
            remedy = "Keep one: the emulator that is started has its own URL."
            faults.add(where, "is given beside --capacity-emulator", remedy)
        return None
    return url


def _check_url(url: str, example: str, where: str, faults: Faults) -> None:
    """Refuse what is no http(s) URL, what carries a password, and plain http to anywhere but this machine."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        faults.add(where, "is not a URL", f"Write it like {example}.")
        return
    if parts.username is not None or parts.password is not None:
        faults.add(where, "holds a user or password", "Leave them out: credentials come from the SDK's configuration.")
    elif parts.scheme not in ("http", "https") or not host:
        faults.add(where, f"{shown(url)} is not an http(s) URL", f"Write it like {example}.")
    elif parts.scheme == "http" and not is_loopback(url):
        faults.add(where, f"{shown(url)} sends credentials unencrypted", "Use https; plain http is for 127.0.0.1 only.")


def _use_reservations(source: Source, provider: Reader, faults: Faults) -> tuple[str, ...]:
    where = source.get("use_reservations")[1]
    given = source.read("use_reservations", as_texts, faults)
    if given is None:
        return ()
    checked = provider.read_reservations(given, where, faults)
    if len(set(given)) < len(given):
        faults.add(where, "names a reservation twice", "Name each once.")
    return checked


def _prices(source: Source, provider: Reader, faults: Faults) -> Mapping[str, float]:
    values, where = source.section("prices", provider.examples.prices, faults)
    prices: dict[str, float] = {}
    for name, price in values.items():
        at = f"{where}.{shown(name)[1:-1]}"
        provider.read_type(name, at, faults)
        if isinstance(price, bool) or not isinstance(price, int | float) or not 0 <= price < 1e6:
            faults.add(at, f"{shown(price)} is not a price", "Write USD an hour, like 0.172.")
        else:
            prices[name] = float(price)
    return prices


def _slug(project: str | None) -> str:
    """Return a folder's name in the form of a project: ``My Tests!`` -> ``My-Tests``."""
    return re.sub(r"[^A-Za-z0-9._]+", "-", project or "")[:64].strip("-") or "tests"
