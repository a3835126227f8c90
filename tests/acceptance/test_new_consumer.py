"""`shop new` in a copy of the checkout: what it creates runs and passes its tests unchanged."""

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
    """A copy of the project after `shop new gifts --on order.placed`."""
    checkout = Checkout(tmp_path_factory.mktemp("new"))
    checkout.said = checkout.shop("new", "gifts", "--on", "order.placed")
    return checkout


def test_its_output_is_the_one_that_the_readme_shows(checkout: Checkout) -> None:
    readme = (ROOT / "README.md").read_text()

    assert f"$ shop new gifts --on order.placed\n{checkout.said}```" in readme
    assert "created services/gifts\n" in checkout.said


def test_its_own_test_passes_and_so_do_those_that_check_all_services(checkout: Checkout) -> None:
    own, all_services = "tests/unit/services/gifts", "tests/unit/services/test_migrations.py"
    page = "tests/unit/shared/operations/catalog/test_catalog.py"

    said = checkout("pytest", "-q", "-p", "no:cacheprovider", "-m", "not docker", own, page).stdout
    migrations = checkout(
        "pytest", "-q", "-p", "no:cacheprovider", "-m", "not docker", "-k", "gifts", all_services
    ).stdout

    assert " passed" in said
    assert "1 passed" in migrations


def test_the_created_files_pass_ruff_and_mypy(checkout: Checkout, tmp_path: Path) -> None:
    created = ("services/gifts", "tests/unit/services/gifts")

    checkout("ruff", "format", "--check", "--no-cache", *created)
    checkout("ruff", "check", "--no-cache", *created)
    checkout("mypy", "--cache-dir", str(tmp_path), *created)


@pytest.mark.parametrize(
    "topics",
    [
        pytest.param((), id="every-event"),
        pytest.param(("order.placed", "stock.ran_short", "payment.received"), id="several"),
    ],
)
def test_a_consumer_with_any_subscriptions_and_the_longest_name_passes(
    checkout: Checkout, topics: tuple[str, ...]
) -> None:
    name = f"x{len(topics)}_of_the_longest_names_"
    assert len(name) == 24

    checkout.shop("new", name, *(word for topic in topics for word in ("--on", topic)))

    own = f"tests/unit/services/{name}"
    checkout("ruff", "format", "--check", "--no-cache", f"services/{name}", own)
    checkout("ruff", "check", "--no-cache", f"services/{name}", own)
    checkout("pytest", "-q", "-p", "no:cacheprovider", own)


def test_it_receives_the_event_of_a_placed_order(checkout: Checkout) -> None:
    customer = ("--email", "jane@example.com", "--address", "12 Main St")
    with checkout.up():
        checkout.shop("orders", "place", "--id", "ORD-7", *customer, "--item", "product-1=1")

        def recorded() -> list[tuple[str, str]]:
            rows = json.loads(checkout.shop("gifts", "list", "--json"))
            return [(row["type"], row["subject"]) for row in rows]

        eventually(lambda: recorded() == [("order.placed.v1", "ORD-7")], within=60)

    assert "gifts" in checkout.shop("events", "catalog")


def test_the_demo_still_succeeds(checkout: Checkout) -> None:
    said = checkout.shop("demo")

    assert "gifts     order.placed     recorded" in said
    assert "more_gifts" in said
    assert "All checks passed" in said


def test_its_container_runs_as_its_own_user_on_its_own_network(checkout: Checkout) -> None:
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
    composed = json.loads(done.stdout)
    on_its_network = {
        name
        for name, service in composed["services"].items()
        if "gifts" in (service.get("networks") or ())
    }
    assert on_its_network == {"gifts", "rabbitmq", "postgres"}
    assert composed["networks"]["gifts"]["internal"] is True
    gifts = composed["services"]["gifts"]
    assert gifts["networks"].keys() == {"gifts"}
    assert gifts["command"] == ["run", "gifts"]
    assert "SHOP_GIFTS_MAX_RETRIES" in gifts["environment"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        pytest.param(("orders",), "there is a service orders already", id="exists"),
        pytest.param(("events",), "events has a meaning here already", id="ours"),
        pytest.param(("fine", "--on", "a.b"), "there is no event 'a.b'; there are", id="topic"),
    ],
)
def test_invalid_input_is_refused_and_nothing_is_written(
    checkout: Checkout, arguments: tuple[str, ...], sentence: str
) -> None:
    before = sorted(checkout.folder.rglob("*"))

    done = checkout("shop.cli", "new", *arguments, check=False)

    assert done.returncode == 2
    assert done.stderr.startswith("shop: ")
    assert sentence in done.stderr
    assert done.stderr.count("\n") == 1
    assert sorted(checkout.folder.rglob("*")) == before


def test_outside_a_checkout_it_is_refused(tmp_path: Path) -> None:
    image = Checkout(tmp_path)
    shutil.rmtree(image.folder / "tests")

    done = image("shop.cli", "new", "gifts", check=False)

    assert done.returncode == 1
    assert "shop new needs the project's checkout, and this is not one" in done.stderr
    assert not (image.folder / "services" / "gifts").exists()
