"""Creates a broker user for each service, with permission for what that service does only.

The history holds the events of every customer: the operator reads it, and a service while it
catches up with it.

Source: https://www.rabbitmq.com/docs/access-control
"""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence

from shared.messaging.rabbitmq import user_limits
from shared.messaging.rabbitmq.management import Management
from shared.messaging.topology import EVENTS, HISTORY, REPLAYS, Queue, Topology, dead_queue

_NOTHING = "^$"


def grant(  # noqa: PLR0913 - who may do what, in one place
    admin_url: str,
    topology: Topology,
    passwords: Mapping[str, str],
    *,
    operator: str | None = None,
    history_readers: Collection[str] = (),
    vhost: str = "/",
) -> None:
    """Create or update the users; calling it again changes nothing.

    Args:
        passwords: by user; a service that has none gets no user.
        operator: the user who reads the history and sees the queues, and writes nothing; None
            for no such user.
        history_readers: the services that may read the history; any other may not from now on.

    Raises:
        BrokerUnavailable: the management API cannot be reached, or refuses.
    """
    management = Management(admin_url)
    for queue in topology.queues:
        if queue.name in passwords:
            _put_user(management, queue.name, passwords[queue.name])
            reads_history = queue.name in history_readers
            _grant_service(management, queue, vhost, [HISTORY] if reads_history else [])
            user_limits.put(management, queue.name)
    if operator is not None:
        _put_user(management, operator, passwords[operator], tags="monitoring")
        _put_permissions(management, operator, vhost, write=_NOTHING, read=_exactly([HISTORY]))


def _put_user(management: Management, name: str, password: str, *, tags: str = "") -> None:
    management.put("users", name, content={"password": password, "tags": tags})


def _grant_service(
    management: Management, queue: Queue, vhost: str, history: Sequence[str]
) -> None:
    name = queue.name
    exchanges = [EVENTS, REPLAYS] if queue.publishes else [REPLAYS]
    write = _exactly([*exchanges, name])
    read = _exactly([EVENTS, name, dead_queue(name), *history])
    _put_permissions(management, name, vhost, write=write, read=read)
    # A user without topic permissions may use every topic.
    topics: tuple[tuple[str, Iterable[str], Iterable[str]], ...] = (
        (EVENTS, queue.publishes, queue.topics),
        (REPLAYS, [name], []),
    )
    for exchange, writes, reads in topics:
        content = {"exchange": exchange, "write": _exactly(writes), "read": _exactly(reads)}
        management.put("topic-permissions", vhost, name, content=content)


def _put_permissions(
    management: Management, user: str, vhost: str, *, write: str, read: str
) -> None:
    content = {"configure": _NOTHING, "write": write, "read": read}
    management.put("permissions", vhost, user, content=content)


def _exactly(names: Iterable[str]) -> str:
    """A pattern for exactly these names; as a prefix, a name would match other services' too."""
    return f"^({'|'.join(re.escape(name) for name in sorted(names))})$"
