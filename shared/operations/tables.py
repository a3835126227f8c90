"""Fits a table to the width of a terminal.

A word of letters, digits and `. : _ + -`, such as an id, a date or the name of an event, is never
broken. Other text is folded. If the columns do not fit, the least important ones are left out.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

_WORD = re.compile(r"[A-Za-z0-9.:_+-]+")
_MARGIN = 4
"""Columns of the terminal to the left of the first column and to the right of the last."""
_GAP = 3
"""Columns of the terminal between two columns of the table."""
_FOLDED_WIDTH = 12
"""The width that folded text has at least, if it is that long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column of a table.

    Attributes:
        cells: its texts, without control characters.
        is_whole: whether its cells stay on one line, such as dates.
    """

    heading: str
    cells: Sequence[Text]
    is_number: bool = False
    is_whole: bool = False

    @property
    def longest(self) -> int:
        """The width with which no cell is folded."""
        return max(map(cell_len, (self.heading, *(cell.plain for cell in self.cells))))

    @property
    def least(self) -> int:
        """The width with which no word is broken."""
        if self.is_whole or self.is_number:
            return self.longest
        texts = [cell.plain for cell in self.cells]
        words = [word for text in (self.heading, *texts) for word in _WORD.findall(text)]
        return max(map(cell_len, words), default=0) if self._is_words else self._folded(words)

    @property
    def has_spaces(self) -> bool:
        """Whether a cell has more than one word."""
        return any(" " in cell.plain for cell in self.cells)

    @property
    def _is_words(self) -> bool:
        return all(_WORD.fullmatch(cell.plain) for cell in self.cells if cell.plain)

    def _folded(self, words: Sequence[str]) -> int:
        return max(min(_FOLDED_WIDTH, self.longest), *map(cell_len, words), 0)


def fitted(columns: Mapping[str, Column], *, expendable: Sequence[str], width: int) -> list[str]:
    """Return the names of the columns that fit.

    Args:
        expendable: the columns that are left out first, in this order; then those at the end.
        width: columns of the terminal.
    """
    shown = list(columns)
    for name in [*expendable, *(each for each in shown[::-1] if each not in expendable)]:
        least = sum(columns[each].least for each in shown)
        if least + _room_between(len(shown)) <= width or len(shown) == 1:
            break
        if name in shown:
            shown.remove(name)
    return shown


def table_of(
    columns: Sequence[Column],
    *,
    title: str | None,
    width: int,
    styles: Sequence[str | None] | None = None,
) -> Table:
    """A table of columns that fit, each as wide as it needs and the terminal allows.

    Args:
        styles: Rich's style of each row.
    """
    table = Table(title=title, box=SIMPLE_HEAD, title_justify="left")
    for column, column_width in zip(columns, _widths(columns, width), strict=True):
        table.add_column(
            column.heading,
            justify="right" if column.is_number else "left",
            overflow="fold",
            width=column_width,
        )
    rows = list(zip(*(column.cells for column in columns), strict=True))
    for cells, style in zip(rows, styles or [None] * len(rows), strict=True):
        table.add_row(*cells, style=style)
    return table


def _room_between(number: int) -> int:
    return _MARGIN + _GAP * (number - 1)


def _widths(columns: Sequence[Column], width: int) -> Iterator[int]:
    """Each column's least width, and its share of what is left.

    Texts without a space, such as mail addresses, come first; they are hard to read when folded.
    """
    room = width - _room_between(len(columns)) - sum(column.least for column in columns)
    needs = {place: each.longest - each.least for place, each in enumerate(columns)}
    shares: dict[int, int] = {}
    for place in sorted(needs, key=lambda each: (columns[each].has_spaces, needs[each])):
        sharing = len(needs) - len(shares) if columns[place].has_spaces else 1
        shares[place] = min(needs[place], max(0, room) // sharing)
        room -= shares[place]
    for place, column in enumerate(columns):
        yield column.least + shares[place]
