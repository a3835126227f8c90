"""Adds a consumer to the project: `shop new`."""

import importlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
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


_AFTERWARDS = """
The last command recreates RabbitMQ and PostgreSQL, which join the network of {name}: their data
stays, and events wait meanwhile. All other services continue, each with its scale."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AddedConsumer:
    """A consumer that was added to the project.

    Attributes:
        created, changed: paths, relative to the checkout.
    """

    name: str
    created: Sequence[str]
    changed: Sequence[str]

    @property
    def next_steps(self) -> dict[str, str]:
        """The purpose of each command that is next."""
        return {
            f"make test ARGS=tests/unit/services/{self.name}": "run its test",
            command("run", self.name, from_history=""): (
                "run it embedded, from the first event in the history"
            ),
            f"docker compose up --build --detach --wait {self.name}": "run it in a container",
        }

    @property
    def record(self) -> dict[str, object]:
        """The fields for JSON output."""
        return {
            "name": self.name,
            "created": self.created,
            "changed": self.changed,
            "next": list(self.next_steps),
        }

    @property
    def sentences(self) -> Iterator[str]:
        """What was created and changed, and then the next steps; a line each."""
        yield from (f"created {path}" for path in self.created)
        yield from (f"changed {path}" for path in self.changed)
        yield ""
        width = max(map(len, self.next_steps))
        for step, purpose in self.next_steps.items():
            yield f"{step:<{width}}   # {purpose}"
        yield _AFTERWARDS.format(name=self.name)


def add_consumer(name: str, topics: Sequence[str], *, commands: Iterable[str]) -> AddedConsumer:
    """Create a new consumer in the project's checkout.

    Args:
        topics: its subscriptions, such as `order.placed`; every event if empty.
        commands: the names of `shop`'s commands.

    Raises:
        InvalidInput: the name or a topic cannot be used.
        OperationFailed: this is not a checkout, or it cannot be written.
    """
    user_id = registry.user_id(name)
    same_user = [each for each in registry.names() if registry.user_id(each) == user_id]
    require_free_name(name, ROOT, commands=commands, same_user=same_user)
    consumer = NewConsumer(name=name, contracts=contracts_of(topics), user_id=user_id)
    paths = create(consumer, ROOT)
    importlib.invalidate_caches()
    try:
        (ROOT / PAGE).write_text(page(catalog(registry.all_services())), "utf-8")
    except OSError as error:
        raise OperationFailed(
            f"{name} was created, but {PAGE} is unchanged ({reason_of(error)}): run make docs"
        ) from error
    return AddedConsumer(
        name=name,
        created=[str(path) for path in paths if name in path.parts],
        changed=[*(str(path) for path in paths if name not in path.parts), str(PAGE)],
    )
