"""The commands `shop email …`."""

from typing import Annotated

import typer

from shared.operations.console import AsJson, database_of, show

app = typer.Typer(help="The mails that customers got.", no_args_is_help=True)

Order = Annotated[str | None, typer.Option("--order", help="Only those about this order.")]
Limit = Annotated[int, typer.Option("--limit", min=1, help="How many of the last mails.")]


@app.callback()
def mails() -> None:
    """The mails that customers got."""


@app.command()
def sent(*, order: Order = None, limit: Limit = 50, as_json: AsJson = False) -> None:
    """List the last mails that were sent, oldest first."""
    from services.email.service import email
    from services.email.store import EmailStore

    with database_of(email) as database, database.read() as connection:
        found = EmailStore(connection, database).sent(order_id=order, limit=limit)
    columns = {
        "sent_at": "Sent at",
        "kind": "Kind",
        "order_id": "Order",
        "to": "To",
        "subject": "Subject",
    }
    show(found, as_json=as_json, columns=columns, empty="No mail has been sent yet.")
