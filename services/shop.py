"""The program `shop`: every service's commands, and those that run and set up the services."""

import gc
import os
import sys
from typing import Annotated

import typer

from services import dead_commands, registry
from shared.errors import ShopError, WrongInput
from shared.runtime import replay_commands
from shared.runtime.commands import AsJson, database_of, show, visible

app = typer.Typer(
    name="shop",
    help="Past Tense: an order system of services that only tell each other what happened.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    # What `shared` may not import: its commands ask their context for it.
    context_settings={"obj": registry.all_services},
)


@app.command()
def demo() -> None:
    """Play the whole story in one process, in seconds; it ends by itself."""
    from services.demo import play

    raise typer.Exit(play())


@app.command()
def up() -> None:
    """Run all services in one process until Ctrl-C."""
    from shared.runtime.process import run as run_services
    from shared.runtime.settings import settings_for

    everyone = registry.all_services
    raise typer.Exit(run_services(everyone(), settings_for(), everyone=everyone))


@app.command()
def run(
    name: Annotated[str, typer.Argument(help="The service.")],
    *,
    from_history: Annotated[
        bool, typer.Option("--from-history", help="Begin with all that happened before, once.")
    ] = False,
    yes: Annotated[
        bool, typer.Option("--yes", help="Also where that publishes, or acts outside.")
    ] = False,
) -> None:
    """Run one service until Ctrl-C, as in its container."""
    from shared.runtime.process import run as run_services
    from shared.runtime.replaying import must_be_meant
    from shared.runtime.settings import settings_for

    service = registry.service(name)
    if from_history and not yes:
        must_be_meant(service)
    settings, everyone = settings_for(name), registry.all_services
    raise typer.Exit(
        run_services([service], settings, everyone=everyone, from_history=from_history)
    )


@app.command()
def setup() -> None:
    """Make broker and databases as the services need them; again changes nothing."""
    from shared.runtime.setting_up import set_up

    for sentence in set_up(registry.all_services()):
        typer.echo(sentence)


@app.command()
def doctor(*, as_json: AsJson = False) -> None:
    """Check that broker, databases and topology are there, and say what to do."""
    from shared.errors import CouldNotBeDone
    from shared.runtime.doctor import check
    from shared.runtime.setting_up import OPERATOR
    from shared.runtime.settings import settings_for

    everyone = registry.all_services()
    seen = visible(everyone)
    if not seen:
        raise CouldNotBeDone("nothing can be seen from here: SHOP_KEYS holds no service's secrets")
    try:
        operator = settings_for(OPERATOR)
    except CouldNotBeDone:
        operator = None  # a service's own container
    findings = list(check(everyone, seen, operator))
    show(
        [
            {
                "what": each.what,
                "ok": each.is_well if as_json else "✓" if each.is_well else "✗",
                "says": each.says,
            }
            for each in findings
        ],
        as_json=as_json,
        columns={"ok": "", "what": "What", "says": "Says"},
    )
    raise typer.Exit(0 if all(each.is_well for each in findings) else 1)


@app.command()
def new(
    name: Annotated[str, typer.Argument(help="The new service.")],
    *,
    on: Annotated[
        list[str] | None,
        typer.Option("--on", metavar="EVENT", help="Such as order.placed; every event by default."),
    ] = None,
) -> None:
    """Make a new consumer: folder, migration, test and compose stanza, ready to run."""
    from services.adding import add_consumer

    for sentence in add_consumer(name, on or [], commands=_command_names()):
        typer.echo(sentence)


app.add_typer(replay_commands.app, name="events")

outbox_app = typer.Typer(help="Events on their way to the broker.", no_args_is_help=True)


@outbox_app.callback()
def outbox() -> None:
    """Events on their way to the broker."""


@outbox_app.command()
def resend(service: Annotated[str, typer.Argument(help="The service.")]) -> None:
    """Send after all what the broker would not take, once `shop doctor`'s cause is mended."""
    from shared.storage.outbox import resend as send_again

    with database_of(registry.service(service)) as database, database.begin() as connection:
        number = send_again(connection, database)
    typer.echo(f"{number} events will be sent by {service} again")


app.add_typer(dead_commands.app, name="dead")
app.add_typer(outbox_app, name="outbox")

for _name in registry.names():
    _commands = registry.commands(_name)
    if _commands is not None:
        app.add_typer(_commands.app, name=_name)


def _command_names() -> list[str]:
    commands = [each.callback.__name__ for each in app.registered_commands if each.callback]
    return commands + [str(each.name) for each in app.registered_groups]


def main() -> None:
    """Run the command line; errors are one sentence on standard error.

    Exit codes: 0 done, 1 could not be done, 2 wrong input, 130 interrupted.
    """
    # Loading makes many objects and no garbage; looking for some took a tenth of a command's time.
    gc.set_threshold(50_000)
    try:
        code = app(standalone_mode=False)
    except typer.Abort:
        sys.exit(130)
    except ShopError as error:
        _say(str(error))
        sys.exit(2 if isinstance(error, WrongInput) else 1)
    except typer.exceptions.TyperException as error:
        if error.format_message():  # none where a group's help was shown instead
            _say(error.format_message().replace("Value error, ", ""))
        sys.exit(error.exit_code)
    except OSError as error:
        if error.filename is not None:
            _say(f"{error.filename}: {error.strerror}")
            sys.exit(1)
        # Standard output went away: a full disk, or a pager that was left.
        _say(f"the output could not be written: {error.strerror}")
        os._exit(1)  # not sys.exit, which would try to write once more
    sys.exit(code if isinstance(code, int) else 0)


def _say(sentence: str) -> None:
    typer.echo(f"shop: {sentence}", err=True)


if __name__ == "__main__":
    main()
