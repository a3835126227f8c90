"""Generates `events.md` and `demo.svg` from the program: `make docs`.

With `--check` it only checks that `events.md` is up to date, as `make lint` does.
"""

import io
import sys
from pathlib import Path

from rich.console import Console

from shared.operations.catalog.catalog import catalog
from shared.operations.catalog.markdown import page
from shop import registry
from shop.demo.play import play

DOCS = Path(__file__).parent


EVENTS = DOCS / "events.md"


def events_page() -> str:
    """The catalog of all events."""
    return page(catalog(registry.all_services()))


def check() -> None:
    """Check that `events.md` is up to date.

    Raises:
        SystemExit: it is not; exit code 1.
    """
    if EVENTS.read_text(encoding="utf-8") != events_page():
        raise SystemExit("docs/events.md is out of date: run make docs")


def demo_picture() -> None:
    """Run the demo, and write its output as a picture to `demo.svg`.

    Raises:
        SystemExit: the demo failed.
    """
    console = Console(
        record=True, width=100, file=io.StringIO(), force_terminal=True, highlight=False
    )
    if play(console):
        raise SystemExit("the demo failed")
    console.save_svg(str(DOCS / "demo.svg"), title="make demo")


if __name__ == "__main__":
    if sys.argv[1:] == ["--check"]:
        check()
    else:
        EVENTS.write_text(events_page(), encoding="utf-8")
        demo_picture()
