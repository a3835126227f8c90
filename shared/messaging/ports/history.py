"""The record of all that was published."""

from collections.abc import Generator
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryRecord:
    """A message in the record of all that was published. Untrusted, like a delivery.

    Attributes:
        offset: its place; 0 is the first there ever was. Places grow, with gaps.
    """

    offset: int
    topic: str
    event_id: str
    type: str
    body: bytes


class HistoryReader(Protocol):
    """The record of all that was published, as far back as it is kept, in order of arrival.

    A message that was published twice may stand there twice. `close` is for any thread.
    """

    def first(self) -> HistoryRecord | None:
        """The oldest that is kept; its offset is above 0 when older ones were dropped."""

    def end(self) -> int:
        """The place after the last: all that was confirmed before this call lies below."""

    def read(
        self, *, start: int | datetime = 0, end: int | None = None
    ) -> Generator[HistoryRecord, None, None]:
        """Read in order; memory does not grow with the number. Close what is left before its end.

        Args:
            start: a place, or the time of arrival from about which on.
            end: the place to stop before; None to wait for more, for ever.

        Raises:
            BrokerUnavailable: it is away for longer than a reading waits.
        """

    def close(self) -> None:
        """End a reading elsewhere, soon."""
