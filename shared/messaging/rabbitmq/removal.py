"""Removes what a former service has at the broker: queues, bindings, policy and user."""

from shared.errors import InvalidInput
from shared.messaging.rabbitmq.declarations import is_service_queue, policy_name
from shared.messaging.rabbitmq.management import Management
from shared.messaging.topology import dead_queue


def size(management: Management, vhost: str, queue: str) -> int | None:
    """All messages of a queue, also delayed and held ones; None if there is no such queue."""
    found = management.get("queues", vhost, queue)
    return None if found is None else int(found.get("messages", 0))


def remove(management: Management, vhost: str, service: str, *, has_user: bool) -> None:
    """Delete a service's queues with their messages and bindings, its policy, and its user.

    Args:
        has_user: whether each service has a broker user of its name.

    Raises:
        InvalidInput: the queue of that name is not a service's.
        BrokerUnavailable: the management API cannot be reached, or refuses.
    """
    found = management.get("queues", vhost, service)
    if found is not None and not is_service_queue(found.get("arguments")):
        raise InvalidInput(f"the broker's queue {service} is not the queue of a service")
    if has_user:
        # First, so that a process of it can no longer connect; its permissions go with it.
        management.delete("users", service)
    management.delete("queues", vhost, service)
    management.delete("queues", vhost, dead_queue(service))
    management.delete("policies", vhost, policy_name(service))
