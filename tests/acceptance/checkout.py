"""A copy of the project, to change and to run."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PARTS = (
    *(
        "services",
        "shared",
        "shop",
        "deploy",
        "docs",
        "tests",
        "pyproject.toml",
        "docker-compose.yml",
    ),
    *("Dockerfile", ".dockerignore", "requirements.txt"),
)


class Checkout:
    """A copy of the project, and programs run in it."""

    def __init__(self, folder: Path) -> None:
        self.said = ""
        self.folder = folder / "checkout"
        self.folder.mkdir()
        unwanted = shutil.ignore_patterns("__pycache__", "*.pyc", ".*")
        for name in PARTS:
            source = ROOT / name
            copy = shutil.copytree if source.is_dir() else shutil.copy
            more: dict[str, Any] = {"ignore": unwanted} if source.is_dir() else {}
            copy(source, self.folder / name, **more)
        theirs = {name: each for name, each in os.environ.items() if not name.startswith("SHOP_")}
        self.environment = theirs | {
            "SHOP_HOME": str(folder / "var"),
            "COLUMNS": "200",
            "PYTHONDONTWRITEBYTECODE": "1",
        }

    def __call__(self, *command: str, check: bool = True) -> "subprocess.CompletedProcess[str]":
        """Run a Python module in it."""
        done = subprocess.run(
            [sys.executable, "-m", *command],
            cwd=self.folder,
            env=self.environment,
            text=True,
            capture_output=True,
            timeout=150,
            check=False,
        )
        assert not check or done.returncode == 0, f"{command}: {done.stdout}\n{done.stderr}"
        return done

    def shop(self, *arguments: str) -> str:
        return self("shop.cli", *arguments).stdout

    @contextmanager
    def up(self) -> Iterator[None]:
        """All services at work."""
        command = [sys.executable, "-m", "shop.cli", "up"]
        log = self.folder.with_suffix(".log").open("w")
        with (
            log,
            subprocess.Popen(
                command, cwd=self.folder, env=self.environment, stdout=log, stderr=log
            ) as running,
        ):
            try:
                yield
            finally:
                running.send_signal(signal.SIGTERM)
                assert running.wait(30) == 0
