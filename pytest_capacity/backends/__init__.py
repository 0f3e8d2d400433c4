"""Clouds, each with two faces (`base`): what reads a configuration, and what makes the calls.

Providers are found by entry point (group ``pytest_capacity.backends``). Those of this package are found by their
folders too, so that it works from a checkout that is not installed.
"""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pytest_capacity.errors import CapacityError, ConfigError
from pytest_capacity.install_advice import install_command

if TYPE_CHECKING:
    from pytest_capacity.backends.base import Backend, Provider
    from pytest_capacity.model import Request

GROUP: Final = "pytest_capacity.backends"

#: The modules that each extra brings which is no backend's.
_BRINGS: Final = {"emulator": ("moto", "asyncssh"), "ssh": ("paramiko",), "kubedb": ("lightkube",)}


@cache
def _own() -> Mapping[str, EntryPoint]:
    folders = sorted(path.parent.name for path in Path(__file__).parent.glob("*/provider.py"))
    return {name: EntryPoint(name, f"{__name__}.{name}:PROVIDER", GROUP) for name in folders}


@cache
def providers() -> Mapping[str, EntryPoint]:
    """Return every installed provider by name; ours go before others of that name. Imports none of them."""
    others = {point.name: point for point in entry_points(group=GROUP)}
    return dict(sorted({**others, **_own()}.items()))


#: Providers that no package brings, by name.
_registered: Final[dict[str, Provider]] = {}


def register(new: Provider) -> None:
    """Make a provider known to `provider` that no installed package brings: the cloud that a test makes up."""
    _registered[new.name] = new
    provider.cache_clear()


@cache
def provider(name: str) -> Provider:
    """Return the provider called ``name``.

    Raises `ConfigError` where there is none (with the names there are), and where a package's provider fails to load,
    or is none.
    """
    if name in _registered:
        return _registered[name]
    point = _own().get(name) or providers().get(name)
    if point is None:
        raise ConfigError([f"backend {name!r} is not known here. What there is: {', '.join(providers())}."])
    try:
        found = point.load()
    except Exception as error:  # Another package's code: a fault in it must not end a run that uses another backend.
        words = f"{_package(point)} cannot be loaded: {type(error).__name__}: {error}"
        raise ConfigError([f"backend {name!r}: {words}. Install or repair that package."]) from error
    return _checked(name, point, found)


def _checked(name: str, point: EntryPoint, found: object) -> Provider:
    from pytest_capacity.backends.base import Provider  # What is listed and not used needs none of it.

    if not isinstance(found, Provider):
        kind = "a class" if isinstance(found, type) else f"a {type(found).__name__}"
        words = f"{_package(point)} is {kind}, not an object of a class that inherits from {Provider.__qualname__}"
        raise ConfigError([f"backend {name!r}: {words} (pytest_capacity.backends.base). Correct that package."])
    if found.name != name:
        words = f"{_package(point)} has the name {found.name!r}, and its entry point has another"
        raise ConfigError([f"backend {name!r}: {words}. Give both the same in that package."])
    return found


def _package(point: EntryPoint) -> str:
    """Return what an entry point names, and the package that has it."""
    return f"{point.value} (of {point.dist.name})" if point.dist else point.value


class Installed:
    """`pytest_capacity.config.provider.Readers`: the providers that are installed."""

    def names(self) -> Iterable[str]:
        """Return as `providers`."""
        return tuple(providers())

    def get(self, name: str) -> Provider:
        """Return as `provider`."""
        return provider(name)


INSTALLED: Final = Installed()


@cache
def file_variables() -> tuple[str, ...]:
    """Return every variable that gives an SDK a path, of whichever provider.

    A keeper may be started for a run of which only its journal knows the backend. A provider that cannot be loaded is
    left out: no keeper could use it.
    """
    return tuple(dict.fromkeys(name for one in _loaded() for name in one.file_variables))


@cache
def environment_prefixes() -> tuple[str, ...]:
    """Return what the names of the SDKs' variables begin with, of whichever provider."""
    return tuple(dict.fromkeys(prefix for one in _loaded() for prefix in one.environment_prefixes))


def _loaded() -> Iterator[Provider]:
    """Yield every provider that can be loaded."""
    for name in providers():
        with contextlib.suppress(ConfigError):
            yield provider(name)


def missing_extra(extra: str) -> str | None:
    """Return what to say where a module that ``extra`` brings is not installed here. Imports nothing of it."""
    brings = _BRINGS[extra] if extra in _BRINGS else provider(extra).modules
    module = next((module for module in brings if not _is_here(module)), None)
    return None if module is None else _missing(extra, module)


def _is_here(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # The package that it is a part of is missing too.
        return False


def _missing(extra: str, module: str | None) -> str:
    """Return what to say where ``module`` is not installed, and how to get it: an extra of ours, or another package."""
    point = None if extra in _BRINGS or extra in _own() else providers().get(extra)
    advice = f"install what {_package(point)} requires" if point else install_command(extra)
    return f"{extra!r} needs the module {module!r}, which is not installed here: {advice}"


def open_backend(request: Request) -> Backend:
    """Import the SDK and open the backend of ``request``; no call is made.

    Raises `ConfigError` naming the extra when the SDK is not installed, and where what a package opens is no backend.
    """
    name = request.backend
    try:
        found = provider(name).open(request)
    except ModuleNotFoundError as error:
        raise ConfigError([f"backend {_missing(name, error.name)}"]) from error
    except CapacityError:
        raise
    except Exception as error:  # Another package's code: the message says where in it.
        place = traceback.extract_tb(error.__traceback__)[-1]
        words = f"{type(error).__name__}: {error} ({place.filename}:{place.lineno})"
        raise ConfigError([f"backend {name!r} cannot be opened: {words}. Correct that package."]) from error
    from pytest_capacity.backends.base import lacking

    if names := lacking(found):
        words = f"{type(found).__name__} has no {', '.join(names)}"
        raise ConfigError([f"backend {name!r}: {words} (pytest_capacity.backends.base.Backend). Correct that package."])
    return found
