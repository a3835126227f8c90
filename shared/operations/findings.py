"""The findings of `shop doctor`: what was checked, how it is, and what to do."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum

from shared.errors import ShopError
from shared.runtime.hints import fitting
from shared.storage.database import DATABASE_ERRORS, failure_reason


class FindingState(Enum):
    """What a check found; the order is that of the report."""

    WRONG = "wrong"
    UNKNOWN = "unknown"
    """It cannot be checked from here."""
    WELL = "well"


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check.

    Attributes:
        subject: what was checked.
        message: its state, or what is wrong with it and what to do.
        behind: seconds since the oldest event that waits for a service occurred; None if nothing
            waits, or for a check of something else.
    """

    subject: str
    state: FindingState
    message: str
    behind: float | None = None

    @property
    def is_wrong(self) -> bool:
        """Whether somebody has to do something."""
        return self.state is FindingState.WRONG

    @property
    def sentence(self) -> str:
        """The message, with its commands as they can be typed here."""
        return fitting(self.message)


def well(subject: str, message: str, *, behind: float | None = None) -> Finding:
    """Nothing has to be done."""
    return Finding(subject, FindingState.WELL, message, behind)


def wrong(subject: str, message: str, *, behind: float | None = None) -> Finding:
    """Something has to be done, and the message says what."""
    return Finding(subject, FindingState.WRONG, message, behind)


def unknown(subject: str, message: str) -> Finding:
    """It cannot be known from here; the message says how it can."""
    return Finding(subject, FindingState.UNKNOWN, message)


def run_checks(
    subject: str, checks: Callable[[str], Iterable[Finding]], *, remedy: str = ""
) -> list[Finding]:
    """Run checks of a subject; if they raise, that error is the finding.

    Args:
        remedy: what to do about an error; empty if the errors say it themselves.
    """
    try:
        return list(checks(subject))
    except ShopError as error:
        return [wrong(subject, f"{error}; {remedy}" if remedy else str(error))]
    except DATABASE_ERRORS as error:
        return [wrong(subject, failure_reason(error))]


def summary(findings: Iterable[Finding]) -> str:
    """One sentence about all findings."""
    found = list(findings)
    subjects: dict[FindingState, list[str]] = {state: [] for state in FindingState}
    for each in found:
        if each.subject not in subjects[each.state]:
            subjects[each.state].append(each.subject)
    sentences = []
    if problems := subjects[FindingState.WRONG]:
        noun = "problem" if len(problems) == 1 else "problems"
        sentences.append(f"{len(problems)} {noun}: {', '.join(problems)}.")
    if not_known := subjects[FindingState.UNKNOWN]:
        sentences.append(f"Not known from here: {', '.join(not_known)}.")
    return " ".join(sentences) or f"All is well: {len(found)} checks."
