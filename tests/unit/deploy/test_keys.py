"""The passwords of the composed system, made once and each for those who need it."""

from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from deploy.keys import SETUP_GROUP, make_keys
from shared.errors import OperationFailed
from shop import registry

SERVICES = ("orders", "email")


class Owners:
    """Notes who owns what, as only root can really change it."""

    def __init__(self) -> None:
        self.of: dict[str, tuple[int, int]] = {}

    def __call__(self, path: Path, user: int, group: int) -> None:
        self.of[path.name] = (user, group)


def make(root: Path, *services: str, own: Callable[[Path, int, int], None] | None = None) -> str:
    return "\n".join(make_keys(root, services or SERVICES, own=own or Owners()))


def contents(root: Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): path.read_text()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def test_everybody_gets_a_password_of_their_own(tmp_path: Path) -> None:
    make(tmp_path)

    urls = {name: urlsplit(url) for name, url in contents(tmp_path).items() if "/shop_" in name}
    admins = {"rabbitmq/shop_broker_url", "postgres/shop_database_admin_url"}
    services = {f"{name}/shop_{what}_url" for name in SERVICES for what in ("broker", "database")}
    broker_users = {urls[name].password for name in {"operator/shop_broker_url", *admins}}
    assert len(broker_users | {urls[name].password for name in services}) == 3 + 4
    assert all(len(url.password or "") >= 32 for url in urls.values())
    assert {urls[f"{name}/shop_broker_url"].username for name in SERVICES} == set(SERVICES)


def test_the_servers_take_the_password_that_setup_uses(tmp_path: Path) -> None:
    make(tmp_path)

    found = contents(tmp_path)
    admin = urlsplit(found["rabbitmq/shop_broker_admin_url"])
    assert f"default_user = {admin.username}\n" in found["rabbitmq/rabbitmq.conf"]
    assert f"default_pass = {admin.password}\n" in found["rabbitmq/rabbitmq.conf"]
    password = urlsplit(found["postgres/shop_database_admin_url"]).password
    assert found["postgres/password"] == password


def test_again_changes_nothing(tmp_path: Path) -> None:
    make(tmp_path)
    before = contents(tmp_path)

    said = make(tmp_path)

    assert contents(tmp_path) == before
    assert "made" not in said


def test_a_service_that_comes_later_gets_its_own_and_the_others_keep_theirs(tmp_path: Path) -> None:
    make(tmp_path)
    before = contents(tmp_path)

    said = make(tmp_path, *SERVICES, "gifts")

    after = contents(tmp_path)
    assert before.items() <= after.items()
    assert {"gifts/shop_broker_url", "gifts/shop_database_url"} == after.keys() - before.keys()
    assert f"gifts: made; its user is {registry.user_id('gifts')}" in said


def test_a_folder_is_its_services_and_setups_to_read_and_nobodys_to_write(tmp_path: Path) -> None:
    owners = Owners()

    make(tmp_path, own=owners)

    folder = tmp_path / "orders"
    assert folder.stat().st_mode & 0o777 == 0o750
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o440}
    assert owners.of["orders"] == (registry.user_id("orders"), SETUP_GROUP)


def test_being_killed_half_way_leaves_nothing_that_looks_like_a_key(tmp_path: Path) -> None:
    def killed_at_the_file(path: Path, user: int, group: int) -> None:
        del user, group
        if path.name == ".shop_broker_url":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make(tmp_path, own=killed_at_the_file)
    assert not [name for name in contents(tmp_path) if "/shop_broker_url" in name]

    make(tmp_path)

    assert not [name for name, content in contents(tmp_path).items() if not content or "/." in name]


def test_what_a_newer_release_writes_otherwise_is_written_anew(tmp_path: Path) -> None:
    make(tmp_path)
    before = contents(tmp_path)
    conf = tmp_path / "rabbitmq/rabbitmq.conf"
    conf.chmod(0o644)
    conf.write_text("of an older release")

    make(tmp_path)

    assert contents(tmp_path) == before


def test_two_services_never_share_a_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "user_id", lambda _: 20_000)

    with pytest.raises(OperationFailed, match="rename"):
        make(tmp_path)

    assert contents(tmp_path) == {}


@pytest.mark.parametrize(("name", "user"), [("orders", 27662), ("inventory", 35350)])
def test_a_services_user_follows_from_its_name_alone(name: str, user: int) -> None:
    assert registry.user_id(name) == user
