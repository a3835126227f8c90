"""The commands `shop events …` that read what has happened, or bring it to a service again."""

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from shared.runtime.commands import AsJson, database_of, print_json
from shared.runtime.event_commands import app, services_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shared.messaging.port import Broker, HistoryReader
    from shared.runtime.history import Newest, Reading, Told, Unreadable, Wanted
    from shared.runtime.rebuilding import Rebuilt
    from shared.runtime.service import AnyService

__all__ = ["app"]

Type = Annotated[
    str | None, typer.Option("--type", help="Only this type: order.placed or order.placed.v1.")
]
Order = Annotated[str | None, typer.Option("--order", help="Only of this order.")]
Since = Annotated[
    str | None, typer.Option("--since", metavar="2d|3h|DATE", help="Only what occurred since.")
]


@app.command()
def tail(
    context: typer.Context, *, of_type: Type = None, order: Order = None, as_json: AsJson = False
) -> None:
    """Show events as they happen, until Ctrl-C; with --json a CloudEvent a line, as it was sent."""
    services = services_of(context)
    wanted = _wanted(of_type=of_type, order=order)
    with _history(services) as history:
        end = history.end()
        _say("what happens from now on; Ctrl-C ends it")
        try:
            _print(_reading(history, wanted, start=end), as_json=as_json)
        except KeyboardInterrupt:
            _say("ended")


@app.command("history")
def show_history(  # noqa: PLR0913 - its options
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
    from shared.errors import WrongInput
    from shared.runtime.history import Newest

    services = services_of(context)
    wanted = _wanted(since=since, of_type=of_type, order=order)
    with _history(services) as history:
        _say_what_is_not_kept(history, wanted)
        reading = (
            Newest(history, wanted, limit, tell=_complain)
            if limit
            else _reading(history, wanted, end=history.end())
        )
        shown = _print(reading, as_json=as_json)
    _say_unreadable(reading)
    if shown == 0 and order and not since and not of_type:
        raise WrongInput(f"the history has no event of the order {order!r}")
    if shown == 0:
        _say("nothing of that kind has happened")


@app.command()
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

    from shared.errors import CouldNotBeDone, WrongInput
    from shared.runtime.telling import print_timeline
    from shared.runtime.timeline import Teller

    services = services_of(context)
    _must_be_order(order)
    with ExitStack() as opened:
        teller = Teller(
            services=services,
            opening=database_of,
            history=lambda: opened.enter_context(_history(services)),
        )
        told = teller.story(order)
    for note in told.notes:
        _say(note)
    if not told.happenings and not told.is_certain:
        raise CouldNotBeDone(f"whether there is an order {order!r} cannot be told now")
    if not told.happenings:
        raise WrongInput(f"nobody has heard of an order {order!r}")
    if as_json:
        events = [each.record for each in told.happenings]
        print_json({"order_id": order, "events": events, "notes": list(told.notes)})
    else:
        print_timeline(told)


@app.command()
def replay(  # noqa: PLR0913 - its options
    context: typer.Context,
    *,
    to: Annotated[str, typer.Option("--to", metavar="SERVICE", help="The service.")],
    since: Since = None,
    of_type: Type = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count.")] = False,
    as_json: AsJson = False,
) -> None:
    """Bring old events to one service's queue again, behind whatever waits there.

    What the service has handled before is a duplicate to it, and changes nothing.
    """
    from dataclasses import replace

    from shared.runtime.replaying import copy

    service = _named(services_of(context), to)
    wanted = _wanted(since=since, of_type=of_type)
    _must_subscribe(service, wanted, of_type)
    with _broker(service.name) as broker:
        history = broker.history()
        _say_what_is_not_kept(history, wanted)
        end = history.end()
        reading = _reading(history, replace(wanted, topics=service.topics), end=end)
        with _progress(f"to {service.name}") as watch:
            count = 0
            if dry_run:
                for count, each in enumerate(reading, 1):  # noqa: B007 - told below
                    watch(each.record.offset + 1, end)
            else:
                publisher = broker.publisher()
                for copied in copy(reading, publisher, to=service.name, replays=1):
                    count += copied.number
                    watch(copied.place, end)
    _say_unreadable(reading)
    found = {"service": service.name, "events": count, "unreadable": reading.unreadable}
    if as_json:
        print_json(found | {"sent": not dry_run})
    else:
        does = "would go" if dry_run else "went"
        typer.echo(f"{_events(count)} {does} to the queue of {service.name}.")


@app.command()
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
    from shared.runtime.rebuilding import Rebuilding, must_be_allowed
    from shared.runtime.tuning import tuning_of

    service = _named(services_of(context), name)
    with _broker(service.name) as broker, database_of(service) as database:
        must_be_allowed(service, broker)
        _say_what_is_lost(broker.history(), service)
        if not yes:
            question = f"Empty the tables of {service.name} and make them anew from the history?"
            typer.confirm(question, abort=True, err=True)
        with _progress(f"rebuilding {service.name}") as watch:
            rebuilt = Rebuilding(
                service=service,
                database=database,
                broker=broker,
                batch_size=tuning_of(service).batch_size,
                watch=watch,
                tell=_complain,
            ).run()
    if as_json:
        print_json(_record(service.name, rebuilt))
    else:
        _print_rebuilt(service.name, rebuilt)


def _record(name: str, rebuilt: "Rebuilt") -> dict[str, object]:
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


def _print_rebuilt(name: str, rebuilt: "Rebuilt") -> None:
    typer.echo(f"{name} is rebuilt from {_events(rebuilt.handled)}.")
    if rebuilt.known:
        typer.echo(f"{_events(rebuilt.known)} stayed as they were: discarded, or dead.")
    if rebuilt.left:
        typer.echo(
            f"{_events(rebuilt.left)} could not be handled now and went to its queue: it tries "
            "again when it runs."
        )
    if rebuilt.unreadable:
        typer.echo(f"{_skipped(rebuilt.unreadable)}.")
    if rebuilt.is_as_it_was:
        typer.echo("It is exactly as it was.")
    for each in rebuilt.differences:
        typer.echo(f"It differs: {each}.")


def _wanted(
    *, since: str | None = None, of_type: str | None = None, order: str | None = None
) -> "Wanted":
    from shared.runtime.history import Wanted, moment, types_named

    if order is not None:
        _must_be_order(order)
    return Wanted(
        types=types_named(of_type) if of_type is not None else frozenset(),
        order=order,
        since=moment(since) if since is not None else None,
    )


def _must_be_order(text: str) -> None:
    from pydantic import TypeAdapter, ValidationError

    from shared.errors import WrongInput
    from shared.events.fields import OrderId

    try:
        TypeAdapter(OrderId).validate_python(text)
    except ValidationError:
        raise WrongInput("an order's id should be 1 to 64 letters, digits or dashes") from None


def _must_subscribe(service: "AnyService", wanted: "Wanted", of_type: str | None) -> None:
    from shared.errors import WrongInput
    from shared.messaging.topology import topics_matched

    topics = {each.rpartition(".v")[0] for each in wanted.types}
    if not all(topics_matched(service.topics, topic) for topic in topics):
        there_are = ", ".join(sorted(service.topics))
        raise WrongInput(
            f"{service.name} did not subscribe to {of_type}; it subscribes to {there_are}"
        )


def _named(services: "Sequence[AnyService]", name: str) -> "AnyService":
    from shared.errors import WrongInput

    found = {each.name: each for each in services}
    if name not in found:
        raise WrongInput(f"there is no service {name!r}; there are {', '.join(found)}")
    return found[name]


@contextmanager
def _broker(owner: str) -> "Iterator[Broker]":
    from shared.messaging.connect import broker_at
    from shared.runtime.settings import settings_for

    broker = broker_at(settings_for(owner).broker_url_of(owner), app="shop events")
    try:
        yield broker
    finally:
        broker.close()


@contextmanager
def _history(services: "Sequence[AnyService]") -> "Iterator[HistoryReader]":
    with _broker(_reader(services)) as broker:
        yield broker.history()


def _reader(services: "Sequence[AnyService]") -> str:
    """Who reads the history: the operator, or the service whose container this is."""
    from shared.errors import CouldNotBeDone
    from shared.runtime.setting_up import OPERATOR
    from shared.runtime.settings import settings_for

    refusal: CouldNotBeDone | None = None
    for owner in (OPERATOR, *(each.name for each in services)):
        try:
            settings_for(owner)
        except CouldNotBeDone as error:
            refusal = refusal or error
        else:
            return owner
    raise refusal or CouldNotBeDone("there is nobody here who may read the history")


def _reading(
    history: "HistoryReader", wanted: "Wanted", *, start: int | None = None, end: int | None = None
) -> "Reading":
    from shared.runtime.history import Reading

    return Reading(history, wanted, start=start, end=end, tell=_complain)


def _print(told: "Iterable[Told]", *, as_json: bool) -> int:
    """Print each as soon as it is there; answers how many."""
    from shared.runtime.telling import as_cloud_event, as_line

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


def _say_what_is_not_kept(history: "HistoryReader", wanted: "Wanted") -> None:
    from shared.runtime.history import kept_since

    begins = kept_since(history)
    if begins is not None and (wanted.since is None or wanted.since < begins):
        _say(
            f"the history begins at {begins:%Y-%m-%d %H:%M:%S} UTC; what was before is not kept "
            "(SHOP_HISTORY_DAYS, SHOP_HISTORY_MAX_BYTES)"
        )


def _say_what_is_lost(history: "HistoryReader", service: "AnyService") -> None:
    from shared.runtime.history import kept_since

    begins = kept_since(history)
    if begins is not None:
        _say(
            f"the history begins at {begins:%Y-%m-%d %H:%M:%S} UTC; what was before is not kept, "
            f"and {service.name} will no longer know of it"
        )


def _say_unreadable(reading: "Reading | Newest") -> None:
    if reading.unreadable:
        _say(_skipped(reading.unreadable))


def _skipped(number: int) -> str:
    return f"{number:,} unreadable {'message was' if number == 1 else 'messages were'} skipped"


def _complain(message: "Unreadable") -> None:
    _say(f"unreadable, skipped: {message.which}: {message.reason}")


def _say(sentence: str) -> None:
    typer.echo(f"shop: {sentence}", err=True)


def _events(number: int) -> str:
    return f"{number:,} {'event' if number == 1 else 'events'}"


@contextmanager
def _progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar on standard error; only on a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task(what, total=None)

        def watch(place: int, end: int) -> None:
            progress.update(task, completed=place, total=end)

        yield watch
