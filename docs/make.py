"""Generates `events.md` and `demo.svg` from the program: `make docs`."""

import io
from pathlib import Path

from rich.console import Console

from shared.operations.catalog.catalog import catalog
from shared.operations.catalog.markdown import page
from shop import registry
from shop.demo.play import play

DOCS = Path(__file__).parent


def events_page() -> None:
    """Write the catalog of all events to `events.md`."""
    (DOCS / "events.md").write_text(page(catalog(registry.all_services())), encoding="utf-8")


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
    events_page()
    demo_picture()
