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
