"""All errors of the project in one tree: each class decides what becomes of a delivery or command.

    ShopError                        delivery: retried; command: exit code 1
    ├── InvalidInput                 command: exit code 2, the user can correct the input
    ├── OperationFailed              command: exit code 1
    │   ├── CommitOutcomeUnknown     delivery: requeued if the probe fails, else retried
    │   ├── UnreadableContractFile   `make contracts`: exit code 1
    │   └── BrokerUnavailable        process: waits and connects again
    │       └── BrokerRefused        process: gives up, connecting again does not help
    │           └── BrokerTooOld     process: gives up
    ├── DependencyUnavailable        delivery: requeued uncounted; consuming stops for now
    ├── UndeclaredEvent              delivery: retried, the code of the service is wrong
    ├── EventIsImmutable             delivery: retried, the code of the service is wrong
    ├── TransientFailure             delivery: retried after the queue's delay, dead past its limit
    │   ├── NotKnownYet
    │   └── DeadlineExceeded         the process ends as well
    └── PermanentFailure             delivery: dead at once
        ├── MalformedEvent           a redrive cannot succeed
        │   └── EventTooLarge        a redrive cannot succeed
        ├── ForgedEvent              no redrive with `--all`
        ├── ConflictingEvent         a redrive cannot succeed
        ├── UnsupportedVersion
        ├── NotSubscribed
        ├── OlderThanTheInbox
        └── Impossible

The RabbitMQ adapter and some services define a few errors of their own below these classes. Any
other exception is unforeseen: a delivery is retried, a command ends with a traceback.

Messages hold ids and values but no personal data: they are recorded, logged and shown unchanged.
Class names are recorded in databases, so a renamed class no longer matches older records.
"""

from collections.abc import Iterator
from typing import ClassVar


class ShopError(Exception):
    """An error without further details.

    Args:
        message: one sentence; the first line of the class docstring by default.

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
    """Find an error class by its name, as failed attempts record it.

    Returns:
        The class; None if no class of that name is in the tree or its module is not imported.
    """
    return next((each for each in _tree(ShopError) if each.__name__ == name), None)


def _tree(root: type[ShopError]) -> Iterator[type[ShopError]]:
    yield root
    for subclass in root.__subclasses__():
        yield from _tree(subclass)


class InvalidInput(ShopError):
    """The input is not valid.

    The command ends with exit code 2; the message says what is expected.
    """


class OperationFailed(ShopError):
    """The command could not be carried out.

    The input was valid. The command ends with exit code 1.
    """


class CommitOutcomeUnknown(OperationFailed):
    """The connection to the database was lost during the commit: the outcome is unknown.

    A delivery is requeued if the database does not answer a probe, else retried; the inbox makes
    both safe. A command ends with exit code 1.
    """


class UnreadableContractFile(OperationFailed):
    """A published schema or example file is not a JSON object.

    `make contracts` ends with exit code 1.
    """


class BrokerUnavailable(OperationFailed):
    """The broker cannot be reached.

    A service waits and connects again. A command ends with exit code 1.
    """


class BrokerRefused(BrokerUnavailable):
    """The broker refuses this service.

    Connecting again does not help: wrong credentials, missing permission or an unsupported
    version. A service gives up after a few attempts; a command ends with exit code 1.
    """


class BrokerTooOld(BrokerRefused):
    """The broker is older than this system needs."""


class DependencyUnavailable(ShopError):
    """A dependency of the service is unavailable.

    The service stops consuming, requeues what it holds without counting an attempt, and resumes
    when the dependency answers again.
    """


class UndeclaredEvent(ShopError):
    """A service publishes an event that its declaration does not name.

    The broker would refuse it. The delivery is retried: a corrected version of the service may be
    deployed before the limit is reached.
    """


class EventIsImmutable(ShopError, AttributeError):
    """An event cannot be changed.

    Also an AttributeError, as for any frozen object. The delivery is retried.
    """


class TransientFailure(ShopError):
    """The attempt failed; a later one may succeed.

    The delivery is retried after the queue's delay and is dead past its limit.
    """


class NotKnownYet(TransientFailure):
    """The event on which this one builds has not arrived yet."""


class DeadlineExceeded(TransientFailure):
    """The handler exceeded its deadline.

    The attempt counts, all other deliveries are requeued, and the process ends.
    """


class PermanentFailure(ShopError):
    """The event can never be handled.

    The delivery is dead at once, without a retry.
    """


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


class UnsupportedVersion(PermanentFailure):
    """The service has no contract for this type and version of event."""


class NotSubscribed(PermanentFailure):
    """The service did not subscribe to this type of event."""


class OlderThanTheInbox(PermanentFailure):
    """The event is older than the inbox's retention, so it may have been handled before."""


class Impossible(PermanentFailure):
    """The event contradicts the state of the service."""
