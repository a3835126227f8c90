"""How what has happened is shown: an event in a line, a CloudEvent in a line, an order's story.

Lines for people hold no addresses and no mails; a CloudEvent is what was sent, whole.
"""

import os
import sys
from collections import Counter
from collections.abc import Iterator
from datetime import datetime

from rich.console import Console
from rich.markup import escape

from shared.events import topic_of
from shared.history.reading import HistoryEvent
from shared.operations.console import escape_control_characters, local
from shared.operations.history import timeline
from shared.operations.history.timeline import Reaction, Timeline, TimelineEntry

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

_BETWEEN_TOKENS = str.maketrans("\r\n\t", "   ")

_PLAINLY = {
    timeline.WAITING: "waiting",
    timeline.UNKNOWN: "unknown to it: it joined later, or has forgotten",
    timeline.UNSEEN: "its database cannot be seen from here",
}


def as_cloud_event(told: HistoryEvent) -> str:
    """The message as it was sent, on one line."""
    # JSON has line breaks and tabs between its tokens only.
    return escape_control_characters(told.record.body.decode().translate(_BETWEEN_TOKENS))


def as_line(told: HistoryEvent) -> str:
    """When, what, which order, and by which ids it can be followed."""
    event = told.event
    caused = f"  ← {event.causation_id}" if event.causation_id else ""
    when = local(event.occurred_at)
    columns = f"{when:%Y-%m-%d} {_clock(when)}", f"{event.type:<20}", f"{event.subject or '-':<15}"
    return "  ".join((*columns, f"{event.event_id}{caused}"))


def print_timeline(told: Timeline) -> None:
    """Print an order's story for a terminal of 100 columns."""
    width = None if sys.stdout.isatty() or "COLUMNS" in os.environ else 100
    console = Console(width=width, highlight=False)
    first, last = told.entries[0].envelope, told.entries[-1].envelope
    took = _seconds((last.occurred_at - first.occurred_at).total_seconds())
    number = len(told.entries)
    length = "1 event, at" if number == 1 else f"{number} events in {took}, from"
    began = f"{local(first.occurred_at):%Y-%m-%d %H:%M:%S %Z}"
    console.print(f"[bold]{told.order_id}[/]: {length} {began}")
    day = local(first.occurred_at).date()
    for each in told.entries:
        console.print()
        before, day = day, local(each.envelope.occurred_at).date()
        if day != before:
            console.print(f"[bold]{day}[/]")
        for line in _lines(each):
            console.print(line, soft_wrap=True)


def _lines(entry: TimelineEntry) -> Iterator[str]:
    envelope, indent = entry.envelope, "   " * entry.depth
    when = _clock(local(envelope.occurred_at))
    because = f"  [dim]← {escape(topic_of(entry.cause.type))}[/]" if entry.cause else ""
    branch = f"{'   ' * (entry.depth - 1)}└─ " if entry.depth else ""
    unsent = "" if entry.is_sent else "  [yellow]not sent yet[/]"
    yield f"[dim]{when}[/]  {branch}[bold]{escape(envelope.type)}[/]{because}{unsent}"
    for each in entry.reactions:
        mark, colour = _MARKS[each.outcome]
        yield f"{' ' * 14}{indent}[{colour}]{mark}[/] {each.service:<10} {escape(_did(each))}"


def _did(reaction: Reaction) -> str:
    after = "" if reaction.after is None else f"{_seconds(reaction.after)} after"
    why = _why(reaction)
    match reaction.outcome:
        case timeline.HANDLED:
            tries = f", at attempt {len(reaction.attempts) + 1} ({why})" if why else ""
            return f"handled {after}{tries}"
        case timeline.DISCARDED:
            return f"discarded by a person, {after}" + (f" ({why})" if why else "")
        case timeline.DEAD:
            return f"dead {after}: {why}; {reaction.attempts[-1].message}"
        case timeline.REDRIVEN:
            return f"was dead, is sent again by a person: {why}; died {after}"
        case timeline.RETRYING:
            return f"failed, comes again: {why}; last {after}"
        case _:
            return _PLAINLY[reaction.outcome]


def _why(reaction: Reaction) -> str:
    counted = Counter(each.error for each in reaction.attempts)
    return ", ".join(f"{number} × {error}" for error, number in counted.items())


def _clock(moment: datetime) -> str:
    return moment.strftime("%H:%M:%S.") + f"{moment.microsecond // 1000:03d}"


def _seconds(seconds: float) -> str:
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 120:
        return f"{seconds:.1f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.0f} h"
