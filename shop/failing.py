"""Reports errors of commands: one sentence, or one JSON object where the command has `--json`."""

import json
import os
import sys
from typing import Any

import typer

from shared.errors import InvalidInput, OperationFailed, ShopError
from shared.exhaustion import reason_of
from shared.operations.console import print_notice
from shared.operations.output import OUTPUT, arguments, echo
from shared.runtime.hints import command, fitting


def asks_for_json(arguments: list[str]) -> bool:
    """Whether a command's arguments contain the option `--json`."""
    options = arguments[: arguments.index("--")] if "--" in arguments else arguments
    return "--json" in options


def fail(error: ShopError) -> int:
    """Report an error of this project; return the exit code."""
    _report(type(error).__name__, str(error))
    return 2 if isinstance(error, InvalidInput) else 1


def fail_usage(error: typer.exceptions.TyperException) -> int:
    """Report wrong options or arguments, with the command's help; return the exit code."""
    message = _usage_message(error)
    if message:  # empty when the help of a group was shown
        _report(InvalidInput.__name__, message)
    return error.exit_code


def fail_output(error: OSError) -> None:
    """Report a file that cannot be used, or an output that cannot be written; end the process."""
    if error.filename == OUTPUT:
        # It was closed, as by a pager, or its disk is full.
        _report(OperationFailed.__name__, f"the output could not be written: {reason_of(error)}")
        os._exit(1)  # sys.exit would flush standard output and fail again
    place = error.filename or "the operating system reports"
    _report(OperationFailed.__name__, f"{place}: {reason_of(error)}")
    sys.exit(1)


def _report(code: str, message: str) -> None:
    if asks_for_json(sys.argv[1:]):
        error = {"error": {"code": code, "message": fitting(message)}}
        echo(json.dumps(error), err=True)  # in ASCII, which every terminal and pipe can express
    else:
        print_notice(message)


def _usage_message(error: Any) -> str:  # noqa: ANN401 - Typer's classes are private
    from pydantic import ValidationError

    from shared.events.sentences import sentence

    if isinstance(error.__cause__, ValidationError):
        error.message = sentence(error.__cause__.errors(include_url=False)[0])
    context = getattr(error, "ctx", None)
    is_missing = type(error).__name__ == "MissingParameter" and context is not None
    message: str = _missing(context) if is_missing else error.format_message().rstrip(".")
    if not message or context is None:
        return message
    help_command = command(*context.command_path.split()[1:], help="")
    return f"{message}{' See' if message.endswith('?') else '; see'} {help_command}"


def _missing(context: Any) -> str:  # noqa: ANN401 - Typer's classes are private
    """Name all required options and arguments that were not given; Typer names the first only."""
    depth = len(context.command_path.split()) - 1
    given, *_ = context.command.make_parser(context).parse_args(args=arguments()[depth:])
    names = [
        parameter.opts[0] if parameter.opts[0].startswith("-") else parameter.metavar
        for parameter in context.command.params
        if parameter.required and not given.get(parameter.name)
    ]
    return f"missing: {', '.join(names)}"
