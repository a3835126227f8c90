"""The commands that run and set up the services and add new ones."""

from typing import TYPE_CHECKING, Annotated

import typer
from typer.core import TyperGroup

from shared.operations.console import (
    AsJson,
    print_json,
    print_notice,
    service_named,
    services_of,
    show,
)
from shared.operations.output import echo

if TYPE_CHECKING:
    from shared.runtime.settings import Settings


AsJsonLog = Annotated[
    bool, typer.Option("--json", help="Log in JSON, as SHOP_LOG_FORMAT=json does.")
]


def demo(*, as_json: AsJson = False) -> None:
    """Show all services at work in one process; takes a few seconds."""
    from shop.demo.play import play, play_quietly

    raise typer.Exit(play_quietly() if as_json else play())


def up(context: typer.Context, *, as_json: AsJsonLog = False) -> None:
    """Run all services in one process until Ctrl-C."""
    from shared.runtime.process import run as run_services
    from shared.runtime.settings import settings_for

    services, settings = services_of(context), _logging(settings_for(), as_json=as_json)
    raise typer.Exit(run_services(services, settings, everyone=context.obj.all_services))


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
    as_json: AsJsonLog = False,
) -> None:
    """Run one service until Ctrl-C, as its container does."""
    from shared.runtime.process import run as run_services
    from shared.runtime.service import require_consent
    from shared.runtime.settings import settings_for

    service = service_named(context, name)
    if from_history and not yes:
        require_consent(service)
    settings = _logging(settings_for(name), as_json=as_json)
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
    from shared.operations.home import new_home
    from shared.runtime.settings import settings_for
    from shared.runtime.setup import set_up
    from shared.runtime.unsubscribed import Unsubscribed

    settings = settings_for()
    made = new_home(settings, settings.broker_url)
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
        if made:
            print_notice(made)
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
    as_json: AsJson = False,
) -> None:
    """Create a new consumer: its package, migration, test and Compose service."""
    from shop.new_consumer import add_consumer

    program = context.find_root().command
    commands = program.commands if isinstance(program, TyperGroup) else ()
    added = add_consumer(name, on or [], commands=commands)
    if as_json:
        print_json(added.record)
        return
    for sentence in added.sentences:
        echo(sentence)


def remove(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The service.")],
    *,
    drop_data: Annotated[
        bool, typer.Option("--drop-data", help="Remove its database too.")
    ] = False,
    discard_messages: Annotated[
        bool,
        typer.Option("--discard-messages", help="Even if messages wait for it, or are dead."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Remove a consumer: its queues, bindings, policy and users.

    Stop it first. Its code stays: remove services/NAME, its tests and its parts
    of docker-compose.yml, or the next shop setup makes its queues again.
    """
    from shared.errors import InvalidInput
    from shared.operations.removal import Removal
    from shop import registry

    if name in registry.names() and (published := registry.service(name).publishes):
        types = ", ".join(sorted(event.topic for event in published))
        raise InvalidInput(f"{name} publishes {types}, on which other services depend")
    removal = Removal(name=name, drop_data=drop_data, discard_messages=discard_messages)
    sentences = list(removal.run())
    if (registry.ROOT / "services" / name).is_dir():
        sentences.append(f"services/{name} is still there: shop setup or shop up makes it again")
    if as_json:
        print_json({"name": name, "done": sentences})
        return
    for sentence in sentences:
        echo(sentence)


def _logging(settings: "Settings", *, as_json: bool) -> "Settings":
    return settings.model_copy(update={"log_format": "json"}) if as_json else settings
