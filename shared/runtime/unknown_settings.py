"""Finds `SHOP_…` variables that are misspelt, which would otherwise have no effect.

Refused is only what resembles a setting. What resembles none may belong to another program, such as
Kubernetes, which sets `SHOP_SERVICE_HOST` for a service named shop. A setting of a service that is
not known here may belong to one that is added later: an older process must start with it.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches

from shared.errors import InvalidInput
from shared.runtime.service_settings import ServiceSettings
from shared.runtime.settings import PREFIX, Settings

_SIMILARITY = 0.75
_PORT_SIMILARITY = 0.85
"""Kubernetes sets `SHOP_BROKER_PORT` for a service named shop-broker."""

_OF_KUBERNETES = re.compile(r"(.*_)?(PORT|SERVICE_HOST|SERVICE_PORT)(_.*)?")

_OF_COMPOSE = frozenset({"IMAGE"})
"""Read by docker-compose.yml only."""

_SERVICE_FIELDS = tuple(name.upper() for name in ServiceSettings.model_fields)


@dataclass(frozen=True, slots=True)
class UnknownSettings:
    """Sentences about variables that are not settings here, and are not refused.

    Attributes:
        misspelt: about a setting of a service whose name resembles that of a known one.
        others: about the others, except those of Kubernetes.
    """

    misspelt: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)


def check_names(variables: Sequence[str], services: Sequence[str]) -> UnknownSettings:
    """Check the names of environment variables.

    Args:
        services: the names of all services.

    Raises:
        InvalidInput: a variable is no setting and resembles one.
    """
    of_services = {f"{name.upper()}_{each}" for name in services for each in _SERVICE_FIELDS}
    known = {name.upper() for name in Settings.model_fields} | _OF_COMPOSE | of_services
    names = {each.upper().removeprefix(PREFIX) for each in variables if _is_ours(each)}
    found = UnknownSettings()
    for name in sorted(names - known):
        if setting := next((each for each in _SERVICE_FIELDS if name.endswith(f"_{each}")), None):
            owner = name.removesuffix(f"_{setting}").lower()
            for similar in get_close_matches(owner, services, n=1):
                found.misspelt.append(_no_such_setting(name, f"{similar.upper()}_{setting}"))
            continue
        cutoff = _PORT_SIMILARITY if name.endswith("_PORT") else _SIMILARITY
        for similar in get_close_matches(name, sorted(known), n=1, cutoff=cutoff):
            raise InvalidInput(_no_such_setting(name, similar))
        if not _OF_KUBERNETES.fullmatch(name):
            found.others.append(f"{PREFIX}{name}: no such setting; it has no effect")
    return found


def _is_ours(variable: str) -> bool:
    return variable.upper().startswith(PREFIX)


def _no_such_setting(name: str, similar: str) -> str:
    return f"{PREFIX}{name}: no such setting; did you mean {PREFIX}{similar}?"
