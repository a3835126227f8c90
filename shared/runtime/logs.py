"""Logs: an event name and fields, as JSON or as coloured columns for a terminal.

No line holds personal data: a line about a delivery holds ids, types and the handler's notes. Of an
error that is not the project's own, it holds only the class and where it was raised; at the level
`debug` also its stack, which holds lines of code and no values.
"""

import logging
import sys
from datetime import UTC, datetime
from typing import Any, TextIO

import structlog
from structlog.dev import Column, ConsoleRenderer, plain_traceback
from structlog.stdlib import ProcessorFormatter, add_logger_name
from structlog.typing import EventDict, FilteringBoundLogger, Processor, WrappedLogger

from shared.clocks import TOLERANCE
from shared.errors import ShopError
from shared.exhaustion import exhausted_resource
from shared.messaging.identity import Identity, safe_id, safe_type
from shared.messaging.ports.consumer import Outcome
from shared.runtime import hints
from shared.runtime.colours import ansi_colour
from shared.runtime.reactor import DeliveryResult
from shared.runtime.settings import Settings
from shared.stack_frames import origin_of
from shared.storage import failures

Log = FilteringBoundLogger

_DIM, _RED, _GREEN, _YELLOW, _RESET = "\x1b[2m", "\x1b[31m", "\x1b[32m", "\x1b[33m", "\x1b[0m"
_LEVEL_COLOURS = {"warning": _YELLOW, "error": _RED}
_JSON_ONLY = ("level", "event_id", "correlation_id")

_timestamp = structlog.processors.TimeStamper(fmt="iso", utc=True)


def log_to(stream: TextIO, settings: Settings) -> Log:
    """A log that writes to a stream in the format `settings.log_format`."""
    logger: Log = structlog.wrap_logger(
        structlog.WriteLogger(stream),
        processors=[
            structlog.processors.add_log_level,
            _timestamp,
            *([_fit_commands] if settings.composed else []),
            *_renderers(stream, settings),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(settings.log_level),
        cache_logger_on_first_use=True,
    )
    return logger


def process_log(settings: Settings) -> Log:
    """The log of a process, on standard output, with the warnings and errors of libraries."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setLevel(settings.log_level.upper())
    handler.setFormatter(
        ProcessorFormatter(
            foreign_pre_chain=[structlog.processors.add_log_level, add_logger_name, _timestamp],
            processors=[
                ProcessorFormatter.remove_processors_meta,
                _without_exception,
                *_renderers(sys.stdout, settings),
            ],
        )
    )
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    return log_to(sys.stdout, settings)


def log_delivery(log: Log, result: DeliveryResult) -> None:
    """Log the result of one delivery, in one line."""
    delivery, error = result.delivery, result.error
    fields: dict[str, Any] = _identity(result) | {"attempt": delivery.attempt}
    if delivery.replays:
        fields["replays"] = delivery.replays
    if error is not None:
        fields["error"] = type(error).__name__
        fields["reason"] = (
            str(error)
            if isinstance(error, ShopError)
            else exhausted_resource(error) or f"at {origin_of(error)}"
        )
    if result.event and (seconds := _in_future(result.event.occurred_at)):
        fields["from_future"] = f"{seconds:.0f} s"
    fields |= {"did": ", ".join(result.notes)} if result.notes else {}
    fields |= {"published": ", ".join(result.published)} if result.published else {}
    if result.is_dead:
        log.error("dead", **fields)
    elif result.outcome is Outcome.RETRY:
        log.warning("failed, will retry", **fields)
    elif result.outcome is Outcome.REQUEUE:
        log.info("requeued", **fields)
    else:
        log.info("duplicate" if result.duplicate else "handled", **fields)
    if error is not None and (stack := failures.describe(error).stack):
        log.debug("stack", **_identity(result), stack=stack)


def _in_future(moment: datetime) -> float:
    """Seconds by which a time is ahead of this machine's clock; 0 within the tolerance."""
    seconds = (moment - datetime.now(UTC)).total_seconds()
    return seconds if seconds > TOLERANCE else 0.0


def _identity(result: DeliveryResult) -> dict[str, Any]:
    event = result.event
    if event is None or result.error is not None:
        identity = Identity.of_failed(result.delivery, type(result.error).__name__)
        values = identity.id, identity.event_type, identity.subject
    else:
        subject = None if event.subject is None else safe_id(event.subject)
        values = str(event.event_id), safe_type(event.type), subject
    return dict(zip(("event_id", "event_type", "order_id"), values, strict=True))


def _without_exception(_logger: WrappedLogger, _method: str, fields: EventDict) -> EventDict:
    """Drop the exception of a library's log record: its message may quote personal data."""
    fields.pop("exc_info", None)
    fields.pop("stack_info", None)
    return fields


def _fit_commands(_logger: WrappedLogger, _method: str, fields: EventDict) -> EventDict:
    """Name commands as they can be typed before the composition."""
    if isinstance(reason := fields.get("reason"), str):
        fields["reason"] = hints.composed(reason)
    return fields


def _renderers(stream: TextIO, settings: Settings) -> list[Processor]:
    if settings.log_format == "console" or (not settings.log_format and stream.isatty()):
        return _console_renderers(is_coloured=stream.isatty())
    return [structlog.processors.JSONRenderer()]


def _console_renderers(*, is_coloured: bool) -> list[Processor]:
    """Columns for the time, service, event, type, order, notes, and the other fields."""

    def paint(text: str, colour: str) -> str:
        return f"{colour}{text}{_RESET}" if is_coloured and colour else text

    def prepare(_logger: WrappedLogger, _method: str, fields: EventDict) -> EventDict:
        colour = _LEVEL_COLOURS.get(fields["level"], "")
        fields["event"] = paint(f"{fields['event']:<10}", colour)
        fields.setdefault("service", "")  # to align the other columns
        if fields.get("attempt") == 1:
            del fields["attempt"]
        return {name: value for name, value in fields.items() if name not in _JSON_ONLY}

    columns = [
        Column("timestamp", lambda _, value: paint(f"{str(value)[11:23]}Z", _DIM)),
        Column("service", lambda _, value: f" {paint(f'{value:<10}', ansi_colour(str(value)))} "),
        Column("event", lambda _, value: f"{value} "),
        Column("event_type", lambda _, value: f"{value:<20}"),
        Column("order_id", lambda _, value: f"{value or '':<12} "),
        Column("did", lambda _, value: f"{value} "),
        Column("published", lambda _, value: f"{paint(f'→ {value}', _GREEN)} "),
        Column("attempt", lambda _, value: f"{paint(f'attempt {value}', _YELLOW)} "),
        Column("stack", lambda _, value: f"\n{value.rstrip()}"),
        Column("", lambda key, value: f"{key}={value} "),
    ]
    renderer = ConsoleRenderer(
        columns=columns, sort_keys=False, exception_formatter=plain_traceback
    )
    return [prepare, renderer]
