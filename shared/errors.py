"""One tree of errors; each class says what becomes of the delivery, or of the command.

    ShopError
    ├── InvalidInput               a person can put it right; exit code 2
    ├── OperationFailed           it was understood and could not be done; exit code 1
    │   └── BrokerUnavailable    the broker cannot be reached for now
    │       └── BrokerRefused    it was reached and refuses us: trying again is no use
    ├── DependencyUnavailable        what the service stands on is away: stop consuming, hand back
    ├── TransientFailure         may go well later: retried after the broker's delay
    │   ├── NotKnownYet          an event that comes before the one it builds on
    │   └── DeadlineExceeded     its handler hung; its process ends, and counts one attempt
    └── PermanentFailure         will never go well: dead at once
        ├── MalformedEvent       not an event at all
        │   └── EventTooLarge    above the size that the broker and the contract allow
        ├── UnsupportedVersion   an event that this code has no contract for
        ├── NotSubscribed        an event that no handler of this service asked for
        ├── OlderThanTheInbox    too old to tell whether it has been handled before
        └── Impossible           contradicts what this service knows

An error outside this tree is unforeseen and is retried like a transient one. Messages of this
tree hold ids and values of no person: they are recorded, logged and shown as they are.
"""

from typing import ClassVar


class ShopError(Exception):
    """Something went wrong.

    Attributes:
        may_succeed_on_redrive: whether an event that died of it may be handled when a person
            sends it again.
    """

    may_succeed_on_redrive: ClassVar[bool] = True

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or (type(self).__doc__ or "").partition("\n")[0])


class InvalidInput(ShopError):
    """The input cannot be used as it is."""


class OperationFailed(ShopError):
    """The command was understood and could not be done."""


class BrokerUnavailable(OperationFailed):
    """The broker cannot be reached."""


class BrokerRefused(BrokerUnavailable):
    """The broker refuses this service."""


class DependencyUnavailable(ShopError):
    """Something that the service stands on is away."""


class TransientFailure(ShopError):
    """It may go well later."""


class NotKnownYet(TransientFailure):
    """The event that this one builds on has not arrived yet."""


class DeadlineExceeded(TransientFailure):
    """The handler took longer than its deadline."""


class PermanentFailure(ShopError):
    """It will never go well."""


class MalformedEvent(PermanentFailure):
    """The message is no event."""

    may_succeed_on_redrive = False


class EventTooLarge(MalformedEvent):
    """The event is larger than 1 MiB."""


class UnsupportedVersion(PermanentFailure):
    """This service has no contract for that type and version of event."""


class NotSubscribed(PermanentFailure):
    """This service did not subscribe to that type of event."""


class OlderThanTheInbox(PermanentFailure):
    """The event is older than the inbox remembers, so it may have been handled before."""


class Impossible(PermanentFailure):
    """The event contradicts what this service knows."""


def error_named(name: str) -> type[ShopError] | None:
    """The class of this tree with that name; None where none has it."""
    classes: list[type[ShopError]] = [ShopError]
    for each in classes:  # grows meanwhile
        classes += each.__subclasses__()
    return next((each for each in classes if each.__name__ == name), None)
