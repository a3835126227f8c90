"""`shop new`, in a copy of the checkout: what it makes runs and passes at once."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from shop import registry
from tests.acceptance.checkout import ROOT, Checkout
from tests.support.waiting import eventually


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A copy in which `shop new gifts --on order.placed` was said."""
    checkout = Checkout(tmp_path_factory.mktemp("new"))
    checkout.said = checkout.shop("new", "gifts", "--on", "order.placed")
    return checkout


def test_what_it_says_is_what_the_readme_shows(checkout: Checkout) -> None:
    readme = (ROOT / "README.md").read_text()

    assert f"$ shop new gifts --on order.placed\n{checkout.said}```" in readme
    assert "made    services/gifts\n" in checkout.said


def test_its_test_passes_and_the_projects_that_know_of_all_services(checkout: Checkout) -> None:
    own, all_services = "tests/unit/services/gifts", "tests/unit/services/test_migrations.py"
    page = "tests/unit/shared/operations/catalog/test_catalog.py"

    said = checkout("pytest", "-q", "-p", "no:cacheprovider", "-m", "not docker", own, page).stdout
    migrations = checkout(
        "pytest", "-q", "-p", "no:cacheprovider", "-m", "not docker", "-k", "gifts", all_services
    ).stdout

    assert " passed" in said
    assert "1 passed" in migrations


def test_it_is_clean_for_ruff_and_mypy(checkout: Checkout, tmp_path: Path) -> None:
    made = ("services/gifts", "tests/unit/services/gifts")

    checkout("ruff", "format", "--check", "--no-cache", *made)
    checkout("ruff", "check", "--no-cache", *made)
    checkout("mypy", "--cache-dir", str(tmp_path), *made)


@pytest.mark.parametrize(
    "topics",
    [
        pytest.param((), id="every-event"),
        pytest.param(("order.placed", "stock.ran_short", "payment.received"), id="several"),
    ],
)
def test_whatever_it_subscribes_to_and_however_it_is_named_it_passes(
    checkout: Checkout, topics: tuple[str, ...]
) -> None:
    name = f"x{len(topics)}_of_the_longest_names_"
    assert len(name) == 24

    checkout.shop("new", name, *(word for topic in topics for word in ("--on", topic)))

    own = f"tests/unit/services/{name}"
    checkout("ruff", "format", "--check", "--no-cache", f"services/{name}", own)
    checkout("ruff", "check", "--no-cache", f"services/{name}", own)
    checkout("pytest", "-q", "-p", "no:cacheprovider", own)


def test_an_order_that_is_placed_is_seen_by_it(checkout: Checkout) -> None:
    who = ("--email", "jane@example.com", "--address", "12 Main St")
    with checkout.up():
        checkout.shop("orders", "place", "--id", "ORD-7", *who, "--item", "product-1=1")

        def noted() -> list[tuple[str, str]]:
            listed = json.loads(checkout.shop("gifts", "list", "--json"))
            return [(each["type"], each["subject"]) for each in listed]

        eventually(lambda: noted() == [("order.placed.v1", "ORD-7")], within=60)

    assert "gifts" in checkout.shop("events", "catalog")


def test_the_demo_still_ends_as_it_should(checkout: Checkout) -> None:
    said = checkout.shop("demo")

    assert "gifts     order.placed     noted" in said
    assert "more_gifts" in said
    assert "All checks passed" in said


def test_the_composition_has_it_with_its_own_user(checkout: Checkout) -> None:
    compose = (checkout.folder / "docker-compose.yml").read_text()
    user = registry.user_id("gifts")

    assert f'command: [run, gifts]\n    user: "{user}:{user}"\n' in compose
    if shutil.which("docker") is None:
        return
    done = subprocess.run(
        ["docker", "compose", "--env-file", os.devnull, "config", "--format", "json"],
        cwd=checkout.folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    gifts = json.loads(done.stdout)["services"]["gifts"]
    assert gifts["command"] == ["run", "gifts"]
    assert "SHOP_GIFTS_MAX_RETRIES" in gifts["environment"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        pytest.param(("orders",), "there is a service orders already", id="exists"),
        pytest.param(("events",), "events has a meaning here already", id="ours"),
        pytest.param(("fine", "--on", "a.b"), "there is no event 'a.b'; there are", id="topic"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_is_written(
    checkout: Checkout, arguments: tuple[str, ...], told: str
) -> None:
    before = sorted(checkout.folder.rglob("*"))

    done = checkout("shop.cli", "new", *arguments, check=False)

    assert done.returncode == 2
    assert done.stderr.startswith("shop: ")
    assert told in done.stderr
    assert done.stderr.count("\n") == 1
    assert sorted(checkout.folder.rglob("*")) == before


def test_without_a_checkout_it_says_so(tmp_path: Path) -> None:
    image = Checkout(tmp_path)
    shutil.rmtree(image.folder / "tests")

    done = image("shop.cli", "new", "gifts", check=False)

    assert done.returncode == 1
    assert "shop new writes into the project's checkout, and this is none" in done.stderr
    assert not (image.folder / "services" / "gifts").exists()
