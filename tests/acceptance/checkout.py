"""A copy of the project that a test can change and run."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDERS = ("services", "shared", "shop", "deploy", "docs", "tests")
FILES = ("pyproject.toml", "docker-compose.yml", "Dockerfile", ".dockerignore", "requirements.txt")


class Checkout:
    """A copy of the project in which programs can be run."""

    def __init__(self, folder: Path) -> None:
        self.said = ""
        self.folder = folder / "checkout"
        self.folder.mkdir()
        ignored = shutil.ignore_patterns("__pycache__", "*.pyc", ".*")
        for name in FOLDERS:
            shutil.copytree(ROOT / name, self.folder / name, ignore=ignored)
        for name in FILES:
            shutil.copy(ROOT / name, self.folder / name)
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith("SHOP_")
        }
        self.environment = environment | {
            "SHOP_HOME": str(folder / "var"),
            "COLUMNS": "200",
            "PYTHONDONTWRITEBYTECODE": "1",
        }

    def __call__(self, *command: str, check: bool = True) -> "subprocess.CompletedProcess[str]":
        """Run a Python module in the copy."""
        completed = subprocess.run(
            [sys.executable, "-m", *command],
            cwd=self.folder,
            env=self.environment,
            text=True,
            capture_output=True,
            timeout=150,
            check=False,
        )
        output = f"{completed.stdout}\n{completed.stderr}"
        assert not check or completed.returncode == 0, f"{command}: {output}"
        return completed

    def shop(self, *arguments: str) -> str:
        return self("shop.cli", *arguments).stdout

    @contextmanager
    def up(self) -> Iterator[None]:
        """Run all services during the block."""
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
