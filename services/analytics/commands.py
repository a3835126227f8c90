"""The commands `shop analytics …`."""

from typing import Any

from shared.operations.console import AsJson, command_group, database_of, print_json, show
from shared.operations.output import echo

app = command_group("Show statistics about orders and events.")


@app.command("report")
def show_report(*, as_json: AsJson = False) -> None:
    """Show orders, revenue, units by product, days, and the time to ship."""
    from services.analytics.report import report
    from services.analytics.service import analytics

    with database_of(analytics, looks=True) as database, database.read() as connection:
        figures = report(connection)
    if as_json:
        print_json(figures)
    elif not figures["events"]:
        echo("No events yet.")
    else:
        _print_tables(figures)


def _print_tables(figures: dict[str, Any]) -> None:
    shipping_time = figures["placed_to_shipped"]
    summary = {
        "orders_placed": figures["orders_placed"],
        "orders_cancelled": figures["orders_cancelled"],
        "orders_shipped": shipping_time["orders"],
        "revenue": figures["revenue"],
        "average_time_to_ship": _duration(shipping_time["average_seconds"]),
        "median_time_to_ship": _duration(shipping_time["median_seconds"]),
    }
    show(summary, as_json=False, title="Total")
    echo()
    columns = {
        "day": "Day (UTC)",
        "orders_placed": "Placed",
        "orders_cancelled": "Cancelled",
        "orders_shipped": "Shipped",
        "revenue": "Revenue",
        "events": "Events",
    }
    show(figures["days"][::-1], as_json=False, title="By day", columns=columns)
    _print_counts("Units ordered", "Product", figures["units"])
    _print_counts("Events", "Type", figures["events"])


def _print_counts(title: str, heading: str, counts: dict[str, int]) -> None:
    rows = [{"name": name, "count": count} for name, count in counts.items()]
    if rows:
        show(rows, as_json=False, title=title, columns={"name": heading, "count": "Count"})


def _duration(seconds: float | None) -> str | None:
    from datetime import timedelta

    if seconds is None:
        return None
    return f"{seconds:.3g} s" if abs(seconds) < 60 else str(timedelta(seconds=round(seconds)))
