import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from shared.runtime.service import Service

README = Path(__file__).parents[2] / "README.md"


def test_the_python_examples_of_the_readme_run(tmp_path: Path) -> None:
    declaration, test = re.findall(
        r"^```python\n(.*?)^```", README.read_text(), re.DOTALL | re.MULTILINE
    )
    declared: dict[str, Any] = {}
    tested: dict[str, Callable[[Path], None]] = {}

    exec(declaration, declared)  # noqa: S102 - the example is ours
    exec(test, tested)  # noqa: S102 - the example is ours
    tested["test_stock_is_reserved"](tmp_path)

    assert isinstance(declared["inventory"], Service)
    assert declared["inventory"].topics == {"order.placed"}


def test_the_first_screen_says_for_whom_it_is_and_what_it_needs() -> None:
    first, _, _ = README.read_text().partition("**What it guarantees**")

    for word in ("For whom", "State", "Needs", "Licence", "```mermaid"):
        assert word in first
    assert "](docs/demo.svg)" not in README.read_text()


def test_every_page_of_the_documentation_is_linked() -> None:
    root = README.parent
    pages = {path.name for path in (root / "docs").glob("*.md")}
    linking = "".join(path.read_text() for path in (README, *(root / "docs").glob("*.md")))
    in_readme = {name for name in pages if f"(docs/{name}" in README.read_text()}

    assert {"running.md", "demo.md", "operations.md", "architecture.md"} <= in_readme
    assert {name for name in pages if f"{name})" in linking or f"{name}#" in linking} == pages
