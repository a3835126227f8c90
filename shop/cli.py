"""The program `shop`: its commands, in the order in which the help lists them."""

import gc
import sys
from typing import Annotated

import typer

from shared import __version__
from shared.errors import ShopError
from shared.operations import commands as operations
from shared.operations.catalog.commands import show_catalog
from shared.operations.console import command_group, print_notice
from shared.operations.dead_letters import commands as dead_letters
from shared.operations.failure_commands import failures
from shared.operations.history import read_commands, replay_commands
from shared.operations.output import arguments, echo, prepare_output
from shop import commands, failing, registry

app = typer.Typer(
    name="shop",
    help="Past Tense: an order system of services that communicate only through events.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    # For the commands in `shared`, which must not import the services.
    context_settings={"obj": registry, "help_option_names": ["-h", "--help"]},
)


def _show_version(*, wanted: bool) -> None:
    if wanted:
        echo(f"shop {__version__}")
        raise typer.Exit


@app.callback(no_args_is_help=True)
def _options(
    context: typer.Context,
    *,
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    from shared.runtime.settings import variable_names
    from shared.runtime.unknown_settings import check_names

    unknown = check_names(variable_names(), registry.names())
    is_long = context.invoked_subcommand in ("up", "run", "setup")
    for sentence in unknown.misspelt + (unknown.others if is_long else []):
        print_notice(sentence)


app.command()(commands.demo)
app.command()(commands.up)
app.command()(commands.run)
app.command()(commands.setup)
app.command()(operations.doctor)
app.command()(failures)
app.command()(commands.new)
app.command()(commands.remove)

events = command_group("Describe, show and replay events.")
events.command("catalog")(show_catalog)
events.command()(read_commands.tail)
events.command()(read_commands.history)
events.command()(read_commands.timeline)
events.command()(replay_commands.replay)
events.command()(replay_commands.rebuild)
app.add_typer(events, name="events")

dead = command_group("List, show, retry and discard dead letters.")
dead.command("list")(dead_letters.list_)
dead.command("show")(dead_letters.show_)
dead.command()(dead_letters.retry)
dead.command()(dead_letters.discard)
app.add_typer(dead, name="dead")

outbox = command_group("Resend events that the broker rejected.")
outbox.command()(operations.resend)
app.add_typer(outbox, name="outbox")

for _name in registry.names():
    _commands = registry.commands(_name)
    if _commands is not None:
        app.add_typer(_commands.app, name=_name)


def main() -> None:
    """Run the command line; print an error as one sentence, or as JSON, on standard error.

    Exit codes: 0 success, 1 failure, 2 invalid input, 130 interrupted.
    """
    # Imports create many objects and no garbage; collecting it took a tenth of a command's time.
    gc.set_threshold(50_000)
    try:
        prepare_output()
        code = app(arguments(), prog_name="shop", standalone_mode=False)
        if sys.stdout is not None:
            sys.stdout.flush()  # not at exit, where an error would be a traceback
    except typer.Abort:
        sys.exit(130)
    except ShopError as error:
        sys.exit(failing.fail(error))
    except typer.exceptions.TyperException as error:
        sys.exit(failing.fail_usage(error))
    except OSError as error:
        failing.fail_output(error)
    sys.exit(code if isinstance(code, int) else 0)


if __name__ == "__main__":
    main()
