"""The commands that run and set up the services and add new ones."""

from typing import Annotated

import typer
from typer.core import TyperGroup

from shared.operations.console import AsJson, service_named, services_of, show
from shared.operations.output import echo


def demo() -> None:
    """Show all services at work in one process; takes a few seconds."""
    from shop.demo.play import play

    raise typer.Exit(play())


def up(context: typer.Context) -> None:
    """Run all services in one process until Ctrl-C."""
    from shared.runtime.process import run as run_services
    from shared.runtime.settings import settings_for

    services = services_of(context)
    raise typer.Exit(run_services(services, settings_for(), everyone=context.obj.all_services))


def run(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The service.")],
    *,
    from_history: Annotated[
        bool, typer.Option("--from-history", help="Handle all past events first, once.")
    ] = False,
    yes: Annotated[
        bool, typer.Option("--yes", help="Confirm that --from-history may repeat side effects.")
    ] = False,
) -> None:
    """Run one service until Ctrl-C, as its container does."""
    from shared.runtime.process import run as run_services
    from shared.runtime.service import require_consent
    from shared.runtime.settings import settings_for

    service = service_named(context, name)
    if from_history and not yes:
        require_consent(service)
    settings = settings_for(name)
    raise typer.Exit(
        run_services(
            [service], settings, everyone=context.obj.all_services, from_history=from_history
        )
    )


def setup(
    context: typer.Context,
    *,
    drop_unsubscribed: Annotated[
        bool,
        typer.Option(
            "--drop-unsubscribed",
            help="Drop waiting messages of types to which their service no longer subscribes.",
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Set up the broker and the databases for all services; safe to repeat."""
    from shared.runtime.setup import set_up
    from shared.runtime.unsubscribed import Unsubscribed

    steps: list[str] = []
    unsubscribed: list[dict[str, object]] = []
    try:
        for step in set_up(services_of(context), drop_unsubscribed=drop_unsubscribed):
            if isinstance(step, Unsubscribed):
                unsubscribed.append(step.record)
            else:
                steps.append(step)
            if not as_json and (isinstance(step, str) or step.is_dropped):
                echo(str(step))
    finally:
        if as_json:
            show({"steps": steps, "unsubscribed": unsubscribed}, as_json=True)


def new(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The new service.")],
    *,
    on: Annotated[
        list[str] | None,
        typer.Option(
            "--on",
            metavar="EVENT",
            help="Subscribe to this event, such as order.placed; to every event by default.",
        ),
    ] = None,
) -> None:
    """Create a new consumer: its package, migration, test and Compose service."""
    from shop.new_consumer import add_consumer

    program = context.find_root().command
    commands = program.commands if isinstance(program, TyperGroup) else ()
    for sentence in add_consumer(name, on or [], commands=commands):
        echo(sentence)
