"""The demo: the classic story, played by the real services on temporary files.

Nothing is simulated but the customer and a mail server that refuses some mails. It tells what
happens as the services do it, then looks into each service's own database, and fails when that is
not as it should be.
"""

import io
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any, TextIO

from rich.console import Console
from rich.text import Text

from services.email.errors import MailRefused, MailRefusedForNow
from services.email.service import email
from services.orders.paying import Payment, pay_order
from services.orders.placing import NewOrder, place_order
from services.orders.service import orders
from shared.errors import OperationFailed
from shared.messaging.connect import broker_at
from shared.messaging.ports.consumer import Outcome
from shared.messaging.topology import dead_queue, topics_matched
from shared.operations.dead_letters.dead_queue import DeadQueue
from shared.operations.dead_letters.listing import grouped, letter_details
from shared.operations.dead_letters.retry import retry
from shared.runtime.logs import log_to
from shared.runtime.process import ServiceGroup
from shared.runtime.reactor import DeliveryResult
from shared.runtime.service import AnyService
from shared.runtime.settings import only, settings_for
from shared.runtime.setup import set_up_embedded
from shared.storage.database import Database
from shared.storage.tables import inbox, outbox
from shop import registry
from shop.demo.checks import ANOTHER, CUSTOMER, STYLES, checks, print_checks
from shop.demo.gifts import Gifts
from shop.demo.mailer import DemoMailer

ADDRESS = "123 Main St, Springfield"
PATIENCE = 20.0
"""Seconds until what should happen is given up."""


class Narrator:
    """Tells each reaction in a line, from whichever thread it comes."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._lock = threading.Lock()

    def headline(self, sentence: str) -> None:
        """Something that a person does."""
        with self._lock:
            self._console.print(f"\n[bold]{sentence}[/bold]")

    def say(self, sentence: str) -> None:
        """What a command answers."""
        with self._lock:
            self._console.print(f"  {sentence}")

    def hear(self, service: str, reacted: DeliveryResult) -> None:
        """Something that a service did."""
        if service == "analytics" or reacted.event is None or reacted.duplicate:
            return
        line = Text("  ")
        line.append(f"{service:<10}", STYLES.get(service, "white"))
        line.append(f"{reacted.event.topic:<17}", "dim")
        if reacted.error is not None:
            again = f"attempt {reacted.delivery.attempt}"
            ending = "dead" if reacted.outcome is Outcome.DEAD else again
            line.append(f"✗ {reacted.error}; {ending}", "red")
        else:
            line.append(", ".join(reacted.notes) or "noted")
            if reacted.delivery.attempt > 1:
                line.append(f" (attempt {reacted.delivery.attempt})", "bold green")
        for each in reacted.published:
            line.append(f"  → {each.rpartition('.v')[0]}", "bold")
        with self._lock:
            self._console.print(line)


class Play:
    """The services at work in a temporary folder."""

    def __init__(self, console: Console, log: TextIO) -> None:
        services = registry.all_services()
        settings = settings_for()
        set_up_embedded(services, settings)
        self.console = console
        self.narrator = Narrator(console)
        self.databases = {
            each.name: Database(settings.database_url_of(each.name)) for each in services
        }
        self._services = {each.name: each for each in services}
        self.mailer = DemoMailer.from_settings(settings)
        self._broker = broker_at(settings.broker_url_of("demo"))
        self._log = log_to(log, settings)
        first = ServiceGroup(
            services, self._log, listeners=[self.narrator.hear], gateway={"email": self.mailer}
        )
        self._groups = [first]

    @contextmanager
    def running(self) -> Iterator[None]:
        """Run the services during the block."""
        self._groups[0].start()
        try:
            yield
        finally:
            for each in self._groups:
                each.stop(PATIENCE)
            self._broker.close()
            for database in self.databases.values():
                database.close()

    def join(self, service: AnyService) -> None:
        """Somebody new joins, and begins with the history."""
        settings = settings_for(service.name)
        self._services[service.name] = service
        set_up_embedded(list(self._services.values()), settings)
        self.databases[service.name] = Database(settings.database_url_of(service.name))
        late = ServiceGroup([service], self._log, listeners=[self.narrator.hear], from_history=True)
        self._groups.append(late)
        late.start()

    def place(self, order_id: str, *, customer: str = CUSTOMER, **items: int) -> None:
        """A customer orders."""
        wanted = {sku.replace("_", "-"): number for sku, number in items.items()}
        new = NewOrder(
            order_id=order_id,
            customer_email=customer,
            shipping_address=ADDRESS,
            items=wanted,
        )
        with orders.unit_of_work(self.databases["orders"]) as work:
            place_order(new, work)

    def pay(self, order_id: str, amount: str) -> None:
        """A customer pays."""
        payment = Payment(order_id=order_id, amount=Decimal(amount), payment_method="card")
        with orders.unit_of_work(self.databases["orders"]) as work:
            pay_order(payment, work)

    def until_quiet(self) -> None:
        """Wait until every event has been sent, and is handled or dead with all who subscribed.

        Raises:
            OperationFailed: it does not become quiet.
        """
        until = time.monotonic() + PATIENCE
        while not self._is_quiet():
            if time.monotonic() > until:
                raise OperationFailed(f"the services did not come to rest within {PATIENCE:.0f} s")
            time.sleep(0.01)

    def _is_quiet(self) -> bool:
        said = self._said()
        if not all(row.sent_at for row in said):
            return False
        for name, database in self.databases.items():
            with database.read() as connection:
                handled = {row.event_id for row in connection.execute(inbox.select())}
            topics = self._services[name].topics
            mine = {row.event_id for row in said if topics_matched(topics, row.topic)}
            left = len(mine - handled)
            if left and left != self._broker.depth(dead_queue(name)).ready:
                return False
        # Handling may have led to more since; if it has not, nothing is left that could.
        return len(self._said()) == len(said)

    def _said(self) -> list[Any]:
        rows: list[Any] = []
        for database in self.databases.values():
            with database.read() as connection:
                rows += connection.execute(outbox.select())
        return rows

    def look(self, service: str, ask: Callable[[Any], Any]) -> Any:  # noqa: ANN401 - whatever is asked
        """Look into a service's own database."""
        with self.databases[service].read() as connection:
            database = self.databases[service]
            return ask(self._services[service].store(connection, database))


def play(console: Console | None = None) -> int:
    """Play the story.

    Returns:
        0 when every service's state is as it should be, else 1.
    """
    if console is None:
        console = Console(highlight=False, width=None if sys.stdout.isatty() else 100)
    console.print("Six services in one process, each with a database of its own; no server.")
    began = time.monotonic()
    log = io.StringIO()
    with (
        tempfile.TemporaryDirectory(prefix="past-tense-") as home,
        only(home=home, email_retry_delay=0.1, log_level="error"),
        _telling(log),
    ):
        stage = Play(console, log)
        with stage.running():
            _story(stage)
            gifts = _welcome_a_newcomer(stage)
            found = [*checks(stage.look), *gifts.checks()]
    print_checks(console, found, seconds=time.monotonic() - began)
    return 0 if all(each.is_well for each in found) else 1


@contextmanager
def _telling(log: io.StringIO) -> Iterator[None]:
    """What goes wrong on purpose is narrated; the log is for what does so unasked."""
    try:
        yield
    except BaseException:
        sys.stderr.write(log.getvalue())
        raise


def _story(stage: Play) -> None:
    tell = stage.narrator.headline
    tell(f"{CUSTOMER} orders 2 × product-1 and 1 × product-2: ORD-123, 99.99 EUR")
    stage.place("ORD-123", product_1=2, product_2=1)
    stage.until_quiet()
    tell("Another order, ORD-124; the mail server refuses its mail twice, and nobody else waits")
    busy = MailRefusedForNow("the mail server answered 450")
    stage.mailer.refuse("ORD-124", busy, busy)
    stage.place("ORD-124", product_1=1)
    stage.until_quiet()
    tell("The first order is paid; shipping has been waiting for that")
    stage.pay("ORD-123", "99.99")
    stage.until_quiet()
    tell("ORD-125 wants 8 × product-3, and there are 5")
    stage.place("ORD-125", product_3=8)
    stage.until_quiet()
    tell(f"{ANOTHER} orders ORD-126; its mail is refused for good and dies, in email alone")
    stage.mailer.refuse("ORD-126", MailRefused("the mail server answered 550"))
    stage.place("ORD-126", customer=ANOTHER, product_1=1)
    stage.until_quiet()
    _mend_what_died(stage)


def _mend_what_died(stage: Play) -> None:
    """Look at dead letters, and retry them, by what `shop dead` calls."""
    tell, say = stage.narrator.headline, stage.narrator.say
    tell("What died, and why? (shop dead list email, shop dead show email EVENT_ID)")
    with DeadQueue.opened(email) as queue:
        for group in grouped(queue):
            letter = letter_details(queue, group.example)
            last = letter["attempts"][-1]
            died = f"{group.count} × {group.event_type}, {group.error}"
            say(f"{died}: {letter['subject']}, {last['message']}")
    tell("The mail server has been mended: shop dead retry email --all")
    with DeadQueue.opened(email) as queue:
        done = retry(queue)
    say(f"retried {done.retried}, duplicates {done.duplicates}")
    stage.until_quiet()


def _welcome_a_newcomer(stage: Play) -> Gifts:
    gifts = Gifts(registry.names())
    stage.narrator.headline(
        f"{gifts.service.name} joins, which nobody has heard of, and hears it all: "
        "shop run NAME --from-history"
    )
    stage.join(gifts.service)
    stage.until_quiet()
    return gifts
