"""All faults, in two groups that are injected side by side on servers.

Each waits for work in flight and is injected then; a fault that finds none fails the run.
"""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

from tests.chaos import message_faults, neighbour_faults, process_faults, server_faults


@dataclass(frozen=True, slots=True)
class Fault:
    """One kind of fault.

    Attributes:
        family: what it affects.
        inject: injects it; returns what it hit.
        is_short: whether the short run includes it.
    """

    name: str
    family: str
    inject: Callable[[Any, Random], str]  # of the environments that have what it affects
    is_short: bool = False


SERVERS = (
    Fault("broker killed and restarted", "broker", server_faults.kill_broker, is_short=True),
    Fault("broker frozen past the heartbeat", "broker", server_faults.freeze_broker),
    Fault("broker out of memory", "broker", server_faults.exhaust_broker_memory),
    Fault(
        "database killed during a commit",
        "database",
        server_faults.kill_database_in_commit,
        is_short=True,
    ),
    Fault("database restarted", "database", server_faults.restart_database),
    Fault("database frozen", "database", server_faults.freeze_database),
    Fault("mail server down", "mail", server_faults.stop_mail_server, is_short=True),
    Fault("mail server slow", "mail", server_faults.slow_mail_server),
    Fault("mail server refusing", "mail", server_faults.refuse_mail),
)
"""One after the other, at the same time as those of processes."""

NEIGHBOURS = (
    Fault("service that lies", "neighbour", neighbour_faults.lie, is_short=True),
    Fault("service that is greedy", "neighbour", neighbour_faults.be_greedy, is_short=True),
)
"""Those that need no servers: the embedded system has only these."""

PROCESSES = (
    Fault(
        "consumer killed before its commit",
        "process",
        process_faults.kill_before_commit,
        is_short=True,
    ),
    Fault(
        "consumer killed between commit and acknowledgement",
        "process",
        process_faults.kill_before_acknowledgement,
        is_short=True,
    ),
    Fault(
        "relay killed between confirm and mark",
        "process",
        process_faults.kill_relay_before_mark,
        is_short=True,
    ),
    Fault("each service asked to stop, and restarted", "process", process_faults.terminate_each),
    Fault("consumer frozen past the heartbeat", "process", process_faults.freeze_consumer),
    Fault("network between service and broker cut", "network", process_faults.cut_from_broker),
    Fault("network from broker to service cut", "network", process_faults.block_from_broker),
    Fault("connection to the broker half open", "network", process_faults.half_open_to_broker),
    Fault(
        "network between service and database cut",
        "network",
        process_faults.cut_from_database,
        is_short=True,
    ),
    Fault(
        "duplicate, late and reordered deliveries",
        "message",
        message_faults.repeat_and_reorder,
        is_short=True,
    ),
    Fault(
        "malformed, unknown and future messages",
        "message",
        message_faults.send_unprocessable_messages,
        is_short=True,
    ),
    Fault("message that kills its process", "message", message_faults.poison, is_short=True),
    Fault("handler that hangs", "message", message_faults.hang, is_short=True),
    Fault(
        "dead queue deleted and recreated",
        "message",
        message_faults.recreate_dead_queue,
        is_short=True,
    ),
    *NEIGHBOURS,
)
