"""Runs the demo: the real services process a few orders on temporary files.

Only the customers and the refusals of the mail server are simulated. The demo prints what the
services do, checks each service's state at the end, and fails if a check fails.
"""

import io
import sys
import tempfile
import time
from dataclasses import asdict

from rich.console import Console

from services.email.errors import MailRefused, MailRefusedForNow
from services.email.service import email
from shared.operations.console import print_json
from shared.operations.dead_letters.dead_queue import DeadQueue
from shared.operations.dead_letters.listing import group_letters, letter_details
from shared.operations.dead_letters.retry import retry
from shared.runtime.hints import command
from shared.runtime.settings import settings_override
from shop import registry
from shop.demo.checks import ANOTHER_CUSTOMER, CUSTOMER, Check, checks, print_checks
from shop.demo.gifts import GiftService
from shop.demo.narrator import Narrator
from shop.demo.system import DemoSystem


def play(console: Console | None = None) -> int:
    """Run the demo; return the exit code, 0 if all checks passed, else 1."""
    if console is None:
        console = Console(highlight=False, width=None if sys.stdout.isatty() else 100)
    console.print("Six services in one process, each with its own database; no server is needed.")
    started = time.monotonic()
    results = _results(console)
    print_checks(console, results, seconds=time.monotonic() - started)
    return 0 if all(check.passed for check in results) else 1


def play_quietly() -> int:
    """Run the demo, and print only its checks, as JSON; return the exit code."""
    results = _results(Console(file=io.StringIO()))
    print_json([asdict(check) | {"passed": check.passed} for check in results])
    return 0 if all(check.passed for check in results) else 1


def _results(console: Console) -> list[Check]:
    """Run the demo and check each service's state at the end."""
    narrator = Narrator(console)
    gifts = GiftService(registry.names())
    log = io.StringIO()
    try:
        with (
            tempfile.TemporaryDirectory(prefix="past-tense-") as home,
            settings_override(home=home, email_retry_delay=0.1, log_level="error"),
        ):
            system = DemoSystem(log, narrator.on_delivery)
            with system.running():
                _process_orders(system, narrator)
                _retry_dead_letter(system, narrator)
                _add_service(system, narrator, gifts)
                return [*checks(system.query), *gifts.checks()]
    except BaseException:
        # The narrator prints the expected failures; the log explains this one.
        sys.stderr.write(log.getvalue())
        raise


def _process_orders(system: DemoSystem, narrator: Narrator) -> None:
    narrator.headline(f"{CUSTOMER} orders 2 × product-1 and 1 × product-2: ORD-123, 99.99 EUR")
    system.place("ORD-123", CUSTOMER, {"product-1": 2, "product-2": 1})
    narrator.headline(
        "ORD-124: the mail server refuses its email twice; the other services continue"
    )
    busy = MailRefusedForNow("the mail server answered 450")
    system.mailer.refuse("ORD-124", busy, busy)
    system.place("ORD-124", CUSTOMER, {"product-1": 1})
    narrator.headline("ORD-123 is paid: the last condition for shipping it")
    system.pay("ORD-123", "99.99")
    narrator.headline("ORD-125: 8 × product-3 are ordered, but only 5 are in stock")
    system.place("ORD-125", CUSTOMER, {"product-3": 8})
    narrator.headline(
        "ORD-126: the mail server refuses its email permanently, which makes a dead letter"
    )
    system.mailer.refuse("ORD-126", MailRefused("the mail server answered 550"))
    system.place("ORD-126", ANOTHER_CUSTOMER, {"product-1": 1})


def _retry_dead_letter(system: DemoSystem, narrator: Narrator) -> None:
    """Call the functions behind the `shop dead` commands."""
    narrator.headline("Show dead letters: shop dead list email, shop dead show email EVENT_ID")
    with DeadQueue.opened(email) as queue:
        for group in group_letters(queue):
            letter = letter_details(queue, group.example)
            reason = letter["attempts"][-1]["message"]
            narrator.output(
                f"{group.count} × {group.event_type}, {group.error}: {letter['subject']}, {reason}"
            )
    narrator.headline("The mail server accepts emails again: shop dead retry email --all")
    with DeadQueue.opened(email) as queue:
        retried = retry(queue)
    narrator.output(f"{retried.retried} retried, {retried.duplicates} duplicates")
    system.wait_until_idle()


def _add_service(system: DemoSystem, narrator: Narrator, gifts: GiftService) -> None:
    name = gifts.service.name
    narrator.headline(
        f"A new service, {name}, handles all past events: {command('run', name, from_history='')}"
    )
    system.start(gifts.service, from_history=True)
    system.wait_until_idle()
