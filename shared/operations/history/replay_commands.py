"""The commands `shop events replay` and `shop events rebuild`."""

from typing import TYPE_CHECKING, Annotated

import typer

from shared.operations.console import (
    AsJson,
    confirm,
    counted,
    database_of,
    print_json,
    print_notice,
    progress,
    service_named,
)
from shared.operations.history.options import Since, Type
from shared.operations.output import echo

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
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count only; send nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")] = False,
    as_json: AsJson = False,
) -> None:
    """Send old events to one service's queue again, with a lower priority than new events.

    An event that the service has handled is a duplicate and changes nothing.
    If the service publishes or acts outside its database, it does so for
    every event that it has not handled: you are asked first.
    """
    from dataclasses import replace

    from shared.history.copying import copy
    from shared.history.reading import EventReader
    from shared.operations.history import queries

    service = service_named(context, to)
    event_filter = queries.parse_filter(since=since, of_type=of_type)
    _require_subscription(service, event_filter, of_type)
    if not (dry_run or yes):
        _confirm_side_effects(service)
    event_filter = replace(event_filter, topics=service.topics)
    count = 0
    # Read as the operator, sent as the service: neither has both permissions.
    with queries.open_history() as history, queries.open_broker(service.name) as broker:
        queries.warn_if_truncated(history, event_filter.since)
        end = history.end()
        reader = EventReader(history, event_filter, end=end, on_unreadable=queries.warn_unreadable)
        with progress(f"to {service.name}") as watch:
            if dry_run:
                for count, item in enumerate(reader, 1):  # noqa: B007 - printed below
                    watch(item.record.offset + 1, end)
            else:
                publisher = broker.publisher()
                for window in copy(reader, publisher, to=service.name, replays=1):
                    count += window.size
                    watch(window.next_offset, end)
    queries.report_unreadable(reader)
    if as_json:
        result = {"service": service.name, "events": count, "unreadable": reader.unreadable}
        print_json(result | {"sent": not dry_run})
    else:
        verb = "would be sent" if dry_run else "sent"
        echo(f"{counted(count, 'event')} {verb} to the queue of {service.name}.")


def rebuild(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="SERVICE", help="The service.")],
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")] = False,
    as_json: AsJson = False,
) -> None:
    """Empty a service's tables and handle the whole history again.

    The service must be stopped, must publish nothing and must not act
    outside its database. Discarded events stay discarded.
    """
    from shared.history.retention import truncated_history
    from shared.operations.history import queries
    from shared.operations.history.rebuild import Rebuild, require_rebuildable
    from shared.runtime.service_settings import service_settings_of

    service = service_named(context, name)
    with (
        queries.open_history() as history,
        queries.open_broker(service.name) as broker,
        database_of(service) as database,
    ):
        require_rebuildable(service, broker, history)
        truncated = truncated_history(history)
        if truncated is not None:
            print_notice(f"{truncated.sentence}, and {name} will be rebuilt without them")
        if not yes:
            confirm(f"Empty the tables of {service.name} and rebuild them from the history?")
        with progress(f"rebuilding {service.name}") as watch:
            result = Rebuild(
                service=service,
                database=database,
                broker=broker,
                history=history,
                batch_size=service_settings_of(service).batch_size,
                on_progress=watch,
                on_unreadable=queries.warn_unreadable,
            ).run()
    if as_json:
        print_json(_record(service.name, result))
    else:
        _print_result(service.name, result)


def _require_subscription(
    service: "AnyService", event_filter: "EventFilter", of_type: str | None
) -> None:
    from shared.errors import InvalidInput
    from shared.events import topic_of
    from shared.messaging.topology import topics_matched

    topics = map(topic_of, event_filter.types)
    if not all(topics_matched(service.topics, topic) for topic in topics):
        subscribed = ", ".join(sorted(service.topics))
        raise InvalidInput(
            f"{service.name} does not subscribe to {of_type}; it subscribes to {subscribed}"
        )


def _confirm_side_effects(service: "AnyService") -> None:
    from shared.runtime.service import replay_side_effects

    side_effects = replay_side_effects(service)
    if side_effects is not None:
        confirm(
            f"{service.name} {side_effects}, and will do so for every old event that it has not "
            "handled, as if each happened now. Replay them?"
        )


def _record(name: str, result: "RebuildResult") -> dict[str, object]:
    return {
        "service": name,
        "handled": result.handled,
        "known": result.unchanged,
        "left_to_its_queue": result.queued,
        "unreadable": result.unreadable,
        "as_it_was": result.is_identical,
        "tables": {
            table: {
                "rows_before": result.before[table].rows if table in result.before else 0,
                "rows": after.rows,
                "as_it_was": result.before.get(table) == after,
            }
            for table, after in result.after.items()
        },
    }


def _print_result(name: str, result: "RebuildResult") -> None:
    echo(f"{name} was rebuilt from {counted(result.handled, 'event')}.")
    if result.unchanged:
        echo(f"{counted(result.unchanged, 'event')} stayed discarded or dead.")
    if result.queued:
        echo(f"{counted(result.queued, 'event')} failed; the service's queue has them for a retry.")
    if result.unreadable:
        echo(f"{counted(result.unreadable, 'unreadable message')} skipped.")
    if result.is_identical:
        echo("Every table holds the same rows as before.")
    for difference in result.differences:
        echo(f"Different: {difference}.")
