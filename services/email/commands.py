"""The commands `shop email …`."""

from typing import Annotated

import typer

from shared.operations.console import AsJson, database_of, show

app = typer.Typer(help="Show the emails sent to customers.", no_args_is_help=True)

Order = Annotated[
    str | None,
    typer.Option("--order", metavar="ORDER", help="Only emails about this order, such as ORD-123."),
]
Limit = Annotated[int, typer.Option("--limit", min=1, help="At most this many emails.")]


@app.callback()
def callback() -> None:
    """Make Typer keep the command's name, which it drops if an app has one command only."""


@app.command()
def sent(*, order: Order = None, limit: Limit = 50, as_json: AsJson = False) -> None:
    """List the latest emails, oldest first."""
    from services.email.service import email
    from services.email.store import EmailStore

    with database_of(email) as database, database.read() as connection:
        mails = EmailStore(connection, database).sent(order_id=order, limit=limit)
    columns = {
        "sent_at": "Sent at",
        "kind": "Kind",
        "order_id": "Order",
        "to": "To",
        "subject": "Subject",
    }
    show(mails, as_json=as_json, columns=columns, empty="No email has been sent yet.")
