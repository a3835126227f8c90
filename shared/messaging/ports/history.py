"""The port for reading the history, the record of all published messages."""

from collections.abc import Generator
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryRecord:
    """A message in the history; event_id, type and body are untrusted.

    Attributes:
        offset: position in the history, from 0 on; offsets increase and may have gaps.
        topic: routing key, which the broker allowed to the sender.
        is_replay: whether it came through the exchange `replays`, from which nothing is recorded.
        user: the broker's user who published it; empty if the message or the broker has none.
        flaw: why the message cannot be an event whatever its body is; usually empty.
    """

    offset: int
    topic: str
    event_id: str
    type: str
    body: bytes
    is_replay: bool = False
    user: str = ""
    flaw: str = ""


class HistoryReader(Protocol):
    """Reads the history in order of arrival, as far back as it is retained.

    A message that was published twice may occur twice. `close` may be called from any thread.

    All methods raise BrokerUnavailable if the broker cannot be reached, and HistoryNotGranted if
    this user may not read the history.
    """

    def first(self) -> HistoryRecord | None:
        """The oldest record, with an offset above 0 if older ones were dropped; None if empty."""

    def end(self) -> int:
        """The offset after the last record; every message confirmed before this call is below."""

    def read(
        self, *, start: int | datetime = 0, end: int | None = None
    ) -> Generator[HistoryRecord, None, None]:
        """Iterate over records in order, with bounded memory.

        Close the generator if it is not read to its end.

        Args:
            start: first offset, or the time of arrival of about the first record.
            end: offset to stop before; None to wait for new records without end.

        Raises:
            BrokerUnavailable: the broker is still away after several attempts.
        """

    def close(self) -> None:
        """Make a `read` in another thread end soon."""
