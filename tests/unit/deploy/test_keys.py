"""The passwords of the composed system: generated once, each readable by those who need it."""

import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from deploy.keys import SETUP_GROUP, make_keys
from shared.errors import OperationFailed
from shared.messaging.codec import LARGEST_EVENT_BYTES
from shop import registry
from tests.containers import MAX_MESSAGE_BYTES

SERVICES = ("orders", "email")


class Owners:
    """Records owners, because only root can change them."""

    def __init__(self) -> None:
        self.of: dict[str, tuple[int, int]] = {}

    def __call__(self, path: Path, user: int, group: int) -> None:
        self.of[path.name] = (user, group)


def make(root: Path, *services: str, chown: Callable[[Path, int, int], None] | None = None) -> str:
    return "\n".join(make_keys(root, services or SERVICES, chown=chown or Owners()))


def contents(root: Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): path.read_text()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def test_each_user_of_each_server_gets_its_own_password(tmp_path: Path) -> None:
    make(tmp_path)

    urls = {name: urlsplit(url) for name, url in contents(tmp_path).items() if "/shop_" in name}
    admins = {"rabbitmq/shop_broker_url", "postgres/shop_database_admin_url"}
    services = {f"{name}/shop_{what}_url" for name in SERVICES for what in ("broker", "database")}
    broker_users = {urls[name].password for name in {"operator/shop_broker_url", *admins}}
    assert len(broker_users | {urls[name].password for name in services}) == 3 + 4
    assert all(len(url.password or "") >= 32 for url in urls.values())
    assert {urls[f"{name}/shop_broker_url"].username for name in SERVICES} == set(SERVICES)


def test_the_servers_and_setup_get_the_same_password(tmp_path: Path) -> None:
    make(tmp_path)

    files = contents(tmp_path)
    admin = urlsplit(files["rabbitmq/shop_broker_admin_url"])
    assert f"default_user = {admin.username}\n" in files["rabbitmq/rabbitmq.conf"]
    assert f"default_pass = {admin.password}\n" in files["rabbitmq/rabbitmq.conf"]
    password = urlsplit(files["postgres/shop_database_admin_url"]).password
    assert files["postgres/password"] == password


def test_a_second_run_changes_nothing(tmp_path: Path) -> None:
    make(tmp_path)
    before = contents(tmp_path)

    output = make(tmp_path)

    assert contents(tmp_path) == before
    assert "generated" not in output


def test_a_new_service_gets_a_password_and_the_others_keep_theirs(tmp_path: Path) -> None:
    make(tmp_path)
    before = contents(tmp_path)

    output = make(tmp_path, *SERVICES, "gifts")

    after = contents(tmp_path)
    assert before.items() <= after.items()
    assert {"gifts/shop_broker_url", "gifts/shop_database_url"} == after.keys() - before.keys()
    assert f"gifts: generated; its user id is {registry.user_id('gifts')}" in output


def test_only_its_service_and_setup_can_read_a_folder_and_nobody_can_write_it(
    tmp_path: Path,
) -> None:
    owners = Owners()

    make(tmp_path, chown=owners)

    folder = tmp_path / "orders"
    assert folder.stat().st_mode & 0o777 == 0o750
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o440}
    assert owners.of["orders"] == (registry.user_id("orders"), SETUP_GROUP)


def test_the_cookie_of_the_broker_is_random_and_cannot_be_written(tmp_path: Path) -> None:
    make(tmp_path)
    (tmp_path / "other").mkdir()
    make(tmp_path / "other")

    cookies = [root / "rabbitmq/erlang.cookie" for root in (tmp_path, tmp_path / "other")]
    assert all(re.fullmatch("[0-9a-f]{64}", cookie.read_text()) for cookie in cookies)
    assert cookies[0].read_text() != cookies[1].read_text()
    assert (
        cookies[0].stat().st_mode & 0o777 == 0o444
    )  # the broker copies it, see docker-compose.yml


def test_an_installation_without_a_cookie_gets_one_and_keeps_its_passwords(tmp_path: Path) -> None:
    make(tmp_path)
    cookie = tmp_path / "rabbitmq/erlang.cookie"
    cookie.unlink()
    before = contents(tmp_path)

    make(tmp_path)

    assert contents(tmp_path).items() - before.items() == {
        ("rabbitmq/erlang.cookie", cookie.read_text())
    }
    assert before.items() <= contents(tmp_path).items()


def test_the_broker_serves_metrics_to_itself_and_refuses_large_messages(tmp_path: Path) -> None:
    make(tmp_path)

    conf = (tmp_path / "rabbitmq/rabbitmq.conf").read_text().splitlines()

    assert "prometheus.tcp.ip = 127.0.0.1" in conf
    assert "frame_max = 16384" in conf
    largest = next(line for line in conf if line.startswith("max_message_size = "))
    assert int(largest.partition(" = ")[2]) == MAX_MESSAGE_BYTES
    assert LARGEST_EVENT_BYTES < MAX_MESSAGE_BYTES < 1.5 * LARGEST_EVENT_BYTES


def test_a_killed_run_leaves_no_partial_file(tmp_path: Path) -> None:
    def kill_at_the_file(path: Path, user: int, group: int) -> None:
        del user, group
        if path.name == ".shop_broker_url":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make(tmp_path, chown=kill_at_the_file)
    assert not [name for name in contents(tmp_path) if "/shop_broker_url" in name]

    make(tmp_path)

    assert not [name for name, content in contents(tmp_path).items() if not content or "/." in name]


def test_a_configuration_of_an_older_release_is_replaced(tmp_path: Path) -> None:
    make(tmp_path)
    before = contents(tmp_path)
    conf = tmp_path / "rabbitmq/rabbitmq.conf"
    conf.chmod(0o644)
    conf.write_text("# an older release")

    make(tmp_path)

    assert contents(tmp_path) == before


def test_services_with_the_same_user_id_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "user_id", lambda _: 20_000)

    with pytest.raises(OperationFailed, match="rename"):
        make(tmp_path)

    assert contents(tmp_path) == {}


@pytest.mark.parametrize(("name", "user"), [("orders", 27662), ("inventory", 35350)])
def test_the_user_id_of_a_service_depends_on_its_name_alone(name: str, user: int) -> None:
    assert registry.user_id(name) == user
