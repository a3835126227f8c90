"""The program of `make demo`, which installs no package of the project."""

import os
import re
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from deploy import local
from shared import __version__
from shop.demo.checks import program

ROOT = Path(__file__).parents[3]


def test_the_program_runs_from_any_folder_without_an_installed_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = {"purelib": tmp_path / "lib", "scripts": tmp_path / "a folder"}
    for folder in folders.values():
        folder.mkdir()
    monkeypatch.setattr(sysconfig, "get_path", lambda name: str(folders[name]))

    local.main()

    assert (tmp_path / "lib" / "past_tense.pth").read_text() == f"{ROOT}\n"
    python = tmp_path / "a folder" / "python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    said = subprocess.run(
        [tmp_path / "a folder" / "shop", "--version"],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert said.stdout == f"shop {__version__}\n"


def test_the_demo_needs_only_what_the_image_has() -> None:
    makefile = (ROOT / "Makefile").read_text()

    assert re.search(r"^demo: \$\(RUNNING\) ", makefile, re.MULTILINE)
    [recipe] = re.findall(
        r"^\$\(RUNNING\): requirements\.txt\n((?:\t.*\n)+)", makefile, re.MULTILINE
    )
    assert "-r requirements.txt" in recipe
    assert "requirements-dev" not in recipe


def test_what_the_demo_prints_next_can_be_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "my shop"
    script = folder / ".venv" / "bin" / "shop"
    script.parent.mkdir(parents=True)
    script.touch(mode=0o755)
    monkeypatch.setattr(sysconfig, "get_path", lambda _: str(script.parent))
    monkeypatch.setenv("PATH", "/nowhere")

    monkeypatch.chdir(folder)
    here = program()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    elsewhere = program()
    monkeypatch.setenv("PATH", str(script.parent))
    activated = program()

    assert (here, elsewhere, activated) == (".venv/bin/shop", f"'{script}'", "shop")
