"""The commands `shop loyalty …`."""

from typing import Annotated

import typer

from shared.operations.console import AsJson, command_group, database_of, show
from shared.operations.validating import require_valid

app = command_group("Show a customer's loyalty points.")

Email = Annotated[str, typer.Argument(metavar="EMAIL", help="The customer's email address.")]

COLUMNS = {"occurred_at": "When", "order_id": "Order", "kind": "What", "points": "Points"}


@app.command()
def balance(customer_email: Email, *, as_json: AsJson = False) -> None:
    """Show how many points a customer has."""
    from services.loyalty.service import loyalty

    customer_email = _parse_email_address(customer_email)
    with database_of(loyalty, looks=True) as database, database.read() as connection:
        points = loyalty.store(connection, database).balance(customer_email)
    show({"customer_email": customer_email, "points": points}, as_json=as_json)


@app.command()
def ledger(customer_email: Email, *, as_json: AsJson = False) -> None:
    """List the points that a customer gained and lost, newest first."""
    from services.loyalty.service import loyalty

    customer_email = _parse_email_address(customer_email)
    with database_of(loyalty, looks=True) as database, database.read() as connection:
        entries = loyalty.store(connection, database).ledger(customer_email)
    show(entries, as_json=as_json, columns=COLUMNS, empty="No points yet.")


def _parse_email_address(text: str) -> str:
    """The address as events have it; raises InvalidInput if it is not one."""
    from shared.mail_addresses import TypedEmailAddress

    expected = "EMAIL should be one plain email address, such as jane@example.com"
    return require_valid(text, TypedEmailAddress, expected)
