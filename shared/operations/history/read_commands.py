"""The commands `shop events …` that show what happens and has happened."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from shared.operations.console import AsJson, database_of, print_json, services_of
from shared.operations.history.options import Order, Since, Type

if TYPE_CHECKING:
    from collections.abc import Iterable

    from shared.history.reading import HistoryEvent


def tail(
    context: typer.Context, *, of_type: Type = None, order: Order = None, as_json: AsJson = False
) -> None:
    """Show events as they happen, until Ctrl-C; with --json a CloudEvent a line, as it was sent."""
    from shared.operations.history import queries

    services = services_of(context)
    wanted = queries.wanted(of_type=of_type, order=order)
    with queries.history_for(services) as history:
        end = history.end()
        queries.say("what happens from now on; Ctrl-C ends it")
        reading = queries.reading(history, wanted, start=end)
        try:
            _print(reading, as_json=as_json)
        except KeyboardInterrupt:
            queries.say("ended")
        finally:
            queries.say_unreadable(reading)


def history(  # noqa: PLR0913 - its options
    context: typer.Context,
    *,
    since: Since = None,
    of_type: Type = None,
    order: Order = None,
    limit: Annotated[
        int | None, typer.Option(min=1, max=10_000, help="Only the newest so many.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show what has happened, oldest first; with --json a CloudEvent a line, as it was sent."""
    from shared.errors import InvalidInput
    from shared.history.reading import LatestEvents
    from shared.operations.history import queries

    services = services_of(context)
    wanted = queries.wanted(since=since, of_type=of_type, order=order)
    with queries.history_for(services) as history:
        queries.say_what_is_not_kept(history, wanted)
        reading = (
            LatestEvents(history, wanted, limit, tell=queries.complain)
            if limit
            else queries.reading(history, wanted, end=history.end())
        )
        shown = _print(reading, as_json=as_json)
    queries.say_unreadable(reading)
    if shown == 0 and order and not since and not of_type:
        raise InvalidInput(f"the history has no event of the order {order!r}")
    if shown == 0:
        queries.say("the history has nothing of that kind")


def timeline(
    context: typer.Context,
    order: Annotated[str, typer.Argument(metavar="ORDER", help="The order's id.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Tell one order's whole story: each event, what caused it, and what each service did with it.

    Times of handling are those of each service's database.
    """
    from contextlib import ExitStack
    from functools import partial

    from shared.errors import InvalidInput, OperationFailed
    from shared.operations.history import queries
    from shared.operations.history.rendering import print_timeline
    from shared.operations.history.timeline_builder import TimelineBuilder

    services = services_of(context)
    queries.require_order_id(order)
    with ExitStack() as opened:
        teller = TimelineBuilder(
            services=services,
            opening=partial(database_of, make=False),
            history=lambda: opened.enter_context(queries.history_for(services, make=False)),
            holding=queries.holds_anything,
        )
        told = teller.build(order)
    for note in told.notes:
        queries.say(note)
    if not told.entries and not told.is_certain:
        raise OperationFailed(f"whether there is an order {order!r} cannot be told now")
    if not told.entries:
        raise InvalidInput(f"nobody has heard of an order {order!r}")
    if as_json:
        events = [each.record for each in told.entries]
        about = {"order_id": order, "is_certain": told.is_certain}
        print_json(about | {"events": events, "notes": list(told.notes)})
    else:
        print_timeline(told)


def _print(told: "Iterable[HistoryEvent]", *, as_json: bool) -> int:
    """Print each as soon as it is there; answers how many."""
    from shared.operations.history.rendering import as_cloud_event, as_line

    render = as_cloud_event if as_json else as_line
    count = 0
    try:
        for count, each in enumerate(told, 1):  # noqa: B007 - the number is the answer
            sys.stdout.write(f"{render(each)}\n")
            sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read has seen enough; nothing may be written at the end either.
        sys.stdout = None
        raise typer.Exit(0) from None
    return count
