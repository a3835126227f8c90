"""Tells whether older events were dropped from the history, and since when it is kept."""

from dataclasses import dataclass
from datetime import datetime

from shared.history.reading import EventFilter, EventReader
from shared.messaging.ports.history import HistoryReader


@dataclass(frozen=True, slots=True)
class TruncatedHistory:
    """A history from which older events were dropped.

    Attributes:
        begins_at: when the oldest kept event occurred; None if no event is kept.
    """

    begins_at: datetime | None

    @property
    def sentence(self) -> str:
        """A sentence for people: what was dropped."""
        if self.begins_at is None:
            return "the history was dropped: no event is kept any more"
        begins_at = f"{self.begins_at:%Y-%m-%d %H:%M:%S} UTC"
        return f"the history begins at {begins_at}; older events were dropped"

    def affects(self, since: datetime | None) -> bool:
        """Whether it lacks events since that time; None stands for the very first event."""
        return self.begins_at is None or since is None or since < self.begins_at


def truncated_history(history: HistoryReader) -> TruncatedHistory | None:
    """Return where a truncated history begins; None if nothing was dropped from it."""
    end = history.end()  # before first(), so that an event published in between is not missed
    first = history.first()
    if first is None:
        return TruncatedHistory(None) if end > 0 else None
    if first.offset == 0:
        return None
    reader = EventReader(history, EventFilter(), start=first.offset, end=end)
    return TruncatedHistory(next((item.event.occurred_at for item in reader), None))
