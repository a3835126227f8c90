"""The commands `shop orders …`."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from shared.operations.console import (
    AsJson,
    command_group,
    database_of,
    print_json,
    progress,
    show,
)
from shared.operations.output import echo
from shared.operations.validating import require_order_id
from shared.runtime.hints import command

if TYPE_CHECKING:
    from services.orders.order import Order
    from services.orders.store import OrdersStore
    from shared.storage.database import Database
    from shared.storage.unit_of_work import UnitOfWork

app = command_group("Place, pay, cancel and show orders.")

OrderId = Annotated[str, typer.Argument(metavar="ORDER", help="The order's id, such as ORD-123.")]


@app.command()
def place(
    *,
    email: Annotated[str, typer.Option(help="The customer's email address.")],
    address: Annotated[str, typer.Option(help="The shipping address, on one line.")],
    item: Annotated[
        list[str],
        typer.Option(
            metavar="SKU=N",
            help="A product and its quantity, 1 to 10000. Give at least one; each product once.",
        ),
    ],
    order_id: Annotated[
        str | None, typer.Option("--id", help="The order's id; a random one by default.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Place an order; repeating it with the same --id and content is safe."""
    from services.orders.option_parsing import parse_items, parse_options
    from services.orders.order import items_summary
    from services.orders.placing import NewOrder, place_order

    request = parse_options(
        NewOrder,
        order_id=order_id,
        customer_email=email,
        shipping_address=address,
        items=parse_items(item),
    )
    advice = f"placing it again with --id {request.order_id} is safe"
    with _unit_of_work(request.order_id, "placed", advice) as work:
        order = place_order(request, work)
    if as_json:
        print_json(order.record)
        return
    already = "" if work.published else " already exists"
    total = f"{order.total_amount} {order.currency}"
    echo(f"{order.order_id}{already}: {items_summary(order.items)}, {total}, {order.status}.")
    if order.status in ("placed", "reserved"):
        to_pay = command("orders", "pay", order.order_id, amount=str(order.total_amount))
        echo(f"To pay it:  {to_pay}")
    echo(f"To show it: {command('orders', 'show', order.order_id)}")


@app.command()
def pay(
    order: OrderId,
    *,
    amount: Annotated[str, typer.Option(metavar="99.99", help="The order's total.")],
    method: Annotated[str, typer.Option(help="The payment method.")] = "card",
    as_json: AsJson = False,
) -> None:
    """Pay an order."""
    from services.orders.option_parsing import parse_options
    from services.orders.paying import Payment, pay_order

    payment = parse_options(Payment, order_id=order, amount=amount, payment_method=method)
    advice = "if it was, paying it again fails"
    with _unit_of_work(payment.order_id, "paid", advice) as work:
        paid = pay_order(payment, work)
    amount_paid = f"{payment.amount} {paid.currency} by {payment.payment_method}"
    _print_result(paid, f"{paid.order_id} is paid: {amount_paid}.", as_json=as_json)


@app.command()
def cancel(
    order: OrderId,
    *,
    reason: Annotated[str, typer.Option(help="The reason, which the customer gets by email.")],
    as_json: AsJson = False,
) -> None:
    """Cancel an order that is neither paid nor shipped."""
    from services.orders.cancelling import Cancellation, cancel_order
    from services.orders.option_parsing import parse_options

    request = parse_options(Cancellation, order_id=order, reason=reason)
    advice = "if it was, cancelling it again fails"
    with _unit_of_work(request.order_id, "cancelled", advice) as work:
        cancelled = cancel_order(request, work)
    _print_result(cancelled, f"{cancelled.order_id} is cancelled.", as_json=as_json)


@app.command("show")
def show_order(
    order: OrderId,
    *,
    wait: Annotated[
        Literal["reserved", "paid", "shipped", "cancelled"] | None,
        typer.Option(help="Wait until the order has reached this status."),
    ] = None,
    timeout: Annotated[
        float, typer.Option(min=0, max=86_400, help="Seconds that --wait waits at most.")
    ] = 10.0,
    as_json: AsJson = False,
) -> None:
    """Show one order, its status and the time of each step."""
    from services.orders.service import orders
    from services.orders.waiting import wait_for

    require_order_id(order)
    with database_of(orders, looks=True) as database:
        stored = _find(database, order)
        if wait is not None:
            stored = wait_for(wait, lambda: _find(database, order), timeout=timeout)
    show(stored.record, as_json=as_json)


@app.command("list")
def list_orders(
    *,
    status: Annotated[
        Literal["placed", "reserved", "paid", "shipped", "cancelled"] | None,
        typer.Option(help="Only orders with this status."),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most this many orders.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List orders, newest first."""
    with _store() as store:
        orders = store.latest(limit=limit, status=status)
    none = (
        f"No order is {status}."
        if status
        else f"No orders yet: {command('orders', 'place', help='')}"
    )
    columns = {
        "order_id": "Order",
        "status": "Status",
        "customer_email": "Customer",
        "items": "Items",
        "total_amount": "Total",
        "currency": "",
        "placed_at": "Placed",
    }
    show(
        [order.record for order in orders],
        as_json=as_json,
        columns=columns,
        expendable=("customer_email", "currency"),
        empty=none,
    )


@app.command()
def products(*, as_json: AsJson = False) -> None:
    """Show the price list."""
    with _store() as store:
        price_list = store.products()
    columns = {"sku": "SKU", "name": "Product", "unit_price": "Price", "currency": ""}
    rows = [{name: getattr(product, name) for name in columns} for product in price_list]
    show(rows, as_json=as_json, columns=columns)


@app.command()
def simulate(
    *,
    count: Annotated[int, typer.Option(min=1, max=1_000_000, help="How many orders.")] = 100,
    rate: Annotated[
        float, typer.Option(min=0, max=100_000, help="Orders per second; 0 for no limit.")
    ] = 10.0,
    seed: Annotated[
        int | None,
        typer.Option(help="Repeat the orders of an earlier run, with new ids; random by default."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Place random orders: about 80 % are paid, 10 % cancelled; Ctrl-C stops it.

    The orders take from the stock. About 2 % contain product-3, of which a new
    shop has five pieces: most of these run short, are cancelled and refunded.
    A new shop has enough of the other products for 3,000 orders; shop inventory
    stock shows what is left, and shop inventory restock adds pieces.
    """
    import secrets

    from services.orders.service import orders
    from services.orders.simulating import Simulation

    seed = secrets.randbelow(1_000_000) if seed is None else seed
    with (
        database_of(orders) as database,
        progress("Placing orders") as update,
        _interrupts() as is_stopped,
    ):
        simulation = Simulation(
            database=database,
            rate=rate,
            seed=seed,
            on_placed=lambda: update(simulation.result.placed, count),
            is_stopped=is_stopped,
        )
        result = simulation.run(count)
    if as_json:
        print_json(result.record | {"seed": seed})
    else:
        echo(f"{result.summary} (--seed {seed})")
    if result.placed < count:
        raise typer.Exit(130)  # the exit code of a program that Ctrl-C ended


@contextmanager
def _unit_of_work(order_id: str, done: str, advice: str) -> "Iterator[UnitOfWork[OrdersStore]]":
    """A unit of work on one order; if its outcome is unknown, the error names the next step."""
    from services.orders.service import orders
    from shared.errors import CommitOutcomeUnknown

    with database_of(orders) as database:
        try:
            with orders.unit_of_work(database) as work:
                yield work
        except CommitOutcomeUnknown as error:
            raise CommitOutcomeUnknown(
                "the connection to the database was lost during the commit, so it is not known "
                f"whether {order_id} was {done}: see "
                f"{command('orders', 'show', order_id)}; {advice}"
            ) from error


def _find(database: "Database", order_id: str) -> "Order":
    from services.orders.paying import unknown_order
    from services.orders.service import orders

    with database.read() as connection:
        order = orders.store(connection, database).find(order_id)
    if order is None:
        raise unknown_order(order_id)
    return order


@contextmanager
def _store() -> "Iterator[OrdersStore]":
    from services.orders.service import orders

    with database_of(orders, looks=True) as database, database.read() as connection:
        yield orders.store(connection, database)


def _print_result(order: "Order", sentence: str, *, as_json: bool) -> None:
    if as_json:
        print_json(order.record)
    else:
        echo(sentence)


@contextmanager
def _interrupts() -> Iterator[Callable[[], bool]]:
    """Yield whether Ctrl-C was pressed; a second Ctrl-C ends the program immediately."""
    import signal

    is_interrupted = False

    def on_interrupt(_number: int, _frame: Any) -> None:  # noqa: ANN401 - an unused frame
        nonlocal is_interrupted
        is_interrupted = True
        signal.signal(signal.SIGINT, signal.default_int_handler)

    previous = signal.signal(signal.SIGINT, on_interrupt)
    try:
        yield lambda: is_interrupted
    finally:
        signal.signal(signal.SIGINT, previous)
