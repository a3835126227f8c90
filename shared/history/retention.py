"""Finds out whether older events were dropped from the history, and where it begins."""

from dataclasses import dataclass
from datetime import datetime

from shared.history.reading import EventFilter, EventReader
from shared.messaging.ports.history import HistoryReader


@dataclass(frozen=True, slots=True)
class TruncatedHistory:
    """A history whose oldest event occurred at `begins_at`; None if all events were dropped."""

    begins_at: datetime | None

    @property
    def sentence(self) -> str:
        """What was dropped, in a sentence for people."""
        if self.begins_at is None:
            return "the history was dropped: no event is kept any more"
        begins_at = f"{self.begins_at:%Y-%m-%d %H:%M:%S} UTC"
        return f"the history begins at {begins_at}; older events were dropped"

    def affects(self, since: datetime | None) -> bool:
        """Whether it lacks events since this time; None means since the first event."""
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
