"""Logs: an event name and fields; JSON for machines, aligned and coloured columns for people.

No line holds an address or a mail: reactions log ids and what the handler said that it did.
"""

import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

from shared.errors import ShopError
from shared.messaging.identity import Identity
from shared.messaging.ports.consumer import Outcome
from shared.runtime.reactor import DeliveryResult
from shared.runtime.settings import Settings
from shared.storage import failures

# structlog does without Rich where there is none; where there is, it loads it for a console that is
# not used here, which is 5 MB in each service's memory and 45 ms of the processor at its start.
_rich = sys.modules.get("rich")
sys.modules["rich"] = None  # type: ignore[assignment]
import structlog  # noqa: E402 - see above
from structlog.typing import EventDict, FilteringBoundLogger, Processor, WrappedLogger  # noqa: E402

del sys.modules["rich"]
if _rich is not None:
    sys.modules["rich"] = _rich

Log = FilteringBoundLogger

_COLOURS = tuple(f"\x1b[{code}m" for code in (36, 35, 34, 32, 33, 96, 95, 94))
_LEVELS = {"warning": "\x1b[33m", "error": "\x1b[31m"}
_DIM, _PLAIN = "\x1b[2m", "\x1b[0m"
_COLUMNS = ("service", "level", "event", "event_type", "order_id")
_MACHINES_ONLY = ("event_id", "timestamp", "correlation_id")


def log_to(stream: TextIO, settings: Settings) -> Log:
    """The log of this process, written to a stream in the form that fits it."""
    for_people = settings.log_format == "console" or (not settings.log_format and stream.isatty())
    last: Processor = (
        _Columns(is_coloured=stream.isatty()) if for_people else structlog.processors.JSONRenderer()
    )
    logger: Log = structlog.wrap_logger(
        structlog.WriteLogger(stream),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            last,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(settings.log_level),
        cache_logger_on_first_use=True,
    )
    return logger


def log_reaction(log: Log, reacted: DeliveryResult, *, dies: bool) -> None:
    """One line on what was done with one delivery.

    Args:
        dies: it was the last attempt that the broker allows.
    """
    delivery, error = reacted.delivery, reacted.error
    about: dict[str, Any] = _which(reacted) | {"attempt": delivery.attempt}
    if delivery.replays:
        about["replays"] = delivery.replays
    if error is not None:
        name, message, _ = failures.describe(error)
        known = isinstance(error, ShopError)
        about |= {"error": name, "reason": message if known else f"at {_where(error)}"}
        if reacted.outcome is Outcome.DEAD or dies:
            log.error("dead", **about)
        else:
            log.warning("failed, will retry", **about)
    elif reacted.outcome is Outcome.REQUEUE:
        log.info("handed back", **about)
    else:
        about |= {"did": ", ".join(reacted.notes)} if reacted.notes else {}
        about |= {"published": ", ".join(reacted.published)} if reacted.published else {}
        log.info("duplicate" if reacted.duplicate else "handled", **about)


def _which(reacted: DeliveryResult) -> dict[str, Any]:
    event = reacted.event
    if event is None:
        identity = Identity.of(reacted.delivery)
        which = identity.id, identity.event_type, identity.subject
    else:
        which = str(event.event_id), event.type, event.subject
    return dict(zip(("event_id", "event_type", "order_id"), which, strict=True))


def _where(error: BaseException) -> str:
    """The innermost place of an error, such as `store.py:41`."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return "an unknown place"
    return f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}"


class _Columns:
    """Renders a line for a person: time, service, what, type, order, and the rest."""

    def __init__(self, *, is_coloured: bool) -> None:
        self._colours: dict[str, int] = {}
        self._paint: Callable[[str, str], str] = (
            (lambda text, colour: f"{colour}{text}{_PLAIN}")
            if is_coloured
            else (lambda text, _: text)
        )

    def __call__(self, logger: WrappedLogger, method: str, line: EventDict) -> str:
        del logger, method
        level = str(line.get("level", ""))
        service = str(line.get("service", ""))
        parts = [
            self._paint(str(line.get("timestamp", ""))[11:23], _DIM),
            self._paint(f"{service:<10}", self._colour_of(service)),
            self._paint(f"{line.get('event', '')!s:<10}", _LEVELS.get(level, "")),
        ]
        if line.get("event_type"):
            parts.append(f"{line['event_type']:<20} {line.get('order_id') or '':<12}")
        parts += self._rest(line)
        return "  ".join(parts).rstrip()

    def _colour_of(self, service: str) -> str:
        """The next that nobody has yet, while there is one."""
        taken = self._colours.setdefault(service, len(self._colours))
        return _COLOURS[taken % len(_COLOURS)]

    def _rest(self, line: EventDict) -> list[str]:
        told = []
        if line.get("did"):
            told.append(str(line["did"]))
        if line.get("published"):
            told.append(self._paint(f"→ {line['published']}", "\x1b[32m"))
        if line.get("attempt", 1) != 1:
            told.append(self._paint(f"attempt {line['attempt']}", _LEVELS["warning"]))
        known = {*_COLUMNS, *_MACHINES_ONLY, "did", "published", "attempt"}
        told += [f"{name}={value}" for name, value in line.items() if name not in known]
        return told


class _Forwarding(logging.Handler):
    """What a library says through the standard library's logging, as a line of ours."""

    def __init__(self, log: Log) -> None:
        super().__init__(logging.WARNING)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        say = self._log.error if record.levelno >= logging.ERROR else self._log.warning
        say(record.getMessage(), logger=record.name)


def standard_log(settings: Settings) -> Log:
    """The log of a process, on standard output, with what libraries have to say in it."""
    log = log_to(sys.stdout, settings)
    logging.basicConfig(handlers=[_Forwarding(log)], level=logging.WARNING, force=True)
    return log
