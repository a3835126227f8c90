"""The demo: the classic story, played by the real services on temporary files.

Nothing is simulated but the customer and a mail server that twice refuses a mail. It tells what
happens as the services do it, then looks into each service's own database, and fails when that is
not as it should be.
"""

import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from email.message import EmailMessage
from functools import partial
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from services import registry
from services.analytics.report import report
from services.email.mailer import Mailer
from services.email.refusals import MailRefusedForNow
from services.email.store import EmailStore
from services.inventory.store import InventoryStore
from services.loyalty.store import LoyaltyStore
from services.orders.paying import Payment, pay_order
from services.orders.placing import NewOrder, place_order
from services.orders.service import orders
from services.orders.store import OrdersStore
from services.shipping.store import ShippingStore
from shared.errors import CouldNotBeDone
from shared.messaging.port import Outcome
from shared.messaging.topology import topics_matched
from shared.runtime.logs import log_to
from shared.runtime.process import ServiceGroup
from shared.runtime.reacting import Reacted
from shared.runtime.setting_up import set_up_embedded
from shared.runtime.settings import only, settings_for
from shared.storage.database import Database
from shared.storage.tables import inbox, outbox

CUSTOMER = "customer@example.com"
ADDRESS = "123 Main St, Springfield"
PATIENCE = 20.0
"""Seconds until what should happen is given up."""

STYLES = {
    "orders": "cyan",
    "inventory": "green",
    "email": "magenta",
    "shipping": "blue",
    "analytics": "bright_black",
    "loyalty": "yellow",
}


class ReluctantMailer:
    """A real mailer in front of which a server refuses one mail a few times, and then takes it."""

    def __init__(self, mailer: Mailer, *, subject_part: str, refusals: int) -> None:
        self.sender = mailer.sender
        self._mailer = mailer
        self._subject_part = subject_part
        self._refusals = refusals

    def send(self, message: EmailMessage) -> None:
        """Refuse, or hand over."""
        if self._refusals and self._subject_part in str(message["Subject"]):
            self._refusals -= 1
            raise MailRefusedForNow("the mail server said 450: try again later")
        self._mailer.send(message)

    def probe(self) -> None:
        """It answers."""
        self._mailer.probe()

    def close(self) -> None:
        """Let go of it."""
        self._mailer.close()


class Narrator:
    """Tells each reaction in a line, from whichever thread it comes."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._lock = threading.Lock()

    def headline(self, sentence: str) -> None:
        """Something that a person does."""
        with self._lock:
            self._console.print(f"\n[bold]{sentence}[/bold]")

    def hear(self, service: str, reacted: Reacted) -> None:
        """Something that a service did."""
        if service == "analytics" or reacted.event is None or reacted.duplicate:
            return
        line = Text("  ")
        line.append(f"{service:<10}", STYLES.get(service, "white"))
        line.append(f"{reacted.event.topic:<17}", "dim")
        if reacted.outcome is Outcome.RETRY:
            line.append(f"✗ {reacted.error}; attempt {reacted.delivery.attempt}", "red")
        else:
            line.append(", ".join(reacted.deeds) or "noted")
            if reacted.delivery.attempt > 1:
                line.append(f" (attempt {reacted.delivery.attempt})", "bold green")
        for each in reacted.published:
            line.append(f"  → {each.rpartition('.v')[0]}", "bold")
        with self._lock:
            self._console.print(line)


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that must be so in the end."""

    service: str
    what: str
    found: object
    expected: object

    @property
    def is_well(self) -> bool:
        """Whether it is so."""
        return self.found == self.expected


class Play:
    """The services at work in a temporary folder."""

    def __init__(self, console: Console) -> None:
        services = registry.all_services()
        settings = settings_for()
        set_up_embedded(services, settings)
        self.console = console
        self.narrator = Narrator(console)
        self.databases = {
            each.name: Database(settings.database_url_of(each.name)) for each in services
        }
        self._services = {each.name: each for each in services}
        mailer = ReluctantMailer(Mailer.opened(settings), subject_part="ORD-124", refusals=2)
        self._group = ServiceGroup(
            services,
            log_to(sys.stderr, settings),
            listeners=[self.narrator.hear],
            outside={"email": mailer},
        )

    @contextmanager
    def running(self) -> Iterator[None]:
        """Run the services during the block."""
        self._group.start()
        try:
            yield
        finally:
            self._group.stop(PATIENCE)
            for database in self.databases.values():
                database.close()

    def place(self, order_id: str, **items: int) -> None:
        """A customer orders."""
        wanted = {sku.replace("_", "-"): number for sku, number in items.items()}
        new = NewOrder(
            order_id=order_id,
            customer_email=CUSTOMER,
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
        """Wait until every event has been sent, and handled by all who subscribed.

        Raises:
            CouldNotBeDone: it does not become quiet.
        """
        until = time.monotonic() + PATIENCE
        while not self._is_quiet():
            if time.monotonic() > until:
                raise CouldNotBeDone(f"the services did not come to rest within {PATIENCE:.0f} s")
            time.sleep(0.01)

    def _is_quiet(self) -> bool:
        said = self._said()
        if not all(row.sent_at for row in said):
            return False
        for name, database in self.databases.items():
            with database.read() as connection:
                handled = {row.event_id for row in connection.execute(inbox.select())}
            topics = self._services[name].topics
            if any(
                row.event_id not in handled for row in said if topics_matched(topics, row.topic)
            ):
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
    with (
        tempfile.TemporaryDirectory(prefix="past-tense-") as home,
        only(home=home, email_retry_step=0.1, log_level="error"),
    ):
        stage = Play(console)
        with stage.running():
            _story(stage)
            checks = list(_checks(stage))
    _print(console, checks, seconds=time.monotonic() - began)
    return 0 if all(each.is_well for each in checks) else 1


def _story(stage: Play) -> None:
    tell = stage.narrator.headline
    tell(f"{CUSTOMER} orders 2 × product-1 and 1 × product-2: ORD-123, 99.99 EUR")
    stage.place("ORD-123", product_1=2, product_2=1)
    stage.until_quiet()
    tell("Another order, ORD-124; the mail server refuses its mail twice, and nobody else waits")
    stage.place("ORD-124", product_1=1)
    stage.until_quiet()
    tell("The first order is paid; shipping has been waiting for that")
    stage.pay("ORD-123", "99.99")
    stage.until_quiet()
    tell("ORD-125 wants 8 × product-3, and there are 5")
    stage.place("ORD-125", product_3=8)
    stage.until_quiet()


def _checks(stage: Play) -> Iterator[Check]:
    yield from _order_checks(stage)
    stock = {
        row["sku"]: (row["available"], row["reserved"])
        for row in stage.look("inventory", InventoryStore.stock)
    }
    wanted = {"product-1": (97, 3), "product-2": (49, 1), "product-3": (5, 0)}
    for sku, figures in wanted.items():
        yield Check("inventory", f"{sku}: available, reserved", stock.get(sku), figures)
    mails = [row["kind"] for row in stage.look("email", EmailStore.sent)]
    for kind, number in (("confirmation", 3), ("shipping", 1), ("cancellation", 1)):
        yield Check("email", f"mails: {kind}", mails.count(kind), number)
    shipments = {
        row["order_id"]: row["status"] for row in stage.look("shipping", ShippingStore.listed)
    }
    for order_id, status in (("ORD-123", "shipped"), ("ORD-124", "open"), ("ORD-125", "void")):
        yield Check("shipping", order_id, shipments.get(order_id), status)
    points = stage.look("loyalty", lambda store: LoyaltyStore.balance(store, CUSTOMER))
    yield Check("loyalty", "points: 99 + 49, and 196 taken back", points, 99 + 49)
    told = stage.look("analytics", lambda store: report(store.connection))
    yield Check("analytics", "orders placed", told["orders_placed"], 3)
    yield Check("analytics", "orders cancelled", told["orders_cancelled"], 1)
    yield Check("analytics", "revenue", told["revenue"], Decimal("99.99"))


def _order_checks(stage: Play) -> Iterator[Check]:
    for order_id, status in (
        ("ORD-123", "shipped"),
        ("ORD-124", "reserved"),
        ("ORD-125", "cancelled"),
    ):
        order = stage.look("orders", partial(OrdersStore.find, order_id=order_id))
        yield Check("orders", order_id, order and order.status, status)


def _print(console: Console, checks: list[Check], *, seconds: float) -> None:
    table = Table(box=SIMPLE_HEAD, title="\nWhat each service now knows", title_justify="left")
    for heading in ("service", "", "is", ""):
        table.add_column(heading)
    before = ""
    for each in checks:
        shown = "" if each.service == before else each.service
        before = each.service
        verdict = "[green]✓[/]" if each.is_well else f"[red]✗ should be {_plain(each.expected)}[/]"
        service = f"[{STYLES.get(each.service, 'white')}]{shown}[/]"
        table.add_row(service, each.what, _plain(each.found), verdict)
    console.print(table)
    wrong = sum(not each.is_well for each in checks)
    ending = f"[red]{wrong} things are not as they should be[/]" if wrong else "All as it should be"
    console.print(f"{ending}, after {seconds:.1f} s.")
    console.print(
        "Yours: [bold]shop up[/], and in another terminal [bold]shop orders place --help[/]"
    )


def _plain(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
