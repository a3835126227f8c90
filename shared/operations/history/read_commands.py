"""The commands `shop events tail`, `history` and `timeline`."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from shared.operations.console import (
    AsJson,
    database_of,
    print_json,
    print_notice,
    services_of,
)
from shared.operations.history.options import Order, Since, Type
from shared.operations.output import OUTPUT, expressible
from shared.operations.validating import require_order_id

if TYPE_CHECKING:
    from collections.abc import Iterable

    from shared.history.reading import HistoryEvent


def tail(*, of_type: Type = None, order: Order = None, as_json: AsJson = False) -> None:
    """Show new events, until Ctrl-C; with --json one CloudEvent a line, as it was sent."""
    from shared.history.reading import EventReader
    from shared.operations.history import queries

    event_filter = queries.parse_filter(of_type=of_type, order=order)
    with queries.open_history() as history:
        start = history.end()
        print_notice("showing events from now on; Ctrl-C stops")
        reader = EventReader(
            history, event_filter, start=start, on_unreadable=queries.warn_unreadable
        )
        try:
            _print(reader, as_json=as_json)
        except KeyboardInterrupt:
            print_notice("stopped")
        finally:
            queries.report_unreadable(reader)


def history(
    *,
    since: Since = None,
    of_type: Type = None,
    order: Order = None,
    limit: Annotated[
        int | None, typer.Option(min=1, max=10_000, help="Only the latest N events.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show past events, oldest first; with --json one CloudEvent a line, as it was sent."""
    from shared.errors import InvalidInput
    from shared.history.reading import EventReader, LatestEvents
    from shared.operations.history import queries

    event_filter = queries.parse_filter(since=since, of_type=of_type, order=order)
    with queries.open_history() as history:
        queries.warn_if_truncated(history, event_filter.since)
        warn = queries.warn_unreadable
        reader = (
            LatestEvents(history, event_filter, limit, on_unreadable=warn)
            if limit
            else EventReader(history, event_filter, end=history.end(), on_unreadable=warn)
        )
        count = _print(reader, as_json=as_json)
    queries.report_unreadable(reader)
    if count == 0 and order and not since and not of_type:
        raise InvalidInput(f"the history has no event of the order {order!r}")
    if count == 0:
        print_notice("the history has no such event")


def timeline(
    context: typer.Context,
    order: Annotated[str, typer.Argument(metavar="ORDER", help="The order's id.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Show the events of one order, what caused each, and what each service did with it."""
    from contextlib import ExitStack
    from functools import partial

    from shared.errors import InvalidInput, OperationFailed
    from shared.operations.history import queries
    from shared.operations.history.rendering import print_timeline
    from shared.operations.history.timeline_builder import TimelineBuilder

    services = services_of(context)
    require_order_id(order)
    with ExitStack() as stack:
        builder = TimelineBuilder(
            services=services,
            open_database=partial(database_of, make=False),
            open_history=lambda: stack.enter_context(queries.open_history(create=False)),
            has_messages=queries.has_messages,
        )
        timeline = builder.build(order)
    for note in timeline.notes:
        print_notice(note)
    if not timeline.entries and not timeline.is_certain:
        raise OperationFailed(f"order {order!r} may exist: not everything could be read")
    if not timeline.entries:
        raise InvalidInput(f"there is no event of an order {order!r}")
    if as_json:
        print_json(timeline.record)
    else:
        print_timeline(timeline)


def _print(events: "Iterable[HistoryEvent]", *, as_json: bool) -> int:
    """Print events as they arrive; return their number."""
    from shared.operations.console import UNLIMITED, terminal
    from shared.operations.history.rendering import as_cloud_event, as_line

    width = terminal(width=UNLIMITED).width

    def render(item: "HistoryEvent") -> str:
        return expressible(as_cloud_event(item)) if as_json else as_line(item, width=width)

    count = 0
    try:
        for count, item in enumerate(events, 1):  # noqa: B007 - returned
            sys.stdout.write(f"{render(item)}\n")
            sys.stdout.flush()
    except BrokenPipeError as error:
        if error.filename != OUTPUT:
            raise
        # The reader of the pipe has closed it; Python must not flush to it at exit either.
        sys.stdout = None
        raise typer.Exit(0) from None
    return count
