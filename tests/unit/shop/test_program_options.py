import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from shared import __version__
from tests.support.commanding import Shop

ROOT = Path(__file__).parents[3]


def test_the_version_is_shown(shop: Shop) -> None:
    said = shop("--version")

    assert (said.code, said.out) == (0, f"shop {__version__}\n")


def test_the_version_has_a_section_in_the_changelog_and_one_place_in_the_code() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())

    assert f"\n## [{__version__}] - 20" in (ROOT / "CHANGELOG.md").read_text()
    assert project["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "shared.__version__"}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_knows_the_commands(shell: str) -> None:
    typed = {
        "_SHOP_COMPLETE": f"complete_{shell}",
        "_TYPER_COMPLETE_ARGS": "shop ev",
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
        "COMP_WORDS": "shop ev",
        "COMP_CWORD": "1",
    }
    program = "import sys; sys.argv[0] = 'shop'; from shop.cli import main; main()"

    done = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | typed,
        capture_output=True,
        text=True,
        check=True,
    )

    assert "events" in done.stdout
    assert "orders" not in done.stdout
