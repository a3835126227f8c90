"""Limits the connections and channels of each service's user, so that none can use up the broker.

A process of a service holds at most 6 connections: its consumer and its publisher, and while it
catches up a second publisher, two for reading the history, and one to bind its queue. After a loss
of the network the broker keeps the old ones beside the new ones until their heartbeats time out
(`address.HEARTBEAT`), which makes 12. So MAX_CONNECTIONS is enough for five processes of one
service that all catch up and have all just lost the network, and for 32 that do neither. A
connection has one channel, for moments two; MAX_CHANNELS is four for each connection.

Source: https://www.rabbitmq.com/docs/user-limits
"""

from collections.abc import Iterable, Iterator

from shared.messaging.rabbitmq.management import Management

MAX_CONNECTIONS = 64
MAX_CHANNELS = 4 * MAX_CONNECTIONS

LIMITS = {"max-connections": MAX_CONNECTIONS, "max-channels": MAX_CHANNELS}
"""By the broker's name for each."""


def put(management: Management, user: str) -> None:
    """Set the limits of a user; setting them again changes nothing."""
    for name, value in LIMITS.items():
        management.put("user-limits", user, name, content={"value": value})


def differences(management: Management, users: Iterable[str]) -> Iterator[str]:
    """A sentence for each limit that a user lacks, or that is another."""
    for user in users:
        # A user with the tag "monitoring" may read those of one user; all only an administrator.
        existing = management.get("user-limits", user) or [{"value": {}}]
        for name, value in LIMITS.items():
            found = existing[0]["value"].get(name)
            if found != value:
                actual = "no limit" if found is None else f"the limit {found}"
                yield f"the broker's user {user} has {actual} of {name}, it should be {value}"
