"""The steps for TLS in docs/security.md, as tests follow them."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "security.md"

BROKER, DATABASE = "broker.example", "database.example"
"""The servers' names on the page."""


def blocks(step: int, language: str) -> list[str]:
    """The code blocks of a step that are written in a language; "" for plain text."""
    (section,) = re.findall(rf"### {step}\. (.*?)(?=\n##|\Z)", PAGE.read_text(), re.DOTALL)
    found = re.findall(r"^```(\w*)\n(.*?)^```$", section, re.DOTALL | re.MULTILINE)
    return [code for its_language, code in found if its_language == language]


def make_certificates_of_the_page(folder: Path) -> None:
    """Run the commands of the first step in a folder; skip the test without `openssl`."""
    if shutil.which("openssl") is None:
        pytest.skip("needs the program openssl")
    (commands,) = blocks(1, "sh")
    subprocess.run(["sh", "-euc", commands], cwd=folder, check=True, capture_output=True)
