"""A broker user for each service, who may do what that service does and nothing else.

Source: https://www.rabbitmq.com/docs/access-control
"""

import re
from collections.abc import Iterable, Mapping

from shared.messaging.rabbitmq.management import Management
from shared.messaging.topology import EVENTS, HISTORY, REPLAYS, Queue, Topology, dead_queue

_NOTHING = "^$"


def grant(
    admin_url: str,
    topology: Topology,
    passwords: Mapping[str, str],
    *,
    operator: str | None = None,
    vhost: str = "/",
) -> None:
    """Create or update the users; again changes nothing.

    Args:
        passwords: by user; a service that has none gets no user.
        operator: the user who reads the history and sees the queues, and writes nothing; None
            for no such user.

    Raises:
        BrokerUnavailable: the management API cannot be reached, or refuses.
    """
    management = Management(admin_url)
    for queue in topology.queues:
        if queue.name in passwords:
            _user(management, queue.name, passwords[queue.name])
            _service(management, queue, vhost)
    if operator is not None:
        _user(management, operator, passwords[operator], tags="monitoring")
        _permissions(management, operator, vhost, write=_NOTHING, read=_exactly([HISTORY]))


def _user(management: Management, name: str, password: str, *, tags: str = "") -> None:
    management.put("users", name, content={"password": password, "tags": tags})


def _service(management: Management, queue: Queue, vhost: str) -> None:
    name = queue.name
    exchanges = [EVENTS, REPLAYS] if queue.publishes else [REPLAYS]
    _permissions(
        management,
        name,
        vhost,
        write=_exactly([*exchanges, name]),
        read=_exactly([EVENTS, name, dead_queue(name), HISTORY]),
    )
    # Without any, access to topics is open.
    _topics(management, name, vhost, EVENTS, write=queue.publishes, read=queue.topics)
    _topics(management, name, vhost, REPLAYS, write=[name], read=[])


def _permissions(management: Management, user: str, vhost: str, *, write: str, read: str) -> None:
    content = {"configure": _NOTHING, "write": write, "read": read}
    management.put("permissions", vhost, user, content=content)


def _topics(  # noqa: PLR0913 - one row of a table
    management: Management,
    user: str,
    vhost: str,
    exchange: str,
    *,
    write: Iterable[str],
    read: Iterable[str],
) -> None:
    content = {"exchange": exchange, "write": _exactly(write), "read": _exactly(read)}
    management.put("topic-permissions", vhost, user, content=content)


def _exactly(names: Iterable[str]) -> str:
    """A pattern that these names match, and no other: a prefix would let events be forged."""
    return f"^({'|'.join(re.escape(each) for each in sorted(names))})$"
