"""Renders events and timelines for a terminal, without personal data except in CloudEvents."""

from collections import Counter
from collections.abc import Iterator
from datetime import datetime

from rich.markup import escape

from shared.events import topic_of
from shared.history.reading import HistoryEvent
from shared.messaging.identity import safe_id, safe_type
from shared.operations.console import escape_control_characters, terminal, time_text
from shared.operations.history import timeline
from shared.operations.history.timeline import Reaction, Timeline, TimelineEntry
from shared.runtime.colours import style_of

_MARKS = {
    timeline.HANDLED: ("✓", "green"),
    timeline.DISCARDED: ("–", "dim"),
    timeline.DEAD: ("✗", "red"),
    timeline.REDRIVEN: ("↻", "yellow"),
    timeline.RETRYING: ("↻", "yellow"),
    timeline.WAITING: ("…", "yellow"),
    timeline.UNKNOWN: ("·", "dim"),
    timeline.UNSEEN: ("?", "dim"),
}

_WHITESPACE_TO_SPACES = str.maketrans("\r\n\t", "   ")

_WITHOUT_RECORD = {
    timeline.WAITING: "waiting",
    timeline.UNKNOWN: "unknown: it subscribed later, or its inbox was pruned",
    timeline.UNSEEN: "its database cannot be read from here",
}


def as_cloud_event(item: HistoryEvent) -> str:
    """The message as it was sent, on one line, without a byte order mark."""
    # JSON has line breaks and tabs between its tokens only.
    return escape_control_characters(
        item.record.body.decode("utf-8-sig").translate(_WHITESPACE_TO_SPACES)
    )


def as_line(item: HistoryEvent, *, width: int | None = None) -> str:
    """Time, type, order id, event id and causation id, on one line.

    Args:
        width: columns of the terminal, if any; where the line is longer, it has only the ends of
            the ids, which the commands take, and then not the causation id.
    """
    line = _line(item, id_length=36)
    if width is None or len(line) <= width:
        return line
    line = _line(item, id_length=8)
    return line if len(line) <= width else line.partition("  ← ")[0]


def _line(item: HistoryEvent, *, id_length: int) -> str:
    event = item.event
    cause = f"  ← {str(event.causation_id)[-id_length:]}" if event.causation_id else ""
    time = time_text(event.occurred_at, has_milliseconds=True)
    subject = safe_id(event.subject) if event.subject else "-"
    columns = time, f"{safe_type(event.type):<20}", f"{subject:<15}"
    return "  ".join((*columns, f"{str(event.event_id)[-id_length:]}{cause}"))


def print_timeline(order: Timeline) -> None:
    """Print a timeline, which must have entries."""
    console = terminal(width=100)
    first = order.entries[0].envelope
    times = [entry.envelope.occurred_at for entry in order.entries]
    duration = _duration((max(times) - min(times)).total_seconds())
    number = len(order.entries)
    length = "1 event, at" if number == 1 else f"{number} events in {duration}, from"
    begin = time_text(first.occurred_at)
    console.print(f"[bold]{order.order_id}[/]: {length} {begin}")
    day = _date_and_clock(first.occurred_at)[0]
    for entry in order.entries:
        console.print()
        previous_day, day = day, _date_and_clock(entry.envelope.occurred_at)[0]
        if day != previous_day:
            console.print(f"[bold]{day}[/]")
        for line in _lines(entry):
            console.print(line, soft_wrap=True)


def _lines(entry: TimelineEntry) -> Iterator[str]:
    envelope, indent = entry.envelope, "   " * entry.depth
    _, time = _date_and_clock(envelope.occurred_at)
    branch = f"{'   ' * (entry.depth - 1)}└─ " if entry.depth else ""
    cause = f"  [dim]← {escape(topic_of(entry.cause.type))}[/]" if entry.cause else ""
    unsent = "" if entry.is_sent else "  [yellow]not sent yet[/]"
    clocks = f"  [yellow]{'; '.join(_clock_problems(entry))}[/]" if _clock_problems(entry) else ""
    yield f"[dim]{time}[/]  {branch}[bold]{escape(envelope.type)}[/]{cause}{unsent}{clocks}"
    for reaction in entry.reactions:
        mark, colour = _MARKS[reaction.outcome]
        name = f"[{style_of(reaction.service)}]{reaction.service:<10}[/]"
        text = f"{name} {escape(_describe(reaction))}"
        yield f"{' ' * 15}{indent}[{colour}]{mark}[/] {text}"


def _clock_problems(entry: TimelineEntry) -> list[str]:
    problems = []
    if entry.before_cause is not None:
        problems.append(f"clocks differ by at least {_duration(entry.before_cause)}")
    if entry.from_future is not None:
        problems.append(f"from the future: {_duration(entry.from_future)} ahead of this clock")
    return problems


def _describe(reaction: Reaction) -> str:
    after = "" if reaction.after is None else f"{_duration(reaction.after)} after"
    if reaction.clock_difference is not None:
        after = f"(clocks differ by at least {_duration(reaction.clock_difference)})"
    counts = Counter(attempt.error for attempt in reaction.attempts)
    errors = ", ".join(f"{number} × {error}" for error, number in counts.items())
    match reaction.outcome:
        case timeline.HANDLED:
            attempt = f", at attempt {len(reaction.attempts) + 1} ({errors})" if errors else ""
            return f"handled {after}{attempt}"
        case timeline.DISCARDED:
            return f"discarded {after}" + (f" ({errors})" if errors else "")
        case timeline.DEAD:
            return f"dead {after}: {errors}; {reaction.attempts[-1].message}"
        case timeline.REDRIVEN:
            return f"redriven: {errors}; died {after}"
        case timeline.RETRYING:
            return f"failed, will be retried: {errors}; last {after}"
        case _:
            return _WITHOUT_RECORD[reaction.outcome]


def _date_and_clock(moment: datetime) -> tuple[str, str]:
    date, _, clock = time_text(moment, has_milliseconds=True).partition(" ")
    return date, clock


def _duration(seconds: float) -> str:
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 120:
        return f"{seconds:.1f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.0f} h"
