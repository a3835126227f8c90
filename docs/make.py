"""Makes the parts of docs/ that come from the program itself: `make docs`."""

import io
from pathlib import Path

from rich.console import Console

from shared.operations.catalog.catalog import catalog
from shared.operations.catalog.markdown import page
from shop import registry
from shop.demo.play import play

DOCS = Path(__file__).parent


def events_page() -> None:
    """Every event: who publishes it, its fields, who reacts, and how it looks on the wire."""
    (DOCS / "events.md").write_text(page(catalog(registry.all_services())), encoding="utf-8")


def demo_picture() -> None:
    """The demo's real output, as Rich draws it.

    Raises:
        SystemExit: the demo did not end as it should.
    """
    console = Console(
        record=True, width=100, file=io.StringIO(), force_terminal=True, highlight=False
    )
    if play(console):
        raise SystemExit("the demo did not end as it should")
    console.save_svg(str(DOCS / "demo.svg"), title="make demo")


if __name__ == "__main__":
    events_page()
    demo_picture()
