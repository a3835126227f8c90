"""How the demo ends: what each service should know by then, and does."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from services.analytics.report import report
from services.email.store import EmailStore
from services.inventory.store import InventoryStore
from services.loyalty.store import LoyaltyStore
from services.orders.store import OrdersStore
from services.shipping.store import ShippingStore

CUSTOMER = "customer@example.com"
ANOTHER = "another@example.com"

STYLES = {
    "orders": "cyan",
    "inventory": "green",
    "email": "magenta",
    "shipping": "blue",
    "analytics": "bright_black",
    "loyalty": "yellow",
}

Look = Callable[[str, Callable[[Any], Any]], Any]
"""Looks into a service's own database."""


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


def checks(look: Look) -> Iterator[Check]:
    """What each service knows in the end, and should know."""
    yield from _order_checks(look)
    stock = {
        row["sku"]: (row["available"], row["reserved"])
        for row in look("inventory", InventoryStore.stock)
    }
    wanted = {"product-1": (96, 4), "product-2": (49, 1), "product-3": (5, 0)}
    for sku, figures in wanted.items():
        yield Check("inventory", f"{sku}: available, reserved", stock.get(sku), figures)
    mails = [row["kind"] for row in look("email", EmailStore.sent)]
    for kind, number in (("confirmation", 4), ("shipping", 1), ("cancellation", 1)):
        yield Check("email", f"mails: {kind}", mails.count(kind), number)
    shipments = {row["order_id"]: row["status"] for row in look("shipping", ShippingStore.listed)}
    for order_id, status in (
        ("ORD-123", "shipped"),
        ("ORD-124", "open"),
        ("ORD-125", "void"),
        ("ORD-126", "open"),
    ):
        yield Check("shipping", order_id, shipments.get(order_id), status)
    points = look("loyalty", lambda store: LoyaltyStore.balance(store, CUSTOMER))
    yield Check("loyalty", "points: 99 + 49, and 196 taken back", points, 99 + 49)
    told = look("analytics", lambda store: report(store.connection))
    yield Check("analytics", "orders placed", told["orders_placed"], 4)
    yield Check("analytics", "orders cancelled", told["orders_cancelled"], 1)
    yield Check("analytics", "revenue", told["revenue"], Decimal("99.99"))


def _order_checks(look: Look) -> Iterator[Check]:
    for order_id, status in (
        ("ORD-123", "shipped"),
        ("ORD-124", "reserved"),
        ("ORD-125", "cancelled"),
        ("ORD-126", "reserved"),
    ):
        order = look("orders", partial(OrdersStore.find, order_id=order_id))
        yield Check("orders", order_id, order and order.status, status)


def print_checks(console: Console, checks: Sequence[Check], *, seconds: float) -> None:
    """Print them, and how long it all took."""
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
    ending = "All as it should be"
    if wrong:
        what = "1 thing is not as it" if wrong == 1 else f"{wrong} things are not as they"
        ending = f"[red]{what} should be[/]"
    console.print(f"{ending}, after {seconds:.1f} s.")
    console.print(
        "Yours: [bold]shop up[/], and in another terminal [bold]shop orders place --help[/]"
    )


def _plain(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
