"""Adds a consumer to the project: `shop new`."""

import importlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import services
from shared.errors import OperationFailed
from shared.operations.catalog.catalog import catalog
from shared.operations.catalog.markdown import page
from shared.operations.scaffold.consumer import (
    PAGE,
    NewConsumer,
    contracts_of,
    make,
    require_free_name,
)
from shop import registry

ROOT = Path(services.__path__[0]).parent


def add_consumer(name: str, topics: Sequence[str], *, commands: Iterable[str]) -> Iterator[str]:
    """Make a new consumer in the project's checkout.

    Args:
        topics: what it subscribes to, such as `order.placed`; every event where there is none.
        commands: names that `shop` has already.

    Yields:
        What was made, and what to do next.

    Raises:
        InvalidInput: the name or a topic cannot be used.
        OperationFailed: this is no checkout, or it cannot be written; nothing has changed.
    """
    user = registry.user_id(name)
    same_user = [each for each in registry.names() if registry.user_id(each) == user]
    require_free_name(name, ROOT, commands=commands, users=same_user)
    consumer = NewConsumer(name=name, subscribed=contracts_of(topics), user=user)
    for path in make(consumer, ROOT):
        yield f"made    {path}" if name in path.parts else f"changed {path}"
    importlib.invalidate_caches()
    try:
        (ROOT / PAGE).write_text(page(catalog(registry.all_services())), "utf-8")
    except OSError as error:
        raise OperationFailed(f"{PAGE} is as it was ({error.strerror}): run make docs") from error
    yield f"changed {PAGE}"
    yield ""
    next_steps = {
        f"make test ARGS=tests/unit/services/{name}": "its test",
        f"shop run {name} --from-history": "embedded; it begins with all that happened before",
        "docker compose up --build --detach --wait": "composed",
    }
    width = max(map(len, next_steps))
    for command, what in next_steps.items():
        yield f"{command:<{width}}   # {what}"
