"""The command `shop failures`: what failed and is being retried, and why."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shared.operations.console import (
    AsJson,
    database_of,
    print_json,
    print_notice,
    service_named,
    services_of,
    show,
    visible,
)
from shared.operations.output import echo
from shared.runtime.hints import command

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shared.runtime.service import AnyService

_COLUMNS = {
    "event_type": "Event",
    "id": "Id",
    "subject": "Order",
    "attempts": "Attempt",
    "next": "Next",
}


def failures(
    context: typer.Context,
    service: Annotated[
        str | None, typer.Argument(metavar="SERVICE", help="Only this service.")
    ] = None,
    *,
    event: Annotated[
        str | None,
        typer.Option(
            "--event",
            metavar="ID",
            help="All attempts of this event, with stacks: its id, or the end of it.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the events that failed and will be tried again, with the line that failed.

    Events that failed for the last time are dead letters: shop dead list.
    """
    from shared.errors import OperationFailed

    services = [service_named(context, service)] if service else visible(services_of(context))
    if event is not None:
        _show_event(services, event, as_json=as_json)
        return
    rows: list[dict[str, Any]] = []
    failed: dict[str, OperationFailed] = {}
    for each in services:
        try:
            rows += _rows(each)
        except OperationFailed as error:
            failed[each.name] = error
    if len(failed) == len(services) and len(set(map(str, failed.values()))) == 1:
        raise failed[services[0].name]
    for name, reason in failed.items():
        print_notice(f"{name} is not in this list: {reason}")
    if as_json:
        print_json(rows)
    else:
        _print(rows)
    raise typer.Exit(1 if failed else 0)


def _rows(service: "AnyService") -> list[dict[str, Any]]:
    from shared.operations.failing import failing_rows

    with database_of(service, make=False, looks=True) as database:
        return list(failing_rows(service, database))


def _print(rows: list[dict[str, Any]]) -> None:
    """Print a table for each line of code that failed."""
    from shared.operations.failing import until

    now = datetime.now(UTC)
    by_place: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        place = f"{row['service']}: {row['error']} at {row['origin']}"
        shown = {
            "id": row["id"][-8:],
            "attempts": f"{row['attempts']} of {row['attempts'] + row['attempts_left']}",
            "next": until(row["next_attempt_at"], now),
        }
        by_place.setdefault(place, []).append(row | shown)
    for place, failed in by_place.items():
        echo(place)
        show(failed, as_json=False, columns=_COLUMNS)
    if rows:
        last = rows[-1]
        one = command("failures", last["service"], event=last["id"][-8:])
        echo(f"The stack of one: {one}")
    else:
        echo("No event is being retried.")


def _show_event(services: "Sequence[AnyService]", name: str, *, as_json: bool) -> None:
    """Print the attempts of one event in each service in which it failed."""
    from shared.errors import InvalidInput
    from shared.operations.failing import event_attempts

    found = []
    for service in services:
        with database_of(service, make=False, looks=True) as database:
            details = event_attempts(service, database, name)
        if details is not None:
            found.append(details)
    if not found:
        where = services[0].name if len(services) == 1 else "any service"
        raise InvalidInput(f"no failed attempt of an event {name!r} is recorded in {where}")
    if as_json:
        print_json(found)
        return
    for details in found:
        _print_event(details)


def _print_event(details: dict[str, Any]) -> None:
    from shared.operations.attempts import print_attempts

    attempts = details.pop("attempts")
    show(details, as_json=False)
    echo()
    print_attempts(attempts, with_stacks=True)
