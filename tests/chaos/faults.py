"""All faults there are, in the two lanes in which they are done.

Each waits for work in flight and strikes at that moment, or the run fails.
"""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from tests.chaos import message_faults, process_faults, server_faults
from tests.chaos.site import Site


@dataclass(frozen=True, slots=True)
class Fault:
    """One kind of fault.

    Attributes:
        family: what it is done to.
        strike: does it; answers what it hit.
        is_short: whether the short run has it.
    """

    name: str
    family: str
    strike: Callable[[Site, Random], str]
    is_short: bool = False


SERVERS = (
    Fault("broker killed and restarted", "broker", server_faults.kill_broker, is_short=True),
    Fault("broker frozen past the heartbeat", "broker", server_faults.freeze_broker),
    Fault("broker out of memory", "broker", server_faults.fill_broker),
    Fault(
        "database killed in mid-commit",
        "database",
        server_faults.kill_database_in_commit,
        is_short=True,
    ),
    Fault("database restarted", "database", server_faults.restart_database),
    Fault("database frozen", "database", server_faults.freeze_database),
    Fault("mail server away", "mail", server_faults.mail_away, is_short=True),
    Fault("mail server slow", "mail", server_faults.mail_slow),
    Fault("mail server refusing", "mail", server_faults.mail_refusing),
)
"""One after the other, beside those of processes."""

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
    Fault("network from broker to service cut", "network", process_faults.deafen_to_broker),
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
        message_faults.send_strangers,
        is_short=True,
    ),
    Fault("message that kills its process", "message", message_faults.poison, is_short=True),
    Fault("handler that hangs", "message", message_faults.hang, is_short=True),
    Fault(
        "dead queue deleted and made again",
        "message",
        message_faults.remake_dead_queue,
        is_short=True,
    ),
)
