"""How much of the history is kept, as far as the history itself tells."""

from dataclasses import dataclass
from datetime import datetime

from shared.history.reading import EventFilter, EventReader
from shared.messaging.ports.history import HistoryReader


@dataclass(frozen=True, slots=True)
class TruncatedHistory:
    """A history from which older events were dropped.

    Attributes:
        begins: when the oldest event that is kept occurred; None if none is kept any more.
    """

    begins: datetime | None

    @property
    def sentence(self) -> str:
        """That it is so, for a person."""
        if self.begins is None:
            return "the history was dropped: no event is kept any more"
        return (
            f"the history begins at {self.begins:%Y-%m-%d %H:%M:%S} UTC; what was before is not "
            "kept"
        )

    def affects(self, since: datetime | None) -> bool:
        """Whether it lacks what somebody wants who wants all since then; None for all there was."""
        return self.begins is None or since is None or since < self.begins


def truncated_history(history: HistoryReader) -> TruncatedHistory | None:
    """What is left of a history from which older events were dropped; None of a whole one."""
    end = history.end()  # before the first is looked for, which may be published meanwhile
    first = history.first()
    if first is None:
        return TruncatedHistory(None) if end > 0 else None
    if first.offset == 0:
        return None
    reading = EventReader(history, EventFilter(), start=first.offset, end=end)
    return TruncatedHistory(next((told.event.occurred_at for told in reading), None))
