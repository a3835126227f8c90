"""Commands for a person to run, as they can be typed where this process runs.

Sentences name commands as `shop …`. In a container of the composition nobody can type that: a
person stands before the engine, and set-up and the services have containers of their own.
"""

import re

from shared.errors import InvalidInput

_NAMED = re.compile(
    r"""\bshop\ (?P<words>
        setup
        | run\ (?P<service>[a-z][a-z0-9_]*)(?P<options>\ --from-history(\ --yes)?)?
        | (doctor | failures | dead | outbox | events)\b
    )""",
    re.VERBOSE,
)


def is_composed() -> bool:
    """Whether this process runs in a container of the composition; False if settings are wrong."""
    # Imported here: `shop --help` needs no settings.
    from shared.runtime.settings import settings_for  # noqa: PLC0415 - see above

    try:
        return settings_for().composed
    except InvalidInput:
        return False


def command(words: str) -> str:
    """The command `shop …` with these words, as it can be typed here."""
    return f"docker compose run --rm operator {words}" if is_composed() else f"shop {words}"


def another_process(service: str) -> str:
    """The command that starts a further process of a service."""
    if is_composed():
        return f"docker compose up --detach --no-recreate --scale {service}=2 {service}"
    return f"shop run {service}"


def fitting(sentence: str) -> str:
    """A sentence with its commands as they can be typed here."""
    return composed(sentence) if "shop " in sentence and is_composed() else sentence


def composed(sentence: str) -> str:
    """A sentence with its commands as they can be typed before the composition."""
    return _NAMED.sub(_composed, sentence)


def _composed(found: "re.Match[str]") -> str:
    service, options = found["service"], found["options"]
    if found["words"] == "setup":
        return "docker compose run --rm setup"
    if service and options:
        return f"docker compose run --rm {service} run {service}{options}"
    if service:
        return f"docker compose up --detach {service}"
    return f"docker compose run --rm operator {found['words']}"
