"""All errors of the project in one tree: each class decides what becomes of a delivery or command.

    ShopError                        delivery: retried; command: exit code 1
    ├── InvalidInput                 command: exit code 2, the message says what is expected
    ├── OperationFailed              command: exit code 1, although the input was valid
    │   ├── CommitOutcomeUnknown     delivery: requeued if the probe fails, else retried
    │   ├── UnreadableContractFile   `make contracts`: exit code 1
    │   ├── UnsubscribedBacklog      process: does not start; `shop setup`: exit code 1
    │   └── BrokerUnavailable        process: waits and connects again
    │       ├── HistoryNotGranted    catch-up: waits until `shop setup` grants it
    │       └── BrokerRefused        process: gives up after some attempts (password, permission)
    │           └── BrokerTooOld     process: gives up
    ├── DependencyUnavailable        all deliveries: requeued uncounted; consuming stops for now
    ├── UndeclaredEvent              delivery: retried, as a corrected service may be deployed
    ├── EventIsImmutable             delivery: retried, as a corrected service may be deployed
    ├── TransientFailure             delivery: retried after the queue's delay, dead past its limit
    │   ├── NotKnownYet
    │   ├── NotSubscribed            another process of the service may know the type
    │   ├── UnsupportedVersion       another process of the service may know the version
    │   └── DeadlineExceeded         other deliveries: requeued; the process ends
    └── PermanentFailure             delivery: dead at once
        ├── MalformedEvent           a redrive cannot succeed
        │   └── EventTooLarge        a redrive cannot succeed
        ├── ForgedEvent              no redrive with `--all`
        ├── ConflictingEvent         a redrive cannot succeed
        ├── OlderThanTheInbox
        ├── OutgoingEventTooLarge    a redrive succeeds with a corrected service
        └── Impossible

Some services define errors of their own below these classes. After any other exception a delivery
is retried, and a command ends with a traceback.

A message is one sentence, by default the first line of the class docstring. It holds ids and values
but no personal data, as it is recorded, logged and shown unchanged. Class names are recorded in
databases, so a renamed class no longer matches older records.
"""

from collections.abc import Iterator
from typing import ClassVar


class ShopError(Exception):
    """An error without further details.

    Attributes:
        may_succeed_on_redrive: False if a dead letter with this error fails again whatever is
            repaired, because the message itself is wrong.
        owns_event_id: False if the message must not be recorded under the event's id that it
            holds, because that id may be another event's.
    """

    may_succeed_on_redrive: ClassVar[bool] = True
    owns_event_id: ClassVar[bool] = True

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or (type(self).__doc__ or "").partition("\n")[0])


def error_named(name: str) -> type[ShopError] | None:
    """The class with this name; None if it is not in the tree or its module is not imported."""
    return next((each for each in _tree(ShopError) if each.__name__ == name), None)


def _tree(root: type[ShopError]) -> Iterator[type[ShopError]]:
    yield root
    for subclass in root.__subclasses__():
        yield from _tree(subclass)


class InvalidInput(ShopError):
    """The input is not valid."""


class OperationFailed(ShopError):
    """The command could not be carried out."""


class CommitOutcomeUnknown(OperationFailed):
    """The connection to the database was lost during the commit: the outcome is unknown."""


class UnreadableContractFile(OperationFailed):
    """A published schema or example file is not a JSON object."""


class UnsubscribedBacklog(OperationFailed):
    """Messages wait in the queue of a service that no longer subscribes to their type."""


class BrokerUnavailable(OperationFailed):
    """The broker cannot be reached."""


class HistoryNotGranted(BrokerUnavailable):
    """This broker user may not read the history.

    A catch-up tries again until `shop setup` has granted it. A command ends with exit code 1.
    """


class BrokerRefused(BrokerUnavailable):
    """The broker refuses this service."""


class BrokerTooOld(BrokerRefused):
    """The broker is older than this system needs."""


class DependencyUnavailable(ShopError):
    """A dependency of the service is unavailable."""


class UndeclaredEvent(ShopError):
    """A service publishes an event that its declaration does not name."""


class EventIsImmutable(ShopError, AttributeError):
    """An event cannot be changed."""


class TransientFailure(ShopError):
    """The attempt failed; a later one may succeed."""


class NotKnownYet(TransientFailure):
    """The event on which this one builds has not arrived yet."""


class NotSubscribed(TransientFailure):
    """This process of the service did not subscribe to this type of event."""


class UnsupportedVersion(TransientFailure):
    """This process of the service has no contract for this type and version of event."""


class DeadlineExceeded(TransientFailure):
    """The handler exceeded its deadline."""


class PermanentFailure(ShopError):
    """The event can never be handled."""


class MalformedEvent(PermanentFailure):
    """The message is not a valid event."""

    may_succeed_on_redrive = False


class EventTooLarge(MalformedEvent):
    """The event is larger than 1 MiB."""


class ForgedEvent(PermanentFailure):
    """The message was not published by a service that may publish its type of event."""

    may_succeed_on_redrive = False
    owns_event_id = False


class ConflictingEvent(PermanentFailure):
    """The service has an event with the same id, but with another source or other content."""

    may_succeed_on_redrive = False
    owns_event_id = False


class OlderThanTheInbox(PermanentFailure):
    """The event is older than the inbox's retention, so it may have been handled before."""


class OutgoingEventTooLarge(PermanentFailure):
    """An event that would be published is larger than readers accept."""


class Impossible(PermanentFailure):
    """The event contradicts the state of the service."""
