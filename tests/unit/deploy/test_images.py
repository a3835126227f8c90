"""The lock of the images, from a small checkout and an engine that knows some digests."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.images import LOCK, ROOT, lock_images

COMPOSE = """\
services:
  keys: {image: "${SHOP_IMAGE:-past-tense}", build: .}
  orders: {image: "${SHOP_IMAGE:-past-tense}"}
  rabbitmq: {image: "rabbitmq:4.3"}
  postgres: {image: "postgres:18"}
"""
DIGESTS = {
    "python:3.14-slim": "sha256:aaa",
    "rabbitmq:4.3": "sha256:bbb",
    "postgres:18": "sha256:ccc",
}


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    (tmp_path / "docker-compose.yml").write_text(COMPOSE)
    (tmp_path / "Dockerfile").write_text("ARG PYTHON_IMAGE=python:3.14-slim\nFROM $PYTHON_IMAGE\n")
    return tmp_path


def locked(checkout: Path) -> Any:
    return yaml.safe_load((checkout / LOCK).read_text())["services"]


def test_each_image_and_the_one_that_ours_builds_on_is_pinned(checkout: Path) -> None:
    problems = list(lock_images(checkout, DIGESTS.get))

    assert problems == []
    assert locked(checkout) == {
        "keys": {"build": {"args": {"PYTHON_IMAGE": "python:3.14-slim@sha256:aaa"}}},
        "rabbitmq": {"image": "rabbitmq:4.3@sha256:bbb"},
        "postgres": {"image": "postgres:18@sha256:ccc"},
    }


def test_an_image_without_a_digest_keeps_its_entry_and_is_named(checkout: Path) -> None:
    list(lock_images(checkout, DIGESTS.get))

    problems = list(lock_images(checkout, {"postgres:18": "sha256:ddd"}.get))

    assert [problem.partition(": ")[0] for problem in problems] == [
        "python:3.14-slim",
        "rabbitmq:4.3",
    ]
    assert all(problem.endswith("its entry is unchanged") for problem in problems)
    assert locked(checkout)["rabbitmq"] == {"image": "rabbitmq:4.3@sha256:bbb"}
    assert locked(checkout)["postgres"] == {"image": "postgres:18@sha256:ddd"}


def test_an_entry_for_another_version_of_an_image_is_removed(checkout: Path) -> None:
    list(lock_images(checkout, DIGESTS.get))
    compose = checkout / "docker-compose.yml"
    compose.write_text(COMPOSE.replace("rabbitmq:4.3", "rabbitmq:4.4"))

    problems = list(lock_images(checkout, DIGESTS.get))

    assert problems == ["rabbitmq:4.4: no digest from a registry is known here; it is not pinned"]
    assert "rabbitmq" not in locked(checkout)


def test_without_any_digest_no_lock_is_written(checkout: Path) -> None:
    problems = list(lock_images(checkout, lambda _: None))

    assert len(problems) == 3
    assert not (checkout / LOCK).exists()


def test_the_images_of_this_project_are_found(tmp_path: Path) -> None:
    for name in ("docker-compose.yml", "Dockerfile"):
        (tmp_path / name).write_text((ROOT / name).read_text())

    list(lock_images(tmp_path, lambda _: "sha256:eee"))

    assert locked(tmp_path).keys() == {"keys", "rabbitmq", "postgres", "maildev"}
