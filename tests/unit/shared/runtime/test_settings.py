from datetime import timedelta
from pathlib import Path

import pytest

from shared.errors import InvalidInput, OperationFailed
from shared.runtime.settings import only, settings_for
from shared.storage.database import Database

NOT_TO_BE_TOLD = "hunter2"

WRONG = [
    ("http_port", "0"),
    ("http_port", "65536"),
    ("http_port", NOT_TO_BE_TOLD),
    ("log_level", NOT_TO_BE_TOLD),
    ("log_level", "INFO"),
    ("log_format", NOT_TO_BE_TOLD),
    ("grace", "0"),
    ("grace", "-1"),
    ("grace", "nan"),
    ("grace", "inf"),
    ("grace", NOT_TO_BE_TOLD),
    ("outbox_keep", "0"),
    ("failures_keep", "1.5"),
    ("history_days", NOT_TO_BE_TOLD),
    ("history_days", "36501"),
    ("history_max_bytes", "1"),
    ("history_segment_bytes", "-1"),
    ("inbox_keep", "0"),
    ("inbox_keep", NOT_TO_BE_TOLD),
]


def test_with_none_set_everything_is_embedded_under_var() -> None:
    with only():
        settings = settings_for("orders")

    assert settings.is_embedded
    assert settings.broker_url_of("orders") == "embedded:var/broker.db"
    assert settings.database_url_of("orders") == "sqlite:///var/orders.db"
    assert settings.inbox_horizon() is None


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_a_wrong_value_is_told_by_its_variable_and_not_repeated(name: str, value: str) -> None:
    with only(**{name: value}), pytest.raises(InvalidInput) as refused:
        settings_for()

    sentence = str(refused.value)
    assert sentence.startswith(f"SHOP_{name.upper()}: ")
    assert NOT_TO_BE_TOLD not in sentence
    assert "\n" not in sentence


def test_an_inbox_must_not_forget_before_the_history_does() -> None:
    with only(inbox_keep=29), pytest.raises(InvalidInput, match=r"SHOP_INBOX_KEEP.*HISTORY_DAYS"):
        settings_for()
    with only(inbox_keep=29, history_days=29):
        assert settings_for().inbox_horizon() == timedelta(days=29)


def test_a_services_name_stands_where_its_url_says_so() -> None:
    urls = {
        "broker_url": "amqp://{service}:x@broker/shop",
        "database_url": "postgresql://{service}:x@server/{service}",
    }
    with only(**urls):
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
def test_files_are_there_where_broker_or_databases_are_embedded(
    variables: dict[str, str], *, expected: bool
) -> None:
    with only(**variables):
        assert settings_for().has_files is expected


@pytest.mark.parametrize("name", ["a b", "100%25", "what?", "a#b", "{service}"])
def test_the_home_may_have_any_name(tmp_path: Path, name: str) -> None:
    with only(home=tmp_path / name):
        url = settings_for().database_url_of("orders")

    assert Database(url).path == tmp_path / name / "orders.db"


def test_a_secret_comes_from_its_owners_file_alone(tmp_path: Path) -> None:
    for owner in ("orders", "email"):
        (tmp_path / owner).mkdir()
        (tmp_path / owner / "shop_broker_url").write_text(
            f"amqp://{owner}:{NOT_TO_BE_TOLD}@broker/\n"
        )
        (tmp_path / owner / "password").write_text("for somebody else")

    with only(keys=tmp_path, broker_url="amqp://nobody@broker"):
        assert settings_for("orders").broker_url == f"amqp://orders:{NOT_TO_BE_TOLD}@broker/"
        assert settings_for("orders", "email").broker_url.startswith("amqp://email:")
        assert settings_for().broker_url == "amqp://nobody@broker"


def test_a_wrong_value_in_a_file_is_told_by_its_variable(tmp_path: Path) -> None:
    (tmp_path / "orders").mkdir()
    (tmp_path / "orders" / "shop_http_port").write_text(NOT_TO_BE_TOLD)

    with only(keys=tmp_path), pytest.raises(InvalidInput) as refused:
        settings_for("orders")

    assert str(refused.value).startswith("SHOP_HTTP_PORT: ")
    assert NOT_TO_BE_TOLD not in str(refused.value)


def _no_folder(folder: Path) -> None:
    del folder


def _a_file(folder: Path) -> None:
    folder.write_text("")


def _a_folder_for_a_secret(folder: Path) -> None:
    (folder / "shop_broker_url").mkdir(parents=True)


def _no_text(folder: Path) -> None:
    folder.mkdir()
    (folder / "shop_broker_url").write_bytes(b"\xff\xfe")


@pytest.mark.parametrize("make", [_no_folder, _a_file, _a_folder_for_a_secret, _no_text])
def test_secrets_that_cannot_be_read_could_not_be_done(tmp_path: Path, make: object) -> None:
    assert callable(make)
    make(tmp_path / "orders")

    with only(keys=tmp_path), pytest.raises(OperationFailed, match=r"secrets? of orders"):
        settings_for("orders")


def test_only_leaves_the_environment_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_GRACE", "7")

    with only(home="elsewhere"):
        assert settings_for().grace == 20
        assert settings_for().home == Path("elsewhere")

    assert settings_for().grace == 7
    assert settings_for().home == Path("var")
