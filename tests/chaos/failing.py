"""`shop run NAME`, with handlers some of which fail, are slow, hang, or kill their process.

A program of its own, which puts its wrappers around the handlers that the service declares; the
service itself knows nothing of it. The connections carry the process's own name, so that what it
has under way can be told from what its siblings have.
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
"""An order's id that begins so, followed by the service's name, does so in that service."""

FAILS, SLOW = 0.05, 0.1
"""Shares of events that fail a time or two, and that take a while."""

LAST_FAILURE = 2
"""No event fails for more attempts, so that none dies of it."""


class Mood:
    """What a service's handlers do to an event, the same for the same seed."""

    def __init__(self, service: str, seed: str) -> None:
        self._service = service
        self._seed = seed

    def spoil(self, event: DomainEvent, attempt: int) -> None:
        subject = event.subject or ""
        if isinstance(event, OrderPlaced):
            if subject.startswith(f"{KILLS}{self._service}-"):
                os.kill(os.getpid(), signal.SIGKILL)
            if subject.startswith(f"{HANGS}{self._service}-") and attempt <= LAST_FAILURE:
                threading.Event().wait()
        chance = Random(f"{self._seed} {self._service} {event.event_id}")  # noqa: S311 - no secret
        draw = chance.random()
        if draw < FAILS and attempt <= chance.randint(1, LAST_FAILURE):
            raise chance.choice((TransientFailure, ValueError))("as chance would have it")
        if draw > 1 - SLOW:
            time.sleep(chance.uniform(0.02, 0.1))


def spoiled(handler: Handler, mood: Mood) -> Handler:
    """The handler, and after its work the mood."""

    def handle(event: DomainEvent, work: Any) -> None:
        handler(event, work)
        mood.spoil(event, work.attempt)

    return handle


def main() -> None:
    """Run a service by its name, in the mood that the environment says."""
    name, known_as = sys.argv[1], os.environ["CHAOS_NAME"]
    service, mood = registry.service(name), Mood(name, os.environ["CHAOS_SEED"])
    service.subscriptions[:] = [
        (kind, spoiled(handler, mood)) for kind, handler in service.subscriptions
    ]
    vars(process).update(
        Database=lambda url, app: Database(url, app=app and known_as),
        broker_at=lambda url, app: connect.broker_at(url, app=app and known_as),
    )
    sys.argv = ["shop", "run", name]
    cli.main()


if __name__ == "__main__":
    main()
