"""The commands `shop email …`."""

from typing import Annotated

import typer

from shared.operations.console import AsJson, command_group, database_of, show

app = command_group("Show the emails sent to customers.")

Order = Annotated[
    str | None,
    typer.Option("--order", metavar="ORDER", help="Only emails about this order, such as ORD-123."),
]
Limit = Annotated[int, typer.Option("--limit", min=1, help="At most this many emails.")]


@app.command()
def sent(*, order: Order = None, limit: Limit = 50, as_json: AsJson = False) -> None:
    """List the latest emails, newest first."""
    from services.email.service import email
    from services.email.store import EmailStore

    with database_of(email, looks=True) as database, database.read() as connection:
        mails = EmailStore(connection, database).sent(order_id=order, limit=limit)
    columns = {
        "sent_at": "Sent at",
        "kind": "Kind",
        "order_id": "Order",
        "to": "To",
        "subject": "Subject",
    }
    show(
        mails,
        as_json=as_json,
        columns=columns,
        expendable=("subject",),  # it repeats the kind and the order
        empty="No email has been sent yet.",
    )
