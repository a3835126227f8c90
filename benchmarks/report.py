"""Renders the results as a Markdown table and a chart, also into docs/performance.md."""

import os
import platform
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmarks.result import Measured, NotMeasured, Result, Spread, read

ORDER = (
    "relay",
    "react",
    "latency",
    "sustained",
    "growth",
    "memory",
    "startup",
    "embedded",
    "scale",
)
_PAGE = Path(__file__).parent.parent / "docs" / "performance.md"
_MARKERS = re.compile(r"(<!-- figures -->\n).*?(<!-- /figures -->)", re.DOTALL)
_LIBRARIES = ("pika", "psycopg", "SQLAlchemy", "pydantic")


def write(folder: Path, machine: Mapping[str, str], page: Path = _PAGE) -> None:
    """Write the table and the chart of all results, also into the page."""
    results = read_results(folder)
    if not results:
        return
    text = f"{table(results)}\n{sentence(machine)}\n"
    (folder / "table.md").write_text(text)
    (folder / "figures.svg").write_text(picture(results))
    if page.exists() and folder.resolve().is_relative_to(page.parent.parent.resolve()):
        page.write_text(_MARKERS.sub(lambda found: f"{found[1]}{text}{found[2]}", page.read_text()))


def read_results(folder: Path) -> list[Result]:
    """Read all results, in the order of the table."""
    found = [read(path) for path in folder.glob("*.json")]
    return sorted(found, key=lambda each: (_rank(each.name), each.name))


def _rank(name: str) -> int:
    first = name.partition("-")[0]
    return ORDER.index(first) if first in ORDER else len(ORDER)


def machine(versions: Mapping[str, str]) -> dict[str, str]:
    """Describe this machine and its software."""
    libraries = {}
    for name in _LIBRARIES:
        try:
            libraries[name] = version(name)
        except PackageNotFoundError:  # not every benchmark needs every library
            continue
    return {
        "measured": f"{datetime.now(UTC):%Y-%m-%d}",
        "machine": f"{os.cpu_count()} cores, {_memory()}, {platform.system()} {platform.release()}",
        "load": f"{os.getloadavg()[0]:.1f} before it began",
        "Python": platform.python_version(),
        **versions,
        **libraries,
    }


def _memory() -> str:
    pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return f"{pages * size / 2**30:.0f} GiB"


def sentence(machine: Mapping[str, str]) -> str:
    """The machine's description as a sentence."""
    return "; ".join(f"{name} {value}" for name, value in machine.items()) + "."


def table(results: Sequence[Result]) -> str:
    """Render all results as a Markdown table."""
    lines = [
        "| figure | ours (min – max) | peers | limit | × best peer | × limit | target | met |",
        "|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {each.name} | {_ours(each)} | {_others(each.peers)} | {_others(each.limit)} "
        f"| {_ratio(each.ratio_to_best_peer)} | {_ratio(each.ratio_to_limit)} | {each.target} "
        f"| {'yes' if each.met else '**no**'} |"
        for each in results
    ]
    return "\n".join(lines) + "\n"


def _ours(result: Result) -> str:
    """The figure, and below it the related figures by name."""
    figures = [f"{name} {each.median:,g} {each.unit}" for name, each in result.figures.items()]
    return "<br>".join([_spread(result.ours), *figures])


def _spread(value: Spread) -> str:
    spread = "" if value.min == value.max else f" ({value.min:,g} – {value.max:,g})"
    return f"**{value.median:,g} {value.unit}**{spread}"


def _others(others: Mapping[str, Measured]) -> str:
    return "<br>".join(f"{name} {_other(each)}" for name, each in others.items()) or "–"


def _other(value: Measured) -> str:
    if isinstance(value, NotMeasured):
        return f"({value.missing})".replace("|", "/")
    return f"{value.median:,g} ({value.min:,g} – {value.max:,g})"


def _ratio(value: float | None) -> str:
    return "–" if value is None else f"{value:g}"


_ROW, _WIDTH, _LEFT, _BAR = 22, 760, 260, 380
_COLOURS = {"ours": "#2f6f4f", "peer": "#9aa5b1", "limit": "#c8963e"}


def picture(results: Sequence[Result]) -> str:
    """Render all results as SVG bars, each figure with its own scale; lines show the spread."""
    parts: list[str] = []
    top = 10
    for each in results:
        parts.append(_text(10, top + 14, f"{each.name}, {each.ours.unit}", weight="bold"))
        top += _ROW
        bars = _bars(each)
        longest = max(bar.max for _, _, bar in bars)
        for name, kind, bar in bars:
            parts.append(_bar(top, name, _COLOURS[kind], bar, longest))
            top += _ROW
        top += 10
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {top}" width="{_WIDTH}" '
        f'height="{top}" font-family="sans-serif" font-size="13">\n'
        f'<rect width="{_WIDTH}" height="{top}" fill="#ffffff"/>\n'
    )
    return head + "\n".join(parts) + "\n</svg>\n"


def _bars(result: Result) -> list[tuple[str, str, Spread]]:
    rows: list[tuple[str, str, Measured]] = [("ours", "ours", result.ours)]
    rows += [(name, "peer", each) for name, each in result.peers.items()]
    rows += [(name, "limit", each) for name, each in result.limit.items()]
    return [(name, kind, each) for name, kind, each in rows if isinstance(each, Spread)]


def _bar(top: int, name: str, colour: str, value: Spread, longest: float) -> str:
    scale = _BAR / (longest or 1)
    middle, width = top + 9, max(1.0, value.median * scale)
    low, high = (_LEFT + each * scale for each in (value.min, value.max))
    return "\n".join(
        (
            _text(_LEFT - 8, top + 14, name, anchor="end"),
            f'<rect x="{_LEFT}" y="{top + 2}" width="{width:.1f}" height="14" fill="{colour}"/>',
            f'<path d="M{low:.1f} {middle}H{high:.1f}" stroke="#1b1f24" stroke-width="1.5"/>',
            _text(_LEFT + _BAR + 10, top + 14, f"{value.median:,g}"),
        )
    )


def _text(x: int, y: int, words: str, *, anchor: str = "start", weight: str = "normal") -> str:
    escaped = words.replace("&", "&amp;").replace("<", "&lt;")
    return (
        f'<text x="{x}" y="{y}" text-anchor="{anchor}" font-weight="{weight}" '
        f'fill="#1b1f24">{escaped}</text>'
    )
