"""`shop orders …`: for customers, and for who plays them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shared.operations.console import AsJson, database_of, print_json, progress, show

if TYPE_CHECKING:
    from services.orders.order import Order
    from services.orders.store import OrdersStore
    from shared.storage.unit_of_work import UnitOfWork

app = typer.Typer(help="Place, pay and cancel orders, and look at them.", no_args_is_help=True)

OrderId = Annotated[str, typer.Argument(metavar="ORDER", help="Its id, such as ORD-123.")]


@app.command()
def place(
    *,
    email: Annotated[str, typer.Option(help="The customer's mail address.")],
    address: Annotated[str, typer.Option(help="Where to send it, on one line.")],
    item: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SKU=N",
            help="What, and how many pieces (1 to 10000). At least one; each product once.",
        ),
    ] = None,
    order_id: Annotated[
        str | None,
        typer.Option("--id", help="The order's id; drawn if not given. See above."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Place an order.

    Placing again with the same --id and the same content is safe: it answers the same order.
    With other content it is refused.
    """
    from services.orders.asking import items_of, understood
    from services.orders.order import in_words
    from services.orders.placing import NewOrder, place_order

    new = understood(
        NewOrder,
        order_id=order_id,
        customer_email=email,
        shipping_address=address,
        items=items_of(item or []),
    )
    with _deciding(
        new.order_id, "placed", f"placing it again with --id {new.order_id} is safe"
    ) as (work):
        order = place_order(new, work)
    if as_json:
        print_json(order.record)
        return
    before = "" if work.published else " had been placed before"
    total = f"{order.total_amount} {order.currency}"
    typer.echo(f"{order.order_id}{before}: {in_words(order.items)}, {total}, {order.status}.")
    if order.status in ("placed", "reserved"):
        typer.echo(f"To pay it:    shop orders pay {order.order_id} --amount {order.total_amount}")
    typer.echo(f"To follow it: shop orders show {order.order_id}")


@app.command()
def pay(
    order: OrderId,
    *,
    amount: Annotated[str, typer.Option(metavar="99.99", help="The order's whole total.")],
    method: Annotated[str, typer.Option(help="How it is paid.")] = "card",
    as_json: AsJson = False,
) -> None:
    """Pay an order."""
    from services.orders.asking import understood
    from services.orders.paying import Payment, pay_order

    payment = understood(Payment, order_id=order, amount=amount, payment_method=method)
    with _deciding(payment.order_id, "paid", "paying it again would be refused if it was") as work:
        paid = pay_order(payment, work)
    words = (
        f"{paid.order_id} is paid: {payment.amount} {paid.currency} by {payment.payment_method}."
    )
    _tell(paid, words, as_json=as_json)


@app.command()
def cancel(
    order: OrderId,
    *,
    reason: Annotated[str, typer.Option(help="Why; the customer reads it.")],
    as_json: AsJson = False,
) -> None:
    """Cancel an order that is neither paid nor shipped."""
    from services.orders.asking import understood
    from services.orders.cancelling import Cancellation, cancel_order

    wish = understood(Cancellation, order_id=order, reason=reason)
    with _deciding(wish.order_id, "cancelled", "cancelling it again is refused if it was") as work:
        cancelled = cancel_order(wish, work)
    _tell(cancelled, f"{cancelled.order_id} is cancelled.", as_json=as_json)


@app.command("show")
def show_order(order: OrderId, *, as_json: AsJson = False) -> None:
    """Show an order with what has happened to it so far."""
    from services.orders.asking import OneOrder, understood
    from services.orders.paying import no_such_order

    order_id = understood(OneOrder, order_id=order).order_id
    with _looking() as store:
        found = store.find(order_id)
    if found is None:
        raise no_such_order(order_id)
    show(found.record, as_json=as_json)


@app.command("list")
def list_orders(
    *,
    status: Annotated[
        str | None, typer.Option(help="Only placed, reserved, paid, shipped or cancelled ones.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many at most.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List orders, the newest first."""
    from services.orders.asking import known_status

    wanted = known_status(status)
    with _looking() as store:
        found = store.latest(limit=limit, status=wanted)
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
        [order.record for order in found],
        as_json=as_json,
        columns=columns,
        empty="No such order." if wanted else "No order yet: shop orders place --help",
    )


@app.command()
def products(*, as_json: AsJson = False) -> None:
    """Show the price list."""
    with _looking() as store:
        found = store.products()
    names = {"sku": "SKU", "name": "Product", "unit_price": "Price", "currency": ""}
    rows = [{name: getattr(each, name) for name in names} for each in found]
    show(rows, as_json=as_json, columns=names)


@app.command()
def simulate(
    *,
    count: Annotated[int, typer.Option(min=1, max=1_000_000, help="How many orders.")] = 100,
    rate: Annotated[
        float,
        typer.Option(min=0, max=100_000, help="Orders per second; 0 for as fast as possible."),
    ] = 10.0,
    seed: Annotated[
        int | None, typer.Option(help="For the same mix again, with new ids; drawn if not given.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Place random orders; about 80 % are paid, 10 % are cancelled, the others left unpaid.

    Ctrl-C ends it, and it says what it has done so far.
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
            on_placed=lambda: update(simulation.tally.placed, count),
            is_stopped=is_stopped,
        )
        tally = simulation.run(count)
    if as_json:
        print_json(tally.record | {"seed": seed})
    else:
        typer.echo(f"{tally.in_words} (--seed {seed})")
    if tally.placed < count:
        raise typer.Exit(130)  # as of any program that Ctrl-C ended


@contextmanager
def _deciding(order_id: str, done: str, again: str) -> "Iterator[UnitOfWork[OrdersStore]]":
    """A unit of work on an order; when its outcome is unknown, a person is told what to do."""
    from services.orders.service import orders
    from shared.errors import CommitOutcomeUnknown

    with database_of(orders) as database:
        try:
            with orders.unit_of_work(database) as work:
                yield work
        except CommitOutcomeUnknown as error:
            raise CommitOutcomeUnknown(
                f"the database went away while it wrote, so whether {order_id} is {done} is not "
                f"known: look with shop orders show {order_id}; {again}"
            ) from error


@contextmanager
def _looking() -> "Iterator[OrdersStore]":
    from services.orders.service import orders

    with database_of(orders) as database, database.read() as connection:
        yield orders.store(connection, database)


def _tell(order: "Order", words: str, *, as_json: bool) -> None:
    if as_json:
        print_json(order.record)
    else:
        typer.echo(words)


@contextmanager
def _interrupts() -> Iterator[Callable[[], bool]]:
    """Whether Ctrl-C was pressed: the order under way is finished; a second one ends it at once."""
    import signal

    pressed: list[int] = []

    def note(number: int, frame: Any) -> None:  # noqa: ANN401 - a frame, which nobody looks at
        del frame
        pressed.append(number)
        signal.signal(signal.SIGINT, signal.default_int_handler)

    before = signal.signal(signal.SIGINT, note)
    try:
        yield lambda: bool(pressed)
    finally:
        signal.signal(signal.SIGINT, before)
