"""Adds a consumer to the project: `shop new`."""

import importlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import services
from shared.errors import OperationFailed
from shared.exhaustion import reason_of
from shared.operations.catalog.catalog import catalog
from shared.operations.catalog.markdown import page
from shared.operations.scaffold.consumer import (
    PAGE,
    NewConsumer,
    contracts_of,
    create,
    require_free_name,
)
from shared.runtime.hints import command
from shop import registry

ROOT = Path(services.__path__[0]).parent


def add_consumer(name: str, topics: Sequence[str], *, commands: Iterable[str]) -> Iterator[str]:
    """Create a new consumer in the project's checkout.

    Args:
        topics: its subscriptions, such as `order.placed`; every event if empty.
        commands: the names of `shop`'s commands.

    Yields:
        What was created and changed, and then the next steps; a line each.

    Raises:
        InvalidInput: the name or a topic cannot be used.
        OperationFailed: this is not a checkout, or it cannot be written.
    """
    user_id = registry.user_id(name)
    same_user = [each for each in registry.names() if registry.user_id(each) == user_id]
    require_free_name(name, ROOT, commands=commands, same_user=same_user)
    consumer = NewConsumer(name=name, contracts=contracts_of(topics), user_id=user_id)
    for path in create(consumer, ROOT):
        yield f"created {path}" if name in path.parts else f"changed {path}"
    importlib.invalidate_caches()
    try:
        (ROOT / PAGE).write_text(page(catalog(registry.all_services())), "utf-8")
    except OSError as error:
        raise OperationFailed(f"{PAGE} is unchanged ({reason_of(error)}): run make docs") from error
    yield f"changed {PAGE}"
    yield ""
    next_steps = {
        f"make test ARGS=tests/unit/services/{name}": "run its test",
        command(
            "run", name, from_history=""
        ): "run it embedded, from the first event in the history",
        "docker compose up --build --detach --wait": "run it in a container",
    }
    width = max(map(len, next_steps))
    for step, purpose in next_steps.items():
        yield f"{step:<{width}}   # {purpose}"
