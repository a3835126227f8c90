"""The commands `shop analytics …`."""

from typing import Any

import typer

from shared.operations.console import AsJson, database_of, print_json, show

app = typer.Typer(help="What happened in the shop, in numbers.", no_args_is_help=True)


@app.callback()
def numbers() -> None:
    """What happened in the shop, in numbers."""


@app.command("report")
def show_report(*, as_json: AsJson = False) -> None:
    """Orders, revenue, units by product, days, and how long it takes to ship."""
    from services.analytics.report import report
    from services.analytics.service import analytics

    with database_of(analytics) as database, database.read() as connection:
        found = report(connection)
    if as_json:
        print_json(found)
    elif not found["events"]:
        typer.echo("Nothing has happened yet.")
    else:
        _print_tables(found)


def _print_tables(found: dict[str, Any]) -> None:
    took = found["placed_to_shipped"]
    summary = {
        "orders_placed": found["orders_placed"],
        "orders_cancelled": found["orders_cancelled"],
        "orders_shipped": took["orders"],
        "revenue": found["revenue"],
        "until_shipped_on_average": _duration(took["average_seconds"]),
        "until_shipped_by_median": _duration(took["median_seconds"]),
    }
    show(summary, as_json=False, title="The shop")
    typer.echo()
    headings = {
        "day": "Day (UTC)",
        "orders_placed": "Placed",
        "orders_cancelled": "Cancelled",
        "orders_shipped": "Shipped",
        "revenue": "Revenue",
        "events": "Events",
    }
    show(found["days"], as_json=False, title="By day", columns=headings)
    _print_counts("Units ordered", "Product", found["units"])
    _print_counts("Events", "Type", found["events"])


def _print_counts(title: str, heading: str, counts: dict[str, int]) -> None:
    rows = [{"name": name, "number": number} for name, number in counts.items()]
    columns = {"name": heading, "number": "Number"}
    if rows:
        show(rows, as_json=False, title=title, columns=columns)


def _duration(seconds: float | None) -> str | None:
    from datetime import timedelta

    if seconds is None:
        return None
    return f"{seconds:.3g} s" if abs(seconds) < 60 else str(timedelta(seconds=round(seconds)))
