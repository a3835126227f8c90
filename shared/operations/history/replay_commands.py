"""The commands `shop events …` that bring what has happened to a service again."""

from typing import TYPE_CHECKING, Annotated

import typer

from shared.operations.console import (
    AsJson,
    confirm,
    database_of,
    print_json,
    progress,
    service_named,
)
from shared.operations.history.options import Since, Type

if TYPE_CHECKING:
    from shared.history.reading import EventFilter
    from shared.operations.history.rebuild import RebuildResult
    from shared.runtime.service import AnyService


def replay(  # noqa: PLR0913 - its options
    context: typer.Context,
    *,
    to: Annotated[str, typer.Option("--to", metavar="SERVICE", help="The service.")],
    since: Since = None,
    of_type: Type = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Bring old events to one service's queue again, behind whatever waits there.

    What the service has handled before is a duplicate to it, and changes nothing. A service that
    publishes, or acts outside its database, does so for each that it has not: you are asked first.
    """
    from dataclasses import replace

    from shared.history.copying import copy
    from shared.operations.history import queries

    service = service_named(context, to)
    wanted = queries.wanted(since=since, of_type=of_type)
    _must_subscribe(service, wanted, of_type)
    if not (dry_run or yes):
        _ask_what_is_meant(service)
    with queries.broker_of(service.name) as broker:
        history = broker.history()
        queries.say_what_is_not_kept(history, wanted)
        end = history.end()
        reading = queries.reading(history, replace(wanted, topics=service.topics), end=end)
        with progress(f"to {service.name}") as watch:
            count = 0
            if dry_run:
                for count, each in enumerate(reading, 1):  # noqa: B007 - told below
                    watch(each.record.offset + 1, end)
            else:
                publisher = broker.publisher()
                for copied in copy(reading, publisher, to=service.name, replays=1):
                    count += copied.number
                    watch(copied.place, end)
    queries.say_unreadable(reading)
    found = {"service": service.name, "events": count, "unreadable": reading.unreadable}
    if as_json:
        print_json(found | {"sent": not dry_run})
    else:
        does = "would go" if dry_run else "went"
        typer.echo(f"{_events(count)} {does} to the queue of {service.name}.")


def rebuild(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="SERVICE", help="The service.")],
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make a service's state anew: empty its tables, and let it handle the whole history.

    Only a service that keeps what it hears, and nothing more, while it is stopped. What was
    discarded stays discarded.
    """
    from shared.operations.history import queries
    from shared.operations.history.rebuild import Rebuild, require_rebuildable
    from shared.runtime.service_settings import service_settings_of

    service = service_named(context, name)
    with queries.broker_of(service.name) as broker, database_of(service) as database:
        require_rebuildable(service, broker)
        queries.say_what_is_lost(broker.history(), service)
        if not yes:
            question = f"Empty the tables of {service.name} and make them anew from the history?"
            confirm(question)
        with progress(f"rebuilding {service.name}") as watch:
            rebuilt = Rebuild(
                service=service,
                database=database,
                broker=broker,
                batch_size=service_settings_of(service).batch_size,
                watch=watch,
                tell=queries.complain,
            ).run()
    if as_json:
        print_json(_record(service.name, rebuilt))
    else:
        _print_rebuilt(service.name, rebuilt)


def _record(name: str, rebuilt: "RebuildResult") -> dict[str, object]:
    return {
        "service": name,
        "handled": rebuilt.handled,
        "known": rebuilt.known,
        "left_to_its_queue": rebuilt.left,
        "unreadable": rebuilt.unreadable,
        "as_it_was": rebuilt.is_as_it_was,
        "tables": {
            table: {
                "rows_before": rebuilt.before[table].rows if table in rebuilt.before else 0,
                "rows": now.rows,
                "as_it_was": rebuilt.before.get(table) == now,
            }
            for table, now in rebuilt.after.items()
        },
    }


def _print_rebuilt(name: str, rebuilt: "RebuildResult") -> None:
    from shared.operations.history.queries import skipped

    typer.echo(f"{name} is rebuilt from {_events(rebuilt.handled)}.")
    if rebuilt.known:
        typer.echo(f"{_events(rebuilt.known)} stayed as they were: discarded, or dead.")
    if rebuilt.left:
        typer.echo(
            f"{_events(rebuilt.left)} could not be handled now and went to its queue: it tries "
            "again when it runs."
        )
    if rebuilt.unreadable:
        typer.echo(f"{skipped(rebuilt.unreadable)}.")
    if rebuilt.is_as_it_was:
        typer.echo("It is exactly as it was.")
    for each in rebuilt.differences:
        typer.echo(f"It differs: {each}.")


def _must_subscribe(service: "AnyService", wanted: "EventFilter", of_type: str | None) -> None:
    from shared.errors import InvalidInput
    from shared.events import topic_of
    from shared.messaging.topology import topics_matched

    topics = {topic_of(each) for each in wanted.types}
    if not all(topics_matched(service.topics, topic) for topic in topics):
        there_are = ", ".join(sorted(service.topics))
        raise InvalidInput(
            f"{service.name} did not subscribe to {of_type}; it subscribes to {there_are}"
        )


def _ask_what_is_meant(service: "AnyService") -> None:
    """Ask, where a service would do more than keep what it hears."""
    from shared.runtime.service import replay_side_effects

    does = replay_side_effects(service)
    if does is not None:
        question = (
            f"{service.name} {does}, and will do so for every old event that it has not handled, "
            "as if each happened now. Bring them?"
        )
        confirm(question)


def _events(number: int) -> str:
    return f"{number:,} {'event' if number == 1 else 'events'}"
