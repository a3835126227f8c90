"""The commands `shop dead …`: what failed for good, and what a person can do about it."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shared.operations.console import (
    AsJson,
    local,
    print_json,
    service_named,
    services_of,
    show,
    visible,
)

if TYPE_CHECKING:
    from shared.operations.dead_letters.dead_queue import DeadQueue
    from shared.operations.dead_letters.retry import Progress, Retried
    from shared.runtime.service import AnyService

Name = Annotated[str, typer.Argument(metavar="SERVICE", help="The service.")]
Id = Annotated[str, typer.Argument(metavar="EVENT_ID", help="The event's id, or the end of it.")]

_COLUMNS = {
    "service": "Service",
    "event_type": "Event",
    "error": "Error",
    "count": "Count",
    "first": "First",
    "last": "Last",
    "example": "Example",
}

_DISCARDED = {
    "service": "Service",
    "event_type": "Event",
    "id": "Id",
    "reason": "Reason",
    "discarded_by": "By",
    "discarded_at": "At",
}


def list_(
    context: typer.Context,
    service: Annotated[str | None, typer.Argument(help="Only this service's.")] = None,
    *,
    was_discarded: Annotated[
        bool, typer.Option("--discarded", help="What was discarded instead, by whom and why.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Group dead letters by service, event type and error; looking changes nothing.

    The error "applied" means that the service handled the event after all; a retry takes it
    out of the dead queue. Times are those of dying, where that was recorded.
    """
    from shared.errors import OperationFailed

    rows: list[dict[str, Any]] = []
    troubles: dict[str, OperationFailed] = {}
    services = [service_named(context, service)] if service else visible(services_of(context))
    for each in services:
        try:
            rows += _listed(context, each, was_discarded=was_discarded)
        except OperationFailed as error:
            troubles[each.name] = error
    if len(troubles) == len(services) and len(set(map(str, troubles.values()))) == 1:
        raise troubles[services[0].name]
    for name, trouble in troubles.items():
        _say(f"{name} is not in this list: {trouble}")
    if not as_json:
        rows = [_for_people(row) for row in rows]
    if was_discarded:
        show(rows, as_json=as_json, columns=_DISCARDED, empty="Nothing was discarded.")
    else:
        show(rows, as_json=as_json, columns=_COLUMNS, empty="No dead letters.")
    raise typer.Exit(1 if troubles else 0)


def _listed(
    context: typer.Context, service: "AnyService", *, was_discarded: bool
) -> list[dict[str, Any]]:
    from dataclasses import asdict

    from shared.operations.dead_letters.listing import discarded, grouped

    with _opened(context, service) as queue:
        if was_discarded:
            return discarded(queue)
        return [asdict(group) for group in grouped(queue)]


def show_(
    context: typer.Context,
    service: Name,
    event_id: Id,
    *,
    trace: Annotated[bool, typer.Option("--trace", help="With stack traces.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show an event, every attempt with its error, where it came from, how often retried."""
    from shared.operations.dead_letters.listing import letter_details

    with _opened(context, service_named(context, service)) as queue:
        found = letter_details(queue, event_id)
    if not trace:
        found["attempts"] = [
            {name: value for name, value in each.items() if name != "traceback"}
            for each in found["attempts"]
        ]
    if "data" in found or "body_begins" in found:
        _say("what follows may hold personal data")
    if as_json:
        print_json(found)
    else:
        _print_letter(found)


def retry(  # noqa: PLR0913 - its options
    context: typer.Context,
    service: Name,
    event_id: Annotated[str | None, typer.Argument(help="One, or the end of its id.")] = None,
    *,
    error: Annotated[
        str | None, typer.Option("--error", help="All that died of this, as `list` names it.")
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="All but what is no event of its type.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count.")] = False,
    as_json: AsJson = False,
) -> None:
    """Send dead letters to their service again, to it alone, in the order of the events.

    Attempts are counted anew. What the service has handled already is only taken out of the
    dead queue. --all leaves alone what nobody can mend (MalformedEvent, EventTooLarge): give
    its id or --error to send it nevertheless, or discard it. It may be broken off at any time
    and done again.
    """
    from shared.errors import InvalidInput
    from shared.operations.dead_letters import retry

    if sum((event_id is not None, error is not None, everything)) != 1:
        raise InvalidInput("give one of EVENT_ID, --error and --all")
    with _opened(context, service_named(context, service)) as queue, _progress() as progress:
        done = retry.retry(queue, name=event_id, error=error, dry_run=dry_run, progress=progress)
    _print_retried(done, service, dry_run=dry_run, as_json=as_json)
    raise typer.Exit(1 if done.refused else 0)


def discard(
    context: typer.Context,
    service: Name,
    event_id: Id,
    *,
    reason: Annotated[str, typer.Option("--reason", help="Why; kept in the record.")],
    as_json: AsJson = False,
) -> None:
    """Take a letter out of the dead queue for good; who, when and why is kept.

    The service will never handle that event. `shop dead list --discarded` and `shop dead show`
    still show the record.
    """
    from shared.errors import InvalidInput
    from shared.operations.dead_letters import retry

    if not reason.strip() or len(reason) > 500 or not reason.isprintable():
        raise InvalidInput("--reason should be one line of 1 to 500 characters")
    who = retry.current_user()
    with _opened(context, service_named(context, service)) as queue:
        letter = retry.discard(queue, event_id, reason=reason.strip(), who=who)
    if as_json:
        print_json({"service": service, "id": letter.id, "discarded_by": who})
    else:
        typer.echo(f"discarded {letter.event_type} {letter.id}; recorded for {who}")


@contextmanager
def _opened(context: typer.Context, service: "AnyService") -> "Iterator[DeadQueue]":
    from shared.operations.dead_letters.dead_queue import DeadQueue
    from shared.runtime.settings import settings_for
    from shared.runtime.setup import set_up_embedded

    settings = settings_for(service.name)
    path = settings.broker_file_of(service.name)
    if path and not path.exists():  # as other commands make a database that is missing
        set_up_embedded(services_of(context), settings)
    with DeadQueue.opened(service) as queue:
        yield queue


@contextmanager
def _progress() -> "Iterator[Progress]":
    from rich.console import Console
    from rich.progress import Progress as Bar

    # Into a file it would only be noise.
    with Bar(console=Console(stderr=True), disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("retrying", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _for_people(row: dict[str, Any]) -> dict[str, Any]:
    """As a terminal of 100 columns can show it: the end of an id will do for the whole."""
    times = {
        name: row[name] and f"{local(row[name]):%m-%d %H:%M}"
        for name in ("first", "last")
        if name in row  # a record of what was discarded is kept for years, and tells the year
    }
    ids = {name: row[name][-8:] for name in ("example", "id") if name in row and is_terminal()}
    return row | times | ids


def is_terminal() -> bool:
    """Whether a person reads what is printed, so that it has to fit."""
    return sys.stdout.isatty()


def _print_retried(done: "Retried", service: str, *, dry_run: bool, as_json: bool) -> None:
    from dataclasses import asdict

    if as_json:
        print_json(asdict(done) | {"dry_run": dry_run})
        return
    would = "would retry" if dry_run else "retried"
    typer.echo(
        f"{would} {done.retried}; duplicates, which {service} has handled: {done.duplicates}"
    )
    if done.left:
        typer.echo(
            f"left alone {done.left} that nobody can mend: see shop dead list {service}, and "
            f"remove each with shop dead discard {service} EVENT_ID --reason …"
        )
    for letter_id, reason in done.refused.items():
        _say(f"{letter_id} stays where it was, the broker will not take it: {reason}")


def _print_letter(found: dict[str, Any]) -> None:
    attempts = found.pop("attempts")
    data = found.pop("data", None)
    show(found, as_json=False)
    if data is not None:
        typer.echo("\ndata")
        print_json(data, indent=2)
    columns = {
        "failed_at": "Failed at",
        "replays": "Replay",
        "attempt": "Attempt",
        "error": "Error",
        "message": "Message",
    }
    typer.echo()
    show(attempts, as_json=False, columns=columns, empty="No attempt is on record.")
    for each in attempts:
        if each.get("traceback"):
            typer.echo(f"\nreplay {each['replays']}, attempt {each['attempt']}: {each['error']}")
            typer.echo(each["traceback"])


def _say(sentence: str) -> None:
    typer.echo(f"shop: {sentence}", err=True)
