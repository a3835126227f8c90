"""From a service's outbox to the broker: what was committed is sent, oldest first, at least once.

A row is marked sent when the broker has confirmed it. Killed in between, the relay sends it again,
and every inbox knows it. An event that the broker will never take is set aside with the reason,
and the others go on. When much waits, some rows are read or marked while others are confirmed, and
which were the older may then be lost.
"""

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from tenacity import Retrying, retry_if_exception_type, wait_random_exponential

from shared.errors import BrokerUnavailable, DependencyUnavailable
from shared.messaging.ports.publisher import Message, Publisher
from shared.runtime.hands import Hands
from shared.runtime.logs import Log
from shared.storage import failures, inbox, outbox
from shared.storage.database import DATABASE_ERRORS, Database
from shared.storage.wakeup import Wakeup

WINDOW = 1_000
"""Rows claimed at a time: more than may be unconfirmed, so that the broker never waits for them."""

AT_ONCE = 2
"""Windows under way when much waits: one is claimed, or marked, while another is published."""

_WINDOWS_IN_A_ROW = 100
"""Of each, until there is time for housekeeping."""

LOOK_EVERY = 1.0
HOUSEKEEPING_EVERY = timedelta(minutes=10)


def send_some(
    database: Database,
    publisher: Publisher,
    *,
    source: str,
) -> outbox.Claim:
    """Send what waits in the outbox, at most a window of it.

    Args:
        source: the service's name.

    Returns:
        What was claimed, sent and refused.

    Raises:
        BrokerUnavailable: nothing was marked; it will be sent again.
    """
    with outbox.claim(database, WINDOW) as claimed:
        messages = [
            Message(
                event_id=str(row.event_id),
                topic=row.topic,
                type=row.event_type,
                body=row.body.encode(),
                source=source,
                correlation_id=str(row.correlation_id or ""),
                occurred_at=row.occurred_at,
            )
            for row in claimed.rows
        ]
        answers = publisher.publish(messages) if messages else []
        for row, refusal in zip(claimed.rows, answers, strict=True):
            if refusal is None:
                claimed.sent.append(row.number)
            else:
                claimed.rejected[row.number] = refusal
    return claimed


class Relay:
    """Sends a service's outbox until it is told to stop; for a thread of its own.

    Args:
        publisher: its own connection to the broker.
        inbox_keep: what occurred earlier is refused as too old; None to remember it forever.
        on_sent: told how many were sent, and how many refused.
    """

    def __init__(  # noqa: PLR0913 - its parts, given by the composition root
        self,
        database: Database,
        publisher: Publisher,
        *,
        source: str,
        log: Log,
        outbox_keep: timedelta,
        failures_keep: timedelta,
        inbox_keep: timedelta | None = None,
        on_sent: Callable[[int, int], None] = lambda _sent, _refused: None,
    ) -> None:
        self.wakeup = Wakeup()
        self._database = database
        self._publisher = publisher
        self._source = source
        self._keep = (outbox_keep, failures_keep, inbox_keep)
        self._on_sent = on_sent
        self._stopping = threading.Event()
        self._cleaned_at = datetime.min.replace(tzinfo=UTC)
        self._log = log
        self._hands = Hands(AT_ONCE, name=f"{source} relay")

    def run(self) -> None:
        """Send until stopped; what fails for now is tried again, forever."""
        patiently = Retrying(
            retry=retry_if_exception_type(
                (BrokerUnavailable, DependencyUnavailable, *DATABASE_ERRORS)
            ),
            wait=wait_random_exponential(multiplier=0.2, max=30),
            sleep=self._pause,
            stop=lambda _: self._stopping.is_set(),
            before_sleep=lambda state: self._log.warning(
                "relay waits",
                error=type(state.outcome and state.outcome.exception()).__name__,
                seconds=round(state.next_action.sleep, 1) if state.next_action else 0,
            ),
            retry_error_callback=lambda _: None,
        )
        while not self._stopping.is_set():
            patiently(self._once)
        self._publisher.close()

    def _once(self) -> None:
        self.wakeup.listen(self._database)
        much_waits = self._send_window()
        self._clean()
        if much_waits:
            self._hands.do([self._send_windows] * AT_ONCE)
        else:
            self.wakeup.wait(LOOK_EVERY)

    def _send_windows(self) -> None:
        for _ in range(_WINDOWS_IN_A_ROW):
            if self._stopping.is_set() or not self._send_window():
                return

    def _send_window(self) -> bool:
        """Send a window; answers whether it was full."""
        claimed = send_some(self._database, self._publisher, source=self._source)
        for number, reason in claimed.rejected.items():
            self._log.error("event set aside: the broker refuses it", number=number, reason=reason)
        if claimed.rows:
            self._on_sent(len(claimed.sent), len(claimed.rejected))
        return len(claimed.rows) == WINDOW

    def _clean(self) -> None:
        now = datetime.now(UTC)
        if now - self._cleaned_at < HOUSEKEEPING_EVERY:
            return
        self._cleaned_at = now
        outbox_keep, failures_keep, inbox_keep = self._keep
        with self._database.begin() as connection:
            outbox.prune(connection, before=now - outbox_keep)
            failures.prune(connection, before=now - failures_keep)
            if inbox_keep is not None:
                # A day later than it is refused: clocks of machines differ.
                forgotten = now - inbox_keep - timedelta(days=1)
                inbox.prune(connection, occurred_before=forgotten)

    def _pause(self, seconds: float) -> None:
        self._stopping.wait(seconds)

    def stop(self) -> None:
        """End after what is under way."""
        self._stopping.set()
        self.wakeup.notify()

    def close(self) -> None:
        """Let go of what it held, once `run` has ended and nobody rings any more."""
        self.wakeup.close()
