"""The composed system after `docker compose up` on a clean clone."""

import json
import re
from functools import partial
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from benchmarks.idle import processor_use
from shop import registry
from tests.acceptance.checkout import Checkout
from tests.acceptance.compose import SERVICES, Composition
from tests.acceptance.inside import PERMISSION_CHECKS, READABLE_KEYS
from tests.support.waiting import eventually

pytestmark = [pytest.mark.docker, pytest.mark.timeout(300)]

CUSTOMER = "canary@example.com"
ADDRESS = "7 Canary Wharf, Springfield"
ORDER = "ORD-123"


@pytest.fixture(scope="module")
def shipped(system: Composition) -> Any:
    """An order that was placed and paid in the orders container, after it is shipped."""
    placed = place(system, ORDER, "product-1=2", "product-2=1")
    assert (placed["total_amount"], placed["currency"]) == ("99.99", "EUR")
    pay = ("orders", "pay", ORDER, "--amount", "99.99", "--method", "card")
    system.shop("orders", *pay)
    eventually(lambda: show(system, ORDER)["status"] == "shipped", within=60)
    return show(system, ORDER)


def test_the_compose_file_has_the_users_that_own_the_keys(
    system: Composition,
) -> None:
    users = {
        name: container["Config"]["User"]
        for name, container in system.containers().items()
        if name.removesuffix("-1") in registry.names()
    }

    assert users == {
        f"{name}-1": f"{registry.user_id(name)}:{registry.user_id(name)}"
        for name in registry.names()
    }


def test_an_order_is_reserved_paid_and_shipped(shipped: Any) -> None:
    times = [shipped[f"{step}_at"] for step in ("placed", "reserved", "paid", "shipped")]

    assert all(times)
    assert shipped["tracking_number"]


@pytest.mark.usefixtures("shipped")
def test_every_service_reacts_to_the_order(system: Composition) -> None:
    def mailed() -> list[str]:
        return sorted(each["kind"] for each in system.shop("email", "email", "sent"))

    def stock() -> dict[str, int]:
        products = system.shop("inventory", "inventory", "stock")
        return {each["sku"]: each["reserved"] for each in products}

    eventually(lambda: mailed() == ["confirmation", "shipping"], within=30)
    assert stock() == {"product-1": 2, "product-2": 1, "product-3": 0}
    assert [
        (each["order_id"], each["status"]) for each in system.shop("shipping", "shipping", "list")
    ] == [(ORDER, "shipped")]
    assert system.shop("loyalty", "loyalty", "balance", CUSTOMER)["points"] == 99
    report = partial(system.shop, "analytics", "analytics", "report")
    eventually(lambda: sum(report()["events"].values()) == 4, within=30)
    assert report()["revenue"] == "99.99"


@pytest.mark.usefixtures("shipped")
def test_the_mail_is_in_maildev(system: Composition) -> None:
    eventually(lambda: len(system.mails()) == 2, within=30)

    assert {mail["to"][0]["address"] for mail in system.mails()} == {CUSTOMER}
    assert all(ORDER in mail["subject"] for mail in system.mails())


@pytest.mark.usefixtures("shipped")
def test_the_logs_show_the_reactions_and_no_address(system: Composition) -> None:
    logs = system("logs", "--no-color").stdout

    for service in ("inventory", "email", "shipping", "analytics", "loyalty"):
        assert re.search(rf"^{service}-1 .*handled +order\.placed\.v1 +{ORDER}", logs, re.MULTILINE)
    # MailDev, the mail server, logs recipients.
    logs_of_services = "\n".join(
        line for line in logs.splitlines() if not line.startswith("maildev")
    )
    assert CUSTOMER not in logs_of_services
    assert ADDRESS not in logs_of_services


def test_a_container_can_show_only_its_own_service(system: Composition) -> None:
    refused = system("exec", "-T", "orders", "shop", "inventory", "stock", check=False)

    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr.startswith("shop: the secrets of inventory cannot be read here")
    assert len(refused.stderr.strip().splitlines()) == 1


def test_a_service_cannot_use_another_services_resources(system: Composition) -> None:
    tried = system.python("email", PERMISSION_CHECKS)

    assert tried["its own queue"] == tried["its own database"] == "allowed"
    assert tried["secret"].startswith("PermissionError")
    assert "permission denied for database" in tried["database"]
    assert "ACCESS_REFUSED" in tried["queue"]
    assert "ACCESS_REFUSED" in tried["event"]
    assert "ACCESS_REFUSED" in tried["history"]


def test_the_operator_finds_no_problem(system: Composition) -> None:
    findings = system("run", "--rm", "-T", "operator", "doctor", "--json").stdout

    assert [each for each in json.loads(findings) if not each["ok"]] == []


@pytest.mark.usefixtures("shipped")
def test_the_operator_shows_an_orders_whole_timeline(system: Composition) -> None:
    timeline = json.loads(_operator(system, "timeline", ORDER))

    assert timeline["notes"] == []
    placed = next(each for each in timeline["events"] if each["type"] == "order.placed.v1")
    assert {each["service"]: each["outcome"] for each in placed["services"]} == {
        name: "handled" for name in SERVICES if name != "orders"
    }


@pytest.mark.usefixtures("shipped")
def test_a_container_shows_what_its_service_knows_of_an_order_and_reads_no_history(
    system: Composition,
) -> None:
    shown = system("exec", "-T", "shipping", "shop", "events", "timeline", ORDER, "--json")

    events = json.loads(shown.stdout)["events"]
    assert {"order.placed.v1", "order.shipped.v1"} <= {each["type"] for each in events}
    refused = system("exec", "-T", "shipping", "shop", "events", "history", check=False)
    assert (refused.returncode, refused.stdout) == (1, "")
    for said in (shown.stderr, refused.stderr):
        assert "the history can be read by the operator only" in said
    for name in set(SERVICES) - {"shipping"}:
        assert f"{name} cannot be read" in shown.stderr


@pytest.mark.usefixtures("shipped")
def test_the_operator_replays_old_events_to_one_service(system: Composition) -> None:
    sent = json.loads(_operator(system, "replay", "--to", "loyalty"))

    assert sent["sent"] is True
    assert sent["events"] >= 1


@pytest.mark.usefixtures("shipped")
def test_the_operator_shows_the_history_and_a_container_the_catalog(system: Composition) -> None:
    history = ("events", "history", "--order", ORDER)
    shown = system("run", "--rm", "-T", "operator", *history).stdout

    types = {line.split()[2] for line in shown.splitlines()}
    assert {"order.placed.v1", "payment.received.v1", "order.shipped.v1"} <= types
    assert ADDRESS not in shown
    catalog = {each["type"]: each for each in system.shop("email", "events", "catalog")}
    assert types <= catalog.keys()
    assert set(catalog["order.placed.v1"]["reactions"]) == set(SERVICES) - {"orders"}


def test_the_operator_sees_events_as_they_happen(system: Composition) -> None:
    with system.operating("events", "tail", "--json", "--order", "ORD-125") as tail:
        next(line for line in tail.err if "from now on" in line)  # after what Compose says
        place(system, "ORD-126", "product-1=1")
        place(system, "ORD-125", "product-1=1")

        event = json.loads(tail.out.readline())

    assert (event["type"], event["subject"]) == ("order.placed.v1", "ORD-125")
    assert event["data"]["customer_email"] == CUSTOMER


@pytest.mark.usefixtures("shipped")
def test_the_operator_rebuilds_only_a_stopped_service(system: Composition) -> None:
    refused = _run_operator(system, "rebuild", "analytics", "--yes")
    system("stop", "analytics")
    try:
        rebuilt = json.loads(_operator(system, "rebuild", "analytics", "--yes"))
    finally:
        system("start", "analytics")

    assert (refused.returncode, refused.stdout) == (1, "")
    assert "analytics is running (1 consumer): stop it first" in refused.stderr
    assert rebuilt["as_it_was"] is True
    assert rebuilt["handled"] >= 4
    assert system.shop("analytics", "analytics", "report")["revenue"] == "99.99"


def test_set_up_as_the_operator_names_the_command_that_runs_it(system: Composition) -> None:
    refused = system("run", "--rm", "-T", "operator", "setup", check=False)

    assert (refused.returncode, refused.stdout) == (1, "")
    assert "docker compose run --rm setup" in refused.stderr
    assert "topology: " in system("run", "--rm", "-T", "setup").stdout


def _operator(system: Composition, *arguments: str) -> str:
    done = _run_operator(system, *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _run_operator(system: Composition, *arguments: str) -> "CompletedProcess[str]":
    return system("run", "--rm", "-T", "operator", "events", *arguments, "--json", check=False)


def test_docker_shows_no_secret(system: Composition) -> None:
    shown = json.dumps(system.containers()) + system("config").stdout
    secrets = [
        *(key for name in SERVICES for key in system.python(name, READABLE_KEYS)),
        *(
            system("exec", "-T", server, "cat", f"/run/keys/{server}/password").stdout
            for server in ("rabbitmq", "postgres")
        ),
    ]

    passwords = {secret.partition("@")[0].rpartition(":")[2] for secret in secrets}
    assert len(passwords) == 2 * len(SERVICES) + 2
    assert all(len(password) >= 32 for password in passwords)
    assert [password for password in passwords if password in shown] == []


def test_every_container_is_confined(system: Composition) -> None:
    for name, container in system.containers().items():
        host, user = container["HostConfig"], container["Config"]["User"]
        assert host["ReadonlyRootfs"], name
        assert host["CapDrop"] == ["ALL"], name
        assert "no-new-privileges:true" in host["SecurityOpt"], name
        assert 0 < host["Memory"] <= 2**31, name
        bound = [
            each["HostIp"] for ports in (host["PortBindings"] or {}).values() for each in ports
        ]
        assert set(bound) <= {"127.0.0.1"}, name
        if name == "keys-1":  # changes owners, and has no network
            assert host["NetworkMode"] == "none"
            kept = {each.removeprefix("CAP_") for each in host["CapAdd"]}
            assert kept == {"CHOWN", "DAC_OVERRIDE", "FOWNER"}
        else:
            assert user.partition(":")[0] not in {"", "0", "root"}, name
            assert not host["CapAdd"], name


def test_its_processor_use_can_be_measured(system: Composition) -> None:
    measured = processor_use(system.project, seconds=1)

    assert set(measured.figures) == {"services", "broker", "database", "mail server"}
    assert measured.value == pytest.approx(sum(each.value for each in measured.figures.values()))
    assert min(each.value for each in measured.figures.values()) > 0


def test_a_service_has_enough_time_to_stop(system: Composition) -> None:
    containers = system.containers()

    assert {containers[f"{name}-1"]["Config"]["StopTimeout"] for name in SERVICES} == {30}


def test_a_service_that_ends_is_restarted(system: Composition) -> None:
    def loyalty() -> Any:
        return system.containers()["loyalty-1"]

    before = loyalty()["RestartCount"]

    system.python("loyalty", "import os; os.kill(1, 15); print(0)")

    eventually(lambda: loyalty()["RestartCount"] == before + 1, within=60)
    eventually(lambda: loyalty()["State"]["Health"]["Status"] == "healthy", within=60)


@pytest.mark.usefixtures("shipped")
def test_two_inventory_processes_serve_another_order(system: Composition) -> None:
    system.up("--scale", "inventory=2")

    place(system, "ORD-124", "product-1=1")

    eventually(lambda: show(system, "ORD-124")["status"] == "reserved", within=30)
    two = [system.containers()[f"inventory-{number}"] for number in (1, 2)]
    assert [each["State"]["Health"]["Status"] for each in two] == ["healthy", "healthy"]


@pytest.mark.usefixtures("shipped")
def test_a_new_consumer_gets_all_earlier_events(system: Composition, tmp_path: Path) -> None:
    checkout = Checkout(tmp_path)
    checkout.shop("new", "gifts", "--on", "order.placed")
    history = _operator(system, "history", "--type", "order.placed").splitlines()
    before = sorted(json.loads(each)["subject"] for each in history)

    # `up` runs `setup` again, which grants gifts the history because of this setting.
    late = system.with_checkout(checkout.folder, SHOP_GIFTS_FROM_HISTORY="true")
    late.up("--build", "gifts")

    def noted() -> list[str]:
        return sorted(each["subject"] for each in late.shop("gifts", "gifts", "list"))

    eventually(lambda: noted() == before, within=60)
    assert ORDER in before
    assert "may read the history" in late("logs", "setup").stdout
    eventually(lambda: "catch-up finished" in late("logs", "gifts").stdout, within=30)
    assert "may read the history" not in late("run", "--rm", "-T", "setup").stdout
    to_servers = late.connect("gifts", [("rabbitmq", 5672), ("postgres", 5432)])
    assert [each.outcome for each in to_servers] == ["connected", "connected"]
    to_services = late.connect("gifts", [(name, 8080) for name in SERVICES])
    assert {each.outcome for each in to_services} == {"gaierror"}


def place(system: Composition, order_id: str, *items: str) -> Any:
    whom = ("--email", CUSTOMER, "--address", ADDRESS)
    what = [part for item in items for part in ("--item", item)]
    return system.shop("orders", "orders", "place", "--id", order_id, *whom, *what)


def show(system: Composition, order_id: str) -> Any:
    return system.shop("orders", "orders", "show", order_id)
