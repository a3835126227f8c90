"""The commands `shop shipping …`."""

from typing import Annotated, Literal

import typer

from shared.operations.console import AsJson, command_group, database_of, show

app = command_group("Show shipments.")

COLUMNS = {
    "order_id": "Order",
    "status": "Status",
    "opened_at": "Opened",
    "paid_at": "Paid",
    "reserved_at": "Reserved",
    "voided_at": "Voided",
    "shipped_at": "Shipped",
    "tracking_number": "Tracking number",
}

STEPS = ("voided_at", "reserved_at", "paid_at", "opened_at")
"""What a narrow terminal lacks first: the status says which steps are done."""


@app.command("list")
def list_shipments(
    *,
    status: Annotated[
        Literal["open", "shipped", "void"] | None,
        typer.Option(help="Only shipments with this status; void means cancelled."),
    ] = None,
    limit: Annotated[
        int, typer.Option(min=1, max=1_000_000, help="At most this many shipments.")
    ] = 50,
    as_json: AsJson = False,
) -> None:
    """List shipments, newest first, without addresses."""
    from services.shipping.service import shipping

    with database_of(shipping, looks=True) as database, database.read() as connection:
        shipments = shipping.store(connection, database).listed(status=status, limit=limit)
    show(shipments, as_json=as_json, columns=COLUMNS, expendable=STEPS, empty="No shipments.")
