"""`shop run NAME` with handlers of which some fail, are slow, hang, or kill their process.

A program of its own, which puts its wrappers around the handlers that the service declares; the
service itself knows nothing of it. The connections carry the process's own name, so that what it
has in progress can be distinguished from that of other processes.
"""

import os
import signal
import sys
import threading
import time
from random import Random
from typing import Any

from shared.errors import TransientFailure
from shared.events import DomainEvent, OrderPlaced
from shared.messaging import connect
from shared.runtime import process
from shared.runtime.service import Handler
from shared.storage.database import Database
from shop import cli, registry

KILLS = "KILLS-"
HANGS = "HANGS-"
"""Prefix of an order id, followed by a service's name: that service's handler dies or hangs."""

FAILS, SLOW = 0.05, 0.1
"""Shares of events that fail once or twice, and that are handled slowly."""

LAST_FAILURE = 2
"""The last attempt at which an event may fail, so that no event dies."""


class HandlerFaults:
    """The faults of a service's handlers; the same for the same seed."""

    def __init__(self, service: str, seed: str) -> None:
        self._service = service
        self._seed = seed

    def apply(self, event: DomainEvent, attempt: int) -> None:
        subject = event.subject or ""
        if isinstance(event, OrderPlaced):
            if subject.startswith(f"{KILLS}{self._service}-"):
                os.kill(os.getpid(), signal.SIGKILL)
            if subject.startswith(f"{HANGS}{self._service}-") and attempt <= LAST_FAILURE:
                threading.Event().wait()
        chance = Random(f"{self._seed} {self._service} {event.event_id}")  # noqa: S311 - no secret
        draw = chance.random()
        if draw < FAILS and attempt <= chance.randint(1, LAST_FAILURE):
            raise chance.choice((TransientFailure, ValueError))("injected")
        if draw > 1 - SLOW:
            time.sleep(chance.uniform(0.02, 0.1))


def with_faults(handler: Handler, faults: HandlerFaults) -> Handler:
    """Return a handler that does the work and then applies the faults."""

    def handle(event: DomainEvent, work: Any) -> None:
        handler(event, work)
        faults.apply(event, work.attempt)

    return handle


def main() -> None:
    """Run a service with the faults that the environment variables select."""
    name, known_as = sys.argv[1], os.environ["CHAOS_NAME"]
    service, faults = registry.service(name), HandlerFaults(name, os.environ["CHAOS_SEED"])
    service.subscriptions[:] = [
        (kind, with_faults(handler, faults)) for kind, handler in service.subscriptions
    ]
    vars(process).update(
        Database=lambda url, app: Database(url, app=app and known_as),
        broker_at=lambda url, app: connect.broker_at(url, app=app and known_as),
    )
    sys.argv = ["shop", "run", name]
    cli.main()


if __name__ == "__main__":
    main()
