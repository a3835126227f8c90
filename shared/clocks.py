"""Compares the clock of this machine with that of a server."""

from datetime import datetime

TOLERANCE = 1.0
"""Seconds; a smaller difference is common, and an answer of HTTP has no fractions of a second."""


def ahead(earliest: datetime, latest: datetime, *, asked: datetime, answered: datetime) -> float:
    """Seconds by which a server's clock is ahead at least; negative if it is behind.

    Args:
        earliest, latest: the server's time when it answered, as exactly as it is known.
        asked, answered: this machine's time before the question and after the answer.
    """
    if earliest > answered:
        return (earliest - answered).total_seconds()
    return min(0.0, (latest - asked).total_seconds())
