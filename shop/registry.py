"""Finds the services: each package in `services` is one.

`services/NAME/service.py` declares the service in the variable NAME. If the service has commands,
`services/NAME/commands.py` has a Typer app in the variable `app`.
"""

import importlib
import pkgutil
import zlib
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import services
from shared.errors import InvalidInput

if TYPE_CHECKING:  # importing it doubles the time of `shop --help`
    from shared.runtime.service import AnyService

ROOT = Path(services.__path__[0]).parent
"""The folder that has the packages."""


def names() -> list[str]:
    """The names of all services: orders first, the others by name."""
    packages = [module.name for module in pkgutil.iter_modules(services.__path__) if module.ispkg]
    return sorted(packages, key=lambda name: (name != "orders", name))


def user_id(name: str) -> int:
    """The id of the user that a service's container runs as, see docker-compose.yml.

    It depends on the name alone, so a new service does not change the ids of the others.
    """
    return 20_000 + zlib.crc32(name.encode()) % 40_000


def service(name: str) -> "AnyService":
    """The declaration of a service; raises InvalidInput if there is none of this name."""
    if name not in names():
        raise InvalidInput(f"there is no service {name!r}; there are {', '.join(names())}")
    declared: AnyService = getattr(importlib.import_module(f"services.{name}.service"), name)
    return declared


def all_services() -> "list[AnyService]":
    """The declarations of all services."""
    return [service(name) for name in names()]


def commands(name: str) -> ModuleType | None:
    """The module of a service's commands; None if it has none."""
    try:
        return importlib.import_module(f"services.{name}.commands")
    except ModuleNotFoundError as error:
        if error.name == f"services.{name}.commands":
            return None
        raise
