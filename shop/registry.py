"""Which services there are: the folders beside this file, so that a new one is only a new folder.

A service NAME is `services/NAME/service.py` with its declaration in a variable NAME, and, where it
has commands, `services/NAME/commands.py` with a Typer app in a variable `app`.
"""

import importlib
import pkgutil
import zlib
from types import ModuleType
from typing import TYPE_CHECKING

import services
from shared.errors import InvalidInput

if TYPE_CHECKING:  # half of what `shop --help` would take
    from shared.runtime.service import AnyService


def names() -> list[str]:
    """The names of all services, orders first, since everything begins there."""
    found = sorted(each.name for each in pkgutil.iter_modules(services.__path__) if each.ispkg)
    return sorted(found, key=lambda name: name != "orders")


def user_id(name: str) -> int:
    """The user that a service runs as where each has its own, as in docker-compose.yml.

    It follows from the name alone, so that a new service changes nobody else's.
    """
    return 20_000 + zlib.crc32(name.encode()) % 40_000


def service(name: str) -> "AnyService":
    """The declaration of a service.

    Raises:
        InvalidInput: there is none of that name.
    """
    if name not in names():
        raise InvalidInput(f"there is no service {name!r}; there are {', '.join(names())}")
    declared: AnyService = getattr(importlib.import_module(f"services.{name}.service"), name)
    return declared


def all_services() -> "list[AnyService]":
    """The declarations of all services."""
    return [service(name) for name in names()]


def commands(name: str) -> ModuleType | None:
    """The module with a service's commands, where it has one."""
    try:
        return importlib.import_module(f"services.{name}.commands")
    except ModuleNotFoundError as error:
        if error.name == f"services.{name}.commands":
            return None
        raise
