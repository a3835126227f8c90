"""The commands that run the services, set them up and add to them."""

from typing import Annotated

import typer
from typer.core import TyperGroup

from shared.operations.console import service_named, services_of


def demo() -> None:
    """Play the whole story in one process, in seconds; it ends by itself."""
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
    name: Annotated[str, typer.Argument(help="The service.")],
    *,
    from_history: Annotated[
        bool, typer.Option("--from-history", help="Begin with all that happened before, once.")
    ] = False,
    yes: Annotated[
        bool, typer.Option("--yes", help="Also where that publishes, or acts gateway.")
    ] = False,
) -> None:
    """Run one service until Ctrl-C, as in its container."""
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


def setup(context: typer.Context) -> None:
    """Make broker and databases as the services need them; again changes nothing."""
    from shared.runtime.setup import set_up

    for sentence in set_up(services_of(context)):
        typer.echo(sentence)


def new(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="The new service.")],
    *,
    on: Annotated[
        list[str] | None,
        typer.Option("--on", metavar="EVENT", help="Such as order.placed; every event by default."),
    ] = None,
) -> None:
    """Make a new consumer: folder, migration, test and compose stanza, ready to run."""
    from shop.new_consumer import add_consumer

    for sentence in add_consumer(name, on or [], commands=_names_of(context)):
        typer.echo(sentence)


def _names_of(context: typer.Context) -> list[str]:
    """The names that a new service cannot have: those of `shop`'s own commands."""
    program = context.find_root().command
    return list(program.commands) if isinstance(program, TyperGroup) else []
