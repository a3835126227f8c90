"""What the chaos tests need of a running system, whatever its broker and databases are."""

import subprocess
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

from sqlalchemy import func, select

from services.inventory.service import inventory
from shared.messaging.connect import broker_at
from shared.messaging.ports.publisher import Message, Publisher
from shared.storage.database import Database
from shared.storage.tables import inbox, outbox
from tests.chaos import invariants
from tests.chaos.greed import Headers
from tests.chaos.state import Lie, RunContext, SystemState
from tests.chaos.supervisor import Supervisor
from tests.support.waiting import eventually

SHOP = Path(sys.executable).with_name("shop")
RESTOCKED = {"product-1": 1_000_000, "product-2": 1_000_000, "product-3": 1_000}
QUIET_SECONDS = 90.0
"""Seconds without a handled event after which the invariants must hold: reconnecting takes 30."""

LOW_LIMIT_SERVICE = "loyalty"
"""The service whose retry limit can be reached; the others outlast every fault."""


@dataclass(slots=True, kw_only=True)
class AnyEnvironment(ABC):
    """What faults act on and observe.

    Attributes:
        unprocessable: topic by message id of messages that no outbox published.
        sent_to_one: service by message id of messages that were sent to one service only.
        lies: the forged messages, by message id.
        deleted: (service, message id) of dead letters that were deleted with their queue.
    """

    home: Path
    seed: int
    unprocessable: dict[str, str] = field(default_factory=dict)
    sent_to_one: dict[str, str] = field(default_factory=dict)
    lies: dict[str, Lie] = field(default_factory=dict)
    deleted: set[tuple[str, str]] = field(default_factory=set)
    supervisor: Supervisor = field(default_factory=lambda: Supervisor([]))
    databases: dict[str, Database] = field(default_factory=dict)

    @property
    @abstractmethod
    def settings(self) -> dict[str, str]:
        """The environment variables of a program that connects without proxies."""

    @property
    @abstractmethod
    def has_users(self) -> bool:
        """Whether each service has a user of its own at the broker."""

    @abstractmethod
    def broker_url_of(self, user: str) -> str:
        """The broker's URL for a user, without proxies."""

    @abstractmethod
    def dead_letter_ids(self, service: str) -> list[str]:
        """The message ids in a service's dead queue."""

    @abstractmethod
    def overused(
        self, service: str, flood: Sequence[tuple[Message, Headers]]
    ) -> AbstractContextManager[str]:
        """During the block, take all that a service may take; publishes messages as it.

        Args:
            flood: messages, with the headers that they have where the broker knows headers.

        Returns:
            What was taken.
        """

    @abstractmethod
    def mails(self) -> Sequence[str]:
        """Message-IDs of all mails, duplicates included."""

    @abstractmethod
    def state(self) -> SystemState:
        """Read all that the invariants are checked against."""

    @abstractmethod
    def state_if_consistent(self) -> SystemState | None:
        """The state if no invariant is violated; cheaper than `state` if one is."""

    def shop(self, *arguments: str) -> str:
        """Run `shop`; return its standard output."""
        done = subprocess.run(
            [SHOP, *arguments],
            env=self.settings,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def publish(self, *messages: Message) -> None:
        """Publish messages without an outbox, each as the broker user of its source."""
        assert self.answers(*messages) == [None] * len(messages)

    def answers(self, *messages: Message) -> list[str | None]:
        """Publish messages as `publish` does; return why the broker refuses each, None if not."""
        publishers: dict[str, Publisher] = {}
        answers: list[str | None] = []
        try:
            for user, theirs in groupby(messages, key=lambda message: message.source):
                if user not in publishers:
                    url = self.broker_url_of(user)
                    publishers[user] = broker_at(url, app="chaos").publisher()
                answers += publishers[user].publish(list(theirs))
        finally:
            for each in publishers.values():
                each.close()
        return answers

    def handled(self, service: str) -> int:
        """How many events a service has handled."""
        with self.databases[service].read() as connection:
            return connection.execute(select(func.count()).select_from(inbox)).scalar_one()

    def sent_by(self, service: str) -> Sequence[Any]:
        """The rows of a service's outbox that are sent."""
        with self.databases[service].read() as connection:
            return connection.execute(select(outbox).where(outbox.c.sent_at.is_not(None))).all()

    def context(self) -> RunContext:
        """What customers, faults and the mail server did so far."""
        confirmed = self.home / "confirmed"
        return RunContext(
            confirmed=frozenset(confirmed.read_text().split())
            if confirmed.exists()
            else frozenset(),
            unprocessable=dict(self.unprocessable),
            sent_to_one=dict(self.sent_to_one),
            lies=dict(self.lies),
            deleted=frozenset(self.deleted),
            restocked=RESTOCKED,
            mails=self.mails(),
            limited=frozenset({LOW_LIMIT_SERVICE}),
        )

    def restock(self) -> None:
        """Add stock that lasts for all orders."""
        with inventory.unit_of_work(self.databases["inventory"]) as work:
            for sku, pieces in RESTOCKED.items():
                work.store.restock(sku, pieces)

    def wait_until_quiet(self) -> SystemState:
        """Wait until the invariants hold or nothing happens any more; return the state then."""
        handled, until = -1, 0.0
        while True:
            found = self.state_if_consistent()
            if found is not None:
                return found
            # A slow machine may take long, as long as it makes progress.
            before, handled = handled, sum(map(self.handled, self.databases))
            if handled != before:
                until = time.monotonic() + QUIET_SECONDS
            elif time.monotonic() > until:
                return self.state()
            threading.Event().wait(0.5)  # between two checks


def unless_violated(state: SystemState) -> SystemState | None:
    """The state if no invariant is violated."""
    return None if invariants.violations(state) else state


@contextmanager
def customers(environment: AnyEnvironment, *, rate: float) -> Iterator[None]:
    """Place orders at this rate per second during the block."""
    confirmed = environment.home / "confirmed"
    command = [sys.executable, "-m", "tests.chaos.customers", str(confirmed)]
    with (
        (environment.home / "customers.log").open("ab") as log,
        subprocess.Popen(
            [*command, "--rate", str(rate), "--seed", str(environment.seed)],
            env=environment.settings,
            stdout=log,
            stderr=log,
        ) as process,
    ):
        try:
            eventually(confirmed.exists, within=60)
            yield
        finally:
            process.terminate()
            code = process.wait(60)
    assert code == 0, (environment.home / "customers.log").read_text()[-2000:]


def without_settings(variables: Mapping[str, str]) -> dict[str, str]:
    """These environment variables without those of the system."""
    return {key: value for key, value in variables.items() if not key.startswith("SHOP_")}
