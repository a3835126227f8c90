import errno
from datetime import timedelta
from pathlib import Path

import pytest

from shared.errors import InvalidInput, OperationFailed
from shared.runtime.settings import Settings, settings_for, settings_override
from shared.storage.database import Database

HIDDEN = "hunter2"

WRONG = [
    ("http_port", "0"),
    ("http_port", "65536"),
    ("http_port", HIDDEN),
    ("log_level", HIDDEN),
    ("log_level", "INFO"),
    ("log_format", HIDDEN),
    ("grace", "0"),
    ("grace", "-1"),
    ("grace", "nan"),
    ("grace", "inf"),
    ("grace", HIDDEN),
    ("outbox_keep", "0"),
    ("failures_keep", "1.5"),
    ("history_days", HIDDEN),
    ("history_days", "36501"),
    ("history_max_bytes", "1"),
    ("history_segment_bytes", "-1"),
    ("inbox_keep", "0"),
    ("inbox_keep", HIDDEN),
]


def test_with_none_set_everything_is_embedded_under_var() -> None:
    with settings_override():
        settings = settings_for("orders")

    assert settings.is_embedded
    assert settings.broker_url_of("orders") == "embedded:var/broker.db"
    assert settings.database_url_of("orders") == "sqlite:///var/orders.db"
    assert settings.inbox_horizon() is None


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_the_sentence_about_a_wrong_value_names_its_variable_and_not_the_value(
    name: str, value: str
) -> None:
    with settings_override(**{name: value}), pytest.raises(InvalidInput) as error:
        settings_for()

    sentence = str(error.value)
    assert sentence.startswith(f"SHOP_{name.upper()}: ")
    assert HIDDEN not in sentence
    assert "\n" not in sentence


def test_the_inbox_must_remember_events_as_long_as_the_history() -> None:
    with (
        settings_override(inbox_keep=29),
        pytest.raises(InvalidInput, match=r"SHOP_INBOX_KEEP.*HISTORY_DAYS"),
    ):
        settings_for()
    with settings_override(inbox_keep=29, history_days=29):
        assert settings_for().inbox_horizon() == timedelta(days=29)


def test_a_services_name_replaces_its_placeholder_in_urls() -> None:
    urls = {
        "broker_url": "amqp://{service}:x@broker/shop",
        "database_url": "postgresql://{service}:x@server/{service}",
    }
    with settings_override(allow_plaintext=True, **urls):
        settings = settings_for("email")

    assert settings.broker_url_of("email") == "amqp://email:x@broker/shop"
    assert settings.database_url_of("email") == "postgresql://email:x@server/email"
    assert not settings.is_embedded


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        pytest.param({}, True, id="both embedded"),
        pytest.param({"broker_url": "amqp://broker"}, True, id="databases"),
        pytest.param({"database_url": "postgresql://server/{service}"}, True, id="the broker"),
        pytest.param(
            {"broker_url": "amqp://broker", "database_url": "sqlite:///var/{service}.db"},
            True,
            id="databases by name",
        ),
        pytest.param(
            {"broker_url": "amqp://broker", "database_url": "postgresql://server/{service}"},
            False,
            id="servers",
        ),
    ],
)
def test_there_are_files_if_the_broker_or_the_databases_are_embedded(
    variables: dict[str, str], *, expected: bool
) -> None:
    with settings_override(allow_plaintext=True, **variables):
        assert settings_for().has_files is expected


@pytest.mark.parametrize("name", ["a b", "100%25", "what?", "a#b", "{service}"])
def test_the_home_folder_may_have_any_name(tmp_path: Path, name: str) -> None:
    with settings_override(home=tmp_path / name):
        url = settings_for().database_url_of("orders")

    assert Database(url).path == tmp_path / name / "orders.db"


def test_a_secret_is_read_from_its_owners_file_only(tmp_path: Path) -> None:
    for owner in ("orders", "email"):
        (tmp_path / owner).mkdir()
        (tmp_path / owner / "shop_broker_url").write_text(f"amqp://{owner}:{HIDDEN}@broker/\n")
        (tmp_path / owner / "password").write_text("for somebody else")

    with settings_override(keys=tmp_path, broker_url="amqp://nobody@broker", allow_plaintext=True):
        assert settings_for("orders").broker_url == f"amqp://orders:{HIDDEN}@broker/"
        assert settings_for("orders", "email").broker_url.startswith("amqp://email:")
        assert settings_for().broker_url == "amqp://nobody@broker"


def test_the_sentence_about_a_wrong_value_in_a_file_names_its_variable(tmp_path: Path) -> None:
    (tmp_path / "orders").mkdir()
    (tmp_path / "orders" / "shop_http_port").write_text(HIDDEN)

    with settings_override(keys=tmp_path), pytest.raises(InvalidInput) as error:
        settings_for("orders")

    assert str(error.value).startswith("SHOP_HTTP_PORT: ")
    assert HIDDEN not in str(error.value)


def no_folder(folder: Path) -> None:
    del folder


def a_file(folder: Path) -> None:
    folder.write_text("")


def a_folder_for_a_secret(folder: Path) -> None:
    (folder / "shop_broker_url").mkdir(parents=True)


def no_text(folder: Path) -> None:
    folder.mkdir()
    (folder / "shop_broker_url").write_bytes(b"\xff\xfe")


def a_link_outside(folder: Path) -> None:
    folder.mkdir()
    secret = folder.parent / "secret"
    secret.write_text("amqp://orders@broker")
    (folder / "shop_broker_url").symlink_to(secret)


@pytest.mark.parametrize(
    "make", [no_folder, a_file, a_folder_for_a_secret, no_text, a_link_outside]
)
def test_secrets_that_cannot_be_read_are_a_failed_operation(tmp_path: Path, make: object) -> None:
    assert callable(make)
    make(tmp_path / "orders")

    with (
        settings_override(keys=tmp_path),
        pytest.raises(OperationFailed, match="the secrets of orders cannot be read here"),
    ):
        settings_for("orders")


def test_secrets_without_permission_are_a_failed_operation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "orders").mkdir()

    def forbid(_: Path) -> None:
        raise PermissionError(errno.EACCES, "not shown")

    monkeypatch.setattr(Path, "iterdir", forbid)

    with (
        settings_override(keys=tmp_path),
        pytest.raises(OperationFailed, match=r"the secrets of orders .*Permission denied"),
    ):
        settings_for("orders")


def test_an_override_ends_with_its_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_GRACE", "7")

    with settings_override(home="elsewhere"):
        assert settings_for().grace == 20
        assert settings_for().home == Path("elsewhere")

    assert settings_for().grace == 7
    assert settings_for().home == Path("var")


def test_the_administrators_url_may_name_a_server_for_each_service() -> None:
    settings = Settings(database_admin_url="postgresql://admin:a@{service}-db/postgres")

    url = settings.database_admin_url_of("loyalty")

    assert url.partition("?")[0] == "postgresql://admin:a@loyalty-db/postgres"


@pytest.mark.parametrize("url", ["postgresql://shop:hush@server/shop", "sqlite:///shop.db"])
def test_one_database_for_all_services_is_refused(url: str) -> None:
    with (
        settings_override(database_url=url),
        pytest.raises(
            InvalidInput, match=r"^SHOP_DATABASE_URL should contain \{service\}"
        ) as refused,
    ):
        settings_for("orders")

    assert "hush" not in str(refused.value)


def test_a_secret_of_one_service_may_name_its_database(tmp_path: Path) -> None:
    (tmp_path / "orders").mkdir()
    (tmp_path / "orders" / "shop_database_url").write_text("postgresql://o:p@localhost/orders")

    with settings_override(keys=tmp_path):
        assert settings_for("orders").database_url_of("orders").endswith("/orders")
