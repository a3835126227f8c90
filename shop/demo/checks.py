"""Checks the state of each service at the end of the demo."""

import shlex
import shutil
import sysconfig
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from services.analytics.report import report
from services.email.store import EmailStore
from services.inventory.store import InventoryStore
from services.loyalty.store import LoyaltyStore
from services.orders.store import OrdersStore
from services.shipping.store import ShippingStore
from shared.runtime.colours import style_of

CUSTOMER = "customer@example.com"
ANOTHER_CUSTOMER = "another@example.com"

ORDER_STATUS = {
    "ORD-123": "shipped",
    "ORD-124": "reserved",
    "ORD-125": "cancelled",
    "ORD-126": "reserved",
}
STOCK = {"product-1": (9_996, 4), "product-2": (4_999, 1), "product-3": (5, 0)}
EMAILS = {"confirmation": 4, "shipping": 1, "cancellation": 1}
SHIPMENT_STATUS = {"ORD-123": "shipped", "ORD-124": "open", "ORD-125": "void", "ORD-126": "open"}
FIGURES = {"orders_placed": 4, "orders_cancelled": 1, "revenue": Decimal("99.99")}

Query = Callable[[str, Callable[[Any], Any]], Any]
"""Calls a function with the store of the named service and returns its result."""


@dataclass(frozen=True, slots=True)
class Check:
    """One value of a service's state, and the expected one."""

    service: str
    name: str
    value: object
    expected: object

    @property
    def passed(self) -> bool:
        """Whether the value is the expected one."""
        return self.value == self.expected


def checks(query: Query) -> Iterator[Check]:
    """The checks of all services."""
    for order_id, expected in ORDER_STATUS.items():
        order = query("orders", partial(OrdersStore.find, order_id=order_id))
        yield Check("orders", order_id, order and order.status, expected)
    stock = {row["sku"]: row for row in query("inventory", InventoryStore.stock)}
    for sku, pieces in STOCK.items():
        value = (stock[sku]["available"], stock[sku]["reserved"])
        yield Check("inventory", f"{sku}: available, reserved", value, pieces)
    kinds = [row["kind"] for row in query("email", EmailStore.sent)]
    for kind, number in EMAILS.items():
        yield Check("email", f"{kind} emails", kinds.count(kind), number)
    shipments = {row["order_id"]: row["status"] for row in query("shipping", ShippingStore.listed)}
    for order_id, expected in SHIPMENT_STATUS.items():
        yield Check("shipping", order_id, shipments.get(order_id), expected)
    points = query("loyalty", partial(LoyaltyStore.balance, customer_email=CUSTOMER))
    yield Check("loyalty", "points: 99 + 49, after 196 were taken back", points, 99 + 49)
    figures = query("analytics", lambda store: report(store.connection))
    for name, figure in FIGURES.items():
        yield Check("analytics", name.replace("_", " "), figures[name], figure)


def program() -> str:
    """What to type for `shop`: its path where the shell does not find it."""
    if shutil.which("shop"):
        return "shop"
    script = Path(sysconfig.get_path("scripts")) / "shop"
    here = Path.cwd()
    return shlex.quote(str(script.relative_to(here) if script.is_relative_to(here) else script))


def print_checks(console: Console, checks: Sequence[Check], *, seconds: float) -> None:
    """Print the checks and the duration of the demo."""
    table = Table(box=SIMPLE_HEAD, title="\nFinal state of each service", title_justify="left")
    for heading in ("service", "", "value", ""):
        table.add_column(heading)
    previous = ""
    for check in checks:
        name = "" if check.service == previous else check.service
        previous = check.service
        mark = "[green]✓[/]" if check.passed else f"[red]✗ expected {_text(check.expected)}[/]"
        style = style_of(check.service)
        table.add_row(f"[{style}]{name}[/]", check.name, _text(check.value), mark)
    console.print(table)
    failed = sum(not check.passed for check in checks)
    summary = f"[red]{failed} of {len(checks)} checks failed[/]" if failed else "All checks passed"
    console.print(f"{summary}, after {seconds:.1f} s.")
    shop = escape(program())
    console.print(
        f"Next: [bold]{shop} up[/], and in another terminal [bold]{shop} orders place --help[/]"
    )


def _text(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
