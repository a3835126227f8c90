"""Sends a service's outbox to the broker: committed events, oldest first, at least once.

A row is marked as sent when the broker has confirmed it. If the process ends in between, the row is
sent again, and the inbox of every receiver recognises the duplicate. An event that the broker
rejects is marked with the reason and not sent again; the others are. While there is a backlog, two
windows of rows are sent at the same time, so events may then be sent out of order.
"""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from shared.errors import BrokerUnavailable, DependencyUnavailable
from shared.messaging.ports.publisher import Message, Publisher
from shared.runtime.logs import Log
from shared.runtime.retrying import retry_until_stopped
from shared.storage import outbox
from shared.storage.database import DATABASE_ERRORS, Database
from shared.storage.wakeup import Wakeup

WINDOW = 1_000
"""Rows claimed at a time: more than may be unconfirmed, so that the broker never waits for them."""

CONCURRENT_WINDOWS = 2
"""Windows sent at a time while there is a backlog: one is claimed or marked, one is published."""

POLL_SECONDS = 1.0

_WINDOWS_IN_A_ROW = 100
"""Of each of the concurrent windows, until the wakeup listens again if it has to."""


def send_some(database: Database, publisher: Publisher, *, source: str) -> outbox.Claim:
    """Send the oldest events of the outbox, at most one window of them.

    Returns:
        The claimed rows, and which of them were sent or rejected.

    Raises:
        BrokerUnavailable: no row was marked, so all will be sent again.
    """
    with outbox.claim(database, WINDOW) as claim:
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
            for row in claim.rows
        ]
        rejections = publisher.publish(messages) if messages else []
        for row, rejection in zip(claim.rows, rejections, strict=True):
            if rejection is None:
                claim.sent.append(row.number)
            else:
                claim.rejected[row.number] = rejection
    return claim


@dataclass(eq=False)
class Relay:
    """Sends a service's outbox until it is stopped; `run` is for a thread of its own.

    Attributes:
        publisher: a connection to the broker that nothing else uses.
        source: the service's name.
        on_sent: called after each window with the number of events sent and rejected.
        wakeup: makes the relay send without waiting for its next poll.
    """

    database: Database
    publisher: Publisher
    source: str
    log: Log
    on_sent: Callable[[int, int], None] = lambda _sent, _rejected: None
    wakeup: Wakeup = field(default_factory=Wakeup)

    def __post_init__(self) -> None:
        self.log = self.log.bind(task="relay")
        self._stopping = threading.Event()

    def run(self) -> None:
        """Send until stopped; retry while the broker or the database is away."""
        while not self._stopping.is_set():
            retry_until_stopped(
                self._send_and_wait,
                on=(BrokerUnavailable, DependencyUnavailable, *DATABASE_ERRORS),
                stopping=self._stopping,
                log=self.log,
            )
        self.publisher.close()

    def stop(self) -> None:
        """Make `run` end after the windows that are being sent."""
        self._stopping.set()
        self.wakeup.notify()

    def close(self) -> None:
        """Close the wakeup, when nothing notifies it any more."""
        self.wakeup.close()

    def _send_and_wait(self) -> None:
        self.wakeup.listen(self.database)
        has_backlog = self._send_window()
        if has_backlog:
            self._send_backlog()
        else:
            self.wakeup.wait(POLL_SECONDS)

    def _send_backlog(self) -> None:
        with ThreadPoolExecutor(CONCURRENT_WINDOWS, f"{self.source} relay") as executor:
            futures = [executor.submit(self._send_windows) for _ in range(CONCURRENT_WINDOWS)]
        for future in futures:
            future.result()

    def _send_windows(self) -> None:
        for _ in range(_WINDOWS_IN_A_ROW):
            if self._stopping.is_set() or not self._send_window():
                return

    def _send_window(self) -> bool:
        """Send a window; True if it was full."""
        claim = send_some(self.database, self.publisher, source=self.source)
        for number, reason in claim.rejected.items():
            self.log.error("event rejected by the broker", number=number, reason=reason)
        if claim.rows:
            self.on_sent(len(claim.sent), len(claim.rejected))
        return len(claim.rows) == WINDOW
