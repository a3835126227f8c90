"""The program `shop`: all commands, in the order in which its help lists them."""

import gc
import os
import sys
from typing import Annotated

import typer

from shared import __version__
from shared.errors import InvalidInput, ShopError
from shared.operations import commands as operations
from shared.operations.catalog.commands import show_catalog
from shared.operations.dead_letters import commands as dead_letters
from shared.operations.history import read_commands, replay_commands
from shop import commands, registry


def _group(help_text: str) -> typer.Typer:
    """A group of commands; also one that has a single command takes that command's name."""
    group = typer.Typer(help=help_text, no_args_is_help=True)
    group.callback()(lambda: None)
    return group


app = typer.Typer(
    name="shop",
    help="Past Tense: an order system of services that only tell each other what happened.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    # Handed to the commands of `shared`, which may not import the services.
    context_settings={"obj": registry},
)


def _show_version(*, wanted: bool) -> None:
    if wanted:
        typer.echo(f"shop {__version__}")
        raise typer.Exit


@app.callback(no_args_is_help=True)
def _options(
    *,
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    pass


app.command()(commands.demo)
app.command()(commands.up)
app.command()(commands.run)
app.command()(commands.setup)
app.command()(operations.doctor)
app.command()(commands.new)

events = _group("Events: what there are, and what has happened.")
events.command("catalog")(show_catalog)
events.command()(read_commands.tail)
events.command()(read_commands.history)
events.command()(read_commands.timeline)
events.command()(replay_commands.replay)
events.command()(replay_commands.rebuild)
app.add_typer(events, name="events")

dead = _group("Events that a service could not handle: look, retry, discard.")
dead.command("list")(dead_letters.list_)
dead.command("show")(dead_letters.show_)
dead.command()(dead_letters.retry)
dead.command()(dead_letters.discard)
app.add_typer(dead, name="dead")

outbox = _group("Events on their way to the broker.")
outbox.command()(operations.resend)
app.add_typer(outbox, name="outbox")

for _name in registry.names():
    _commands = registry.commands(_name)
    if _commands is not None:
        app.add_typer(_commands.app, name=_name)


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
        sys.exit(2 if isinstance(error, InvalidInput) else 1)
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
