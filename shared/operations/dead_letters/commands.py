"""The commands `shop dead …`: list, show, retry and discard dead letters."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shared.operations.console import (
    AsJson,
    print_json,
    print_notice,
    progress,
    service_named,
    services_of,
    show,
    visible,
)
from shared.operations.output import echo
from shared.runtime.hints import command

if TYPE_CHECKING:
    from shared.operations.dead_letters.dead_queue import DeadQueue
    from shared.operations.dead_letters.retry import RetryResult
    from shared.runtime.service import AnyService

Name = Annotated[str, typer.Argument(metavar="SERVICE", help="The service.")]
Id = Annotated[str, typer.Argument(metavar="EVENT_ID", help="The event's id, or the end of it.")]

_MAX_REASON_LENGTH = 500

_COLUMNS = {
    "service": "Service",
    "event_type": "Event",
    "error": "Error",
    "count": "Count",
    "first": "First",
    "last": "Last",
    "example": "Example",
}

_EACH_COLUMNS = {
    "service": "Service",
    "event_type": "Event",
    "id": "Id",
    "subject": "Order",
    "error": "Error",
    "attempts": "Attempts",
    "at": "At",
}

_DISCARD_COLUMNS = {
    "service": "Service",
    "event_type": "Event",
    "id": "Id",
    "reason": "Reason",
    "discarded_by": "By",
    "discarded_at": "At",
}

_LIST_COLUMNS = {"grouped": _COLUMNS, "each": _EACH_COLUMNS, "discarded": _DISCARD_COLUMNS}
_EXPENDABLE = {
    "grouped": ("first", "last"),
    "each": ("subject", "attempts"),
    "discarded": ("discarded_by",),
}
"""The columns that a narrow terminal lacks first."""


def list_(
    context: typer.Context,
    service: Annotated[
        str | None, typer.Argument(metavar="SERVICE", help="Only this service.")
    ] = None,
    *,
    was_discarded: Annotated[
        bool, typer.Option("--discarded", help="List what was discarded, by whom and why.")
    ] = False,
    each: Annotated[
        bool, typer.Option("--each", help="List every letter: its id, order, attempts and time.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """List dead letters by service, event type and error; this changes nothing.

    The error "applied" means that the service has handled the event after all;
    a retry then only removes it from the dead queue. First and Last are when
    letters died or, if that was not recorded, when their events occurred.
    """
    from shared.errors import InvalidInput, OperationFailed

    if each and was_discarded:
        raise InvalidInput("give --each or --discarded, not both: every discard is listed anyway")
    kind = "discarded" if was_discarded else "each" if each else "grouped"
    rows: list[dict[str, Any]] = []
    failed: dict[str, OperationFailed] = {}
    services = [service_named(context, service)] if service else visible(services_of(context))
    for one in services:
        try:
            rows += _rows(context, one, kind)
        except OperationFailed as error:
            failed[one.name] = error
    if len(failed) == len(services) and len(set(map(str, failed.values()))) == 1:
        raise failed[services[0].name]
    for name, reason in failed.items():
        print_notice(f"{name} is not in this list: {reason}")
    show(
        rows if as_json else [_for_terminal(row) for row in rows],
        as_json=as_json,
        columns=_LIST_COLUMNS[kind],
        expendable=_EXPENDABLE[kind],
        empty="Nothing was discarded." if was_discarded else "No dead letters.",
    )
    raise typer.Exit(1 if failed else 0)


def _rows(context: typer.Context, service: "AnyService", kind: str) -> list[dict[str, Any]]:
    from dataclasses import asdict

    from shared.operations.dead_letters import listing

    with _opened(context, service) as queue:
        if kind == "discarded":
            return listing.discard_records(queue)
        if kind == "each":
            return listing.each_letter(queue)
        return [asdict(group) for group in listing.group_letters(queue)]


def show_(
    context: typer.Context,
    service: Name,
    event_id: Id,
    *,
    trace: Annotated[bool, typer.Option("--trace", help="With stack traces.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show one dead letter: the event, each failed attempt, and how often it was retried."""
    from shared.operations.dead_letters.listing import letter_details

    with _opened(context, service_named(context, service)) as queue:
        details = letter_details(queue, event_id)
    if as_json and not trace:
        for attempt in details["attempts"]:
            del attempt["traceback"]
    if "data" in details or "body_begins" in details:
        print_notice("the output may contain personal data")
    if as_json:
        print_json(details)
    else:
        _print_details(details, with_stacks=trace)


def retry(  # noqa: PLR0913 - its options
    context: typer.Context,
    service: Name,
    event_id: Annotated[
        str | None,
        typer.Argument(metavar="EVENT_ID", help="Only this event: its id, or the end of it."),
    ] = None,
    *,
    error: Annotated[
        str | None, typer.Option("--error", help="All with this error, as in `shop dead list`.")
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="All whose error may not occur again.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count only; send nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Send dead letters to their service again, and to no other, in the order of the events.

    Attempts are counted from 1 again. An event that the service has handled
    is only removed from the dead queue. --all leaves letters whose error would
    occur again (MalformedEvent, EventTooLarge): send them by id or by --error,
    or discard them. You may interrupt the command and run it again.
    """
    from shared.errors import InvalidInput
    from shared.operations.dead_letters.retry import retry

    if sum((event_id is not None, error is not None, everything)) != 1:
        raise InvalidInput("give one of EVENT_ID, --error and --all")
    with (
        _opened(context, service_named(context, service)) as queue,
        progress("Retrying") as update,
    ):
        result = retry(queue, letter_id=event_id, error=error, dry_run=dry_run, progress=update)
    _print_result(result, service, dry_run=dry_run, as_json=as_json)
    raise typer.Exit(1 if result.rejected else 0)


def discard(
    context: typer.Context,
    service: Name,
    event_id: Id,
    *,
    reason: Annotated[str, typer.Option("--reason", help="Why; it is recorded.")],
    as_json: AsJson = False,
) -> None:
    """Remove a dead letter for good, and record the user, the time and the reason.

    The service will never handle that event. The record is shown by
    `shop dead list --discarded` and `shop dead show`.
    """
    from shared.errors import InvalidInput
    from shared.events.text import one_line
    from shared.operations.dead_letters.discard import current_user, discard

    if len(reason) > _MAX_REASON_LENGTH:
        raise InvalidInput(f"--reason should be one line of 1 to {_MAX_REASON_LENGTH} characters")
    try:
        reason = one_line(reason)
    except ValueError as error:
        raise InvalidInput(f"--reason {error}") from None
    user = current_user()
    with _opened(context, service_named(context, service)) as queue:
        letter = discard(queue, event_id, reason=reason, discarded_by=user)
    if as_json:
        print_json({"service": service, "id": letter.id, "discarded_by": user})
    else:
        echo(f"discarded {letter.event_type} {letter.id}; recorded for {user}")


@contextmanager
def _opened(context: typer.Context, service: "AnyService") -> "Iterator[DeadQueue]":
    from shared.operations.dead_letters.dead_queue import DeadQueue
    from shared.operations.home import require_home
    from shared.runtime.settings import settings_for
    from shared.runtime.setup import set_up_embedded

    settings = settings_for(service.name)
    require_home(settings, settings.broker_url)
    path = settings.broker_file_of(service.name)
    if path and not path.exists():
        set_up_embedded(services_of(context), settings)
    with DeadQueue.opened(service) as queue:
        yield queue


def _for_terminal(row: dict[str, Any]) -> dict[str, Any]:
    """Shorten ids; the commands take the end of one."""
    # Without a hyphen at its beginning, so that it can be pasted as an argument.
    ids = {
        name: row[name][-8:].removeprefix("-")
        for name in ("example", "id")
        if name in row and is_terminal()
    }
    return row | ids


def is_terminal() -> bool:
    """Whether standard output is a terminal, so that tables have to fit its width."""
    return sys.stdout.isatty()


def _print_result(result: "RetryResult", service: str, *, dry_run: bool, as_json: bool) -> None:
    if as_json:
        print_json(
            {
                "retried": result.retried,
                "duplicates": result.duplicates,
                "left": result.not_retryable,
                "refused": result.rejected,
                "dry_run": dry_run,
            }
        )
        return
    verb = "would retry" if dry_run else "retried"
    echo(f"{verb} {result.retried}; duplicates, which {service} has handled: {result.duplicates}")
    if result.not_retryable:
        echo(
            f"left {result.not_retryable} whose error would occur again: list them with "
            f"{command('dead', 'list', service)}, and remove each with "
            f"{command('dead', 'discard', service, 'EVENT_ID')} --reason …"
        )
    for letter_id, reason in result.rejected.items():
        print_notice(f"{letter_id} stays in the dead queue, the broker rejects it: {reason}")


def _print_details(details: dict[str, Any], *, with_stacks: bool) -> None:
    from shared.operations.attempts import print_attempts

    attempts = details.pop("attempts")
    data = details.pop("data", None)
    show(details, as_json=False)
    if data is not None:
        echo("\ndata")
        print_json(data, indent=2)
    echo()
    print_attempts(attempts, with_stacks=with_stacks)
