"""Handles deliveries so that each event takes effect exactly once.

The inbox rows, the effects and the outgoing events of a batch commit together, and only then are
its deliveries settled. The inbox detects a duplicate by its id, source and content; a message that
was not published by a service that may publish it is dead. A batch that fails is rolled back, and
its deliveries are handled one by one, each in its own transaction, so a failing message does not
affect the others. Only this module catches all exceptions: it decides the outcome of each delivery.
"""

import time
from collections.abc import Sequence
from concurrent.futures import Executor, wait
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from shared.errors import (
    DependencyUnavailable,
    NotSubscribed,
    OlderThanTheInbox,
    PermanentFailure,
    TransientFailure,
    UnsupportedVersion,
)
from shared.events import DomainEvent, UnknownEvent, topic_of
from shared.events.versions import contract_of
from shared.messaging.authenticity import BrokerUsers, require_authentic
from shared.messaging.codec import event_of, read
from shared.messaging.identity import safe_type
from shared.messaging.ports.consumer import Delivery, Outcome, Settlement
from shared.messaging.topology import Retry
from shared.runtime import poison
from shared.runtime.attempts import record_failure
from shared.runtime.service import AnyService, Handler
from shared.runtime.watchdog import Watchdog
from shared.storage import failures, inbox, outbox
from shared.storage.database import Database, is_environmental
from shared.storage.unit_of_work import UnitOfWork


class Accepted(NamedTuple):
    """A delivery that is an event with handlers in this service."""

    delivery: Delivery
    entry: inbox.Entry
    handlers: list[Handler]

    @property
    def event(self) -> DomainEvent:
        """The event."""
        return self.entry.event

    @property
    def is_repeated(self) -> bool:
        """Whether an earlier attempt failed, or ended the process."""
        return self.delivery.attempt > 1


@dataclass(frozen=True, slots=True)
class DeliveryResult:
    """The result of one delivery.

    Attributes:
        event: None if the message is not an event.
        duplicate: whether the event had been handled before, so that nothing was done.
        published: types of the events that its handlers published.
        notes: its handlers' notes for the log.
        error: why the attempt failed; None if it did not.
        is_last_attempt: whether the queue allows no further attempt.
    """

    delivery: Delivery
    outcome: Outcome
    event: DomainEvent | None = None
    duplicate: bool = False
    published: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    error: BaseException | None = None
    is_last_attempt: bool = False

    @property
    def is_dead(self) -> bool:
        """Whether the message goes to the dead queue."""
        return self.outcome is Outcome.DEAD or (
            self.outcome is Outcome.RETRY and self.is_last_attempt
        )

    @property
    def settlement(self) -> Settlement:
        """The delivery and its outcome, for `Consumer.settle`."""
        return self.delivery, self.outcome


@dataclass(frozen=True, slots=True)
class BatchResult:
    """The results of the deliveries of one batch.

    Attributes:
        seconds: the duration.
        unavailable: the error of a dependency that is away; usually None.
    """

    results: list[DeliveryResult]
    seconds: float
    unavailable: DependencyUnavailable | None = None


@dataclass(slots=True, kw_only=True)
class Reactor:
    """Reacts to deliveries on behalf of one service.

    Attributes:
        retry: the retry policy of the service's queue; it decides which attempt is the last.
        gateway: the service's gateway; None if it has none.
        executor: runs transactions of one event at the same time; None for batches.
        users: who may publish and replay, where each service has a broker user; else None.
        inbox_horizon: how far back the inbox remembers events; None if it remembers all.
    """

    service: AnyService
    database: Database
    retry: Retry
    gateway: Any = None
    executor: Executor | None = None
    users: BrokerUsers | None = None
    inbox_horizon: timedelta | None = None
    watchdog: Watchdog = field(default_factory=Watchdog)

    def react(self, deliveries: Sequence[Delivery]) -> BatchResult:
        """Handle deliveries and decide the outcome of each; errors of handlers are not raised.

        When a dependency is away, the outcome of the remaining deliveries is REQUEUE.
        """
        began = time.monotonic()
        results: list[DeliveryResult] = []
        unavailable = None
        try:
            self.watchdog.step()
            self._react(deliveries, results)
        except DependencyUnavailable as error:
            unavailable = error
            decided = {id(each.delivery) for each in results}
            results += [
                DeliveryResult(each, Outcome.REQUEUE)
                for each in deliveries
                if id(each) not in decided
            ]
        finally:
            self.watchdog.idle()
        return BatchResult(results, time.monotonic() - began, unavailable)

    def react_alone(self, delivery: Delivery) -> BatchResult:
        """Handle a possible poison message, after its earlier attempts are recorded."""
        max_attempts = self.retry.max_retries + 1
        try:
            poison.record_ended_attempts(self.database, delivery, max_attempts=max_attempts)
        except DependencyUnavailable as error:
            return BatchResult([DeliveryResult(delivery, Outcome.REQUEUE)], 0.0, error)
        return self.react([delivery])

    def is_last_attempt(self, delivery: Delivery) -> bool:
        """Whether the message goes to the dead queue if this attempt fails."""
        return delivery.attempt > self.retry.max_retries

    def ping(self) -> None:
        """Check that the database and the gateway answer.

        Raises:
            DependencyUnavailable: one of them does not.
        """
        self.database.ping()
        if self.gateway is not None:
            self.gateway.probe()

    def probe(self) -> None:
        """Check that the database can write and that the gateway answers.

        Raises:
            DependencyUnavailable: one of them does not.
        """
        self.database.probe()
        if self.gateway is not None:
            self.gateway.probe()

    def _react(self, deliveries: Sequence[Delivery], results: list[DeliveryResult]) -> None:
        accepted = []
        for delivery in deliveries:
            try:
                accepted.append(self._accept(delivery))
            except Exception as error:  # noqa: BLE001 - decides the outcome of the delivery
                results.append(self._failed(delivery, None, error))
        if self.executor is not None:
            self._react_concurrently(self.executor, accepted, results)
        elif len(accepted) < 2 or not self._react_as_batch(accepted, results):
            self._react_one_by_one(accepted, results)

    def _accept(self, delivery: Delivery) -> Accepted:
        contracts, envelope = self.service.contracts, read(delivery.body, flaw=delivery.flaw)
        contract = contract_of(envelope.type, contracts.get(envelope.type))
        require_authentic(delivery, envelope, contract, users=self.users)
        event = event_of(envelope, contracts)
        handlers = self.service.handlers(event)
        if not handlers:
            raise _rejection(self.service, event)
        horizon = self.inbox_horizon
        if horizon is not None and event.occurred_at < datetime.now(UTC) - horizon:
            raise OlderThanTheInbox(
                f"{safe_type(event.type)} {event.event_id} is older than the inbox's retention"
            )
        entry = inbox.Entry.of(event, delivery.body, source=envelope.source)
        return Accepted(delivery, entry, handlers)

    def _react_concurrently(
        self, executor: Executor, accepted: Sequence[Accepted], results: list[DeliveryResult]
    ) -> None:
        self.watchdog.idle()  # this thread only waits
        futures = [
            executor.submit(self._react_one_by_one, events, results)
            for events in _by_subject(accepted)
        ]
        wait(futures)
        for future in futures:
            future.result()

    def _react_as_batch(self, accepted: list[Accepted], results: list[DeliveryResult]) -> bool:
        """Handle all in one transaction; False if it was rolled back."""
        try:
            results += self._apply(accepted)
        except Exception as error:  # noqa: BLE001 - each is handled alone next
            self._raise_if_unavailable(error)
            return False
        return True

    def _react_one_by_one(
        self, accepted: Sequence[Accepted], results: list[DeliveryResult]
    ) -> None:
        try:
            for each in accepted:
                try:
                    results += self._apply([each])
                except Exception as error:  # noqa: BLE001 - decides the outcome of the delivery
                    self._raise_if_unavailable(error)
                    results.append(self._failed(each.delivery, each.event, error))
        finally:
            self.watchdog.idle()

    def _apply(self, accepted: list[Accepted]) -> list[DeliveryResult]:
        """Handle events in one transaction, which also holds the inbox and the outbox."""
        results = []
        outgoing: list[outbox.Outgoing] = []
        with self.database.begin() as connection:
            new = inbox.enter(connection, [each.entry for each in accepted])
            store = self.service.store(connection, self.database)
            store.prepare([each.event for each in accepted if each.event.event_id in new])
            for delivery, (event, *_), handlers in accepted:
                if event.event_id not in new:
                    results.append(DeliveryResult(delivery, Outcome.DONE, event, duplicate=True))
                    continue
                new.discard(event.event_id)
                work = UnitOfWork(
                    store,
                    service=self.service.name,
                    publishes=self.service.publishes,
                    gateway=self.gateway,
                    cause=event,
                    attempt=delivery.attempt,
                    is_last_attempt=self.is_last_attempt(delivery),
                )
                self.watchdog.step(delivery)
                for handler in handlers:
                    handler(event, work)
                outgoing += work.published
                results.append(_done(delivery, event, work))
            self.watchdog.step()
            store.flush()
            outbox.write(connection, outgoing)
            if repeated := [str(each.event.event_id) for each in accepted if each.is_repeated]:
                failures.note_handled(connection, repeated)
        outbox.committed(outgoing)
        return results

    def _raise_if_unavailable(self, error: Exception) -> None:
        """Probe the dependencies after an error that one of them may have caused.

        Raises:
            DependencyUnavailable: the probe failed too, so the message is not the cause.
        """
        if is_environmental(error):
            self.watchdog.step()
            self.probe()

    def _failed(
        self, delivery: Delivery, event: DomainEvent | None, error: Exception
    ) -> DeliveryResult:
        """Record a failed attempt, without which it must not count.

        Raises:
            DependencyUnavailable: it could not be recorded.
        """
        outcome = Outcome.DEAD if isinstance(error, PermanentFailure) else Outcome.RETRY
        is_last = self.is_last_attempt(delivery)
        result = DeliveryResult(delivery, outcome, event, error=error, is_last_attempt=is_last)
        recorded_as = failures.DEAD if result.is_dead else failures.RETRIED
        record_failure(self.database, delivery, failures.describe(error), outcome=recorded_as)
        return result


def _by_subject(accepted: Sequence[Accepted]) -> list[list[Accepted]]:
    """Lists that may be handled at the same time; events on one subject keep their order."""
    lists: dict[str, list[Accepted]] = {}
    for each in accepted:
        lists.setdefault(each.event.subject or str(each.event.event_id), []).append(each)
    return list(lists.values())


def _done(delivery: Delivery, event: DomainEvent, work: UnitOfWork[Any, Any]) -> DeliveryResult:
    return DeliveryResult(
        delivery,
        Outcome.DONE,
        event,
        published=tuple(each.event.type for each in work.published),
        notes=tuple(work.notes),
    )


def _rejection(service: AnyService, event: DomainEvent) -> TransientFailure:
    """Why this process has no handler for an event; a type without a version is not a version.

    A process of another release may have one, so the delivery is retried.
    """
    topics = {contract.topic for contract in service.contracts.values()} - {event.type}
    if isinstance(event, UnknownEvent) and topic_of(event.type) in topics:
        return UnsupportedVersion(f"{service.name} cannot read {safe_type(event.type)}")
    return NotSubscribed(f"{service.name} did not subscribe to {safe_type(event.type)}")
