"""Servers on other machines are used with TLS only, unless plaintext is permitted."""

import re
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from sqlalchemy import make_url

from shared.errors import InvalidInput
from shared.runtime.settings import Settings, settings_for, settings_override
from tests.support.commanding import Shop

URLS = ("broker_url", "broker_admin_url", "database_url", "database_admin_url")

REFUSED = [
    ("broker_url", "amqp://u:hush@broker/v", "amqps://"),
    ("broker_url", "amqp://u:hush@10.0.0.7:5672/v", "amqps://"),
    ("broker_url", "AMQP://u:hush@broker/v", "amqps://"),
    ("broker_url", "amqp://u:hush@127.0.0.1.example.com/v", "amqps://"),
    ("broker_url", "amqp://localhost:hush@broker/v", "amqps://"),
    ("broker_url", "amqp://{service}:hush@{service}/v", "amqps://"),
    ("broker_admin_url", "http://u:hush@broker:15672", "https://"),
    *(
        (name, f"postgresql://u:hush@{rest}", "sslmode=verify-full")
        for name in ("database_url", "database_admin_url")
        for rest in (
            "db/{service}?sslmode=disable",
            "db/{service}?sslmode=prefer",
            "db/{service}?sslmode=require",
            "db/{service}?sslmode=verify-ca",
            "db/{service}?sslmode=verify-full&sslmode=disable",
            "localhost/{service}?host=db&sslmode=require",
            "localhost/{service}?host=localhost,db&sslmode=require",
            "localhost/{service}?hostaddr=10.0.0.7&sslmode=require",
            "localhost/{service}?service=far&sslmode=require",
        )
    ),
    (
        "database_url",
        "postgresql+psycopg://u:hush@db/{service}?sslmode=allow",
        "sslmode=verify-full",
    ),
]

USED_AS_IT_IS = [
    ("broker_url", "amqp://u:p@localhost/v"),
    ("broker_url", "amqp://u:p@LOCALHOST/v"),
    ("broker_url", "amqp://u:p@127.0.0.1:5672/v"),
    ("broker_url", "amqp://u:p@127.9.9.9/v"),
    ("broker_url", "amqp://u:p@[::1]:5672/v"),
    ("broker_url", "amqps://u:p@broker/v"),
    ("broker_url", "embedded:/var/shop/broker.db"),
    ("broker_admin_url", "http://u:p@localhost:15672"),
    ("broker_admin_url", "https://u:p@broker"),
    ("database_url", "sqlite:////var/shop/{service}.db"),
    ("database_url", "postgresql://u:p@localhost/{service}"),
    ("database_url", "postgresql://u:p@127.0.0.1:5432/{service}?sslmode=disable"),
    ("database_url", "postgresql:///{service}?host=/run/postgresql&sslmode=disable"),
]


@pytest.mark.parametrize(("name", "url", "right"), REFUSED)
def test_a_server_on_another_machine_is_refused_without_tls(
    name: str, url: str, right: str
) -> None:
    with settings_override(**{name: url}), pytest.raises(InvalidInput) as error:
        settings_for("orders")

    sentence = str(error.value)
    assert sentence.startswith(f"SHOP_{name.upper()}: ")
    assert right in sentence
    assert "SHOP_ALLOW_PLAINTEXT=true" in sentence
    assert "hush" not in sentence
    assert "\n" not in sentence


@pytest.mark.parametrize(("name", "url", "right"), REFUSED)
def test_plaintext_is_used_where_it_is_permitted(name: str, url: str, right: str) -> None:
    del right
    with settings_override(**{name: url}, allow_plaintext=True):
        assert getattr(settings_for("orders"), name) == url


@pytest.mark.parametrize(("name", "url"), USED_AS_IT_IS)
def test_tls_files_and_this_machine_need_no_permission(name: str, url: str) -> None:
    with settings_override(**{name: url}):
        assert getattr(settings_for("orders"), name) == url


def test_a_plain_url_in_a_secret_file_is_refused_too(tmp_path: Path) -> None:
    (tmp_path / "orders").mkdir()
    (tmp_path / "orders" / "shop_broker_url").write_text("amqp://orders:hush@broker/\n")

    with (
        settings_override(keys=tmp_path),
        pytest.raises(InvalidInput, match=r"SHOP_BROKER_URL: .*amqps://") as error,
    ):
        settings_for("orders")

    assert "hush" not in str(error.value)


@pytest.mark.parametrize(
    "arguments",
    [
        ["setup"],
        ["run", "orders"],
        ["up"],
        ["doctor"],
        ["orders", "list"],
        ["dead", "list"],
        ["events", "history"],
        ["outbox", "resend", "orders"],
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("name", URLS)
def test_every_command_refuses_with_one_sentence_and_exit_code_2(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, name: str, arguments: list[str]
) -> None:
    kind = {"broker_url": "amqp://h/", "broker_admin_url": "http://h"}
    monkeypatch.setenv(f"SHOP_{name.upper()}", kind.get(name, "postgresql://h/x?sslmode=require"))

    refused = shop(*arguments)

    assert refused.code == 2
    assert refused.err.count("\n") == 1
    assert f"SHOP_{name.upper()}: " in refused.err
    assert "SHOP_ALLOW_PLAINTEXT=true" in refused.err


def query(url: str) -> dict[str, list[str]]:
    return parse_qs(urlsplit(url).query)


def test_a_database_on_another_machine_is_verified_fully_without_being_told(
    tmp_path: Path,
) -> None:
    ca = tmp_path / "a ca&.pem"
    ca.touch()

    settings = Settings(
        tls_ca_file=ca, database_url="postgresql://u:p@db/{service}?connect_timeout=3"
    )

    url = settings.database_url_of("orders")
    assert make_url(url).database == "orders"
    assert query(url) == {
        "connect_timeout": ["3"],
        "sslmode": ["verify-full"],
        "sslrootcert": [str(ca)],
    }


def test_without_a_ca_file_the_system_s_authorities_verify_a_database() -> None:
    url = Settings(database_url="postgresql://u:p@db/x").database_url

    assert query(url)["sslmode"] == ["verify-full"]
    assert query(url)["sslrootcert"][0]


def test_a_url_without_a_host_is_verified_since_the_environment_may_name_one() -> None:
    assert query(Settings(database_url="postgresql:///x").database_url)["sslmode"] == [
        "verify-full"
    ]


def test_the_tls_files_are_parameters_of_the_urls_that_use_tls(tmp_path: Path) -> None:
    ca, cert, key = (tmp_path / name for name in ("ca.pem", "cert.pem", "key.pem"))
    for file in (ca, cert, key):
        file.touch()

    settings = Settings(
        tls_ca_file=ca,
        tls_cert_file=cert,
        tls_key_file=key,
        broker_url="amqps://u:p@broker/v",
        broker_admin_url="https://u:p@broker:15671",
        database_url="postgresql://u:p@db/x?sslcert=/its/own.pem&sslkey=/its/own.key",
    )

    rabbitmq = {"cacertfile": [str(ca)], "certfile": [str(cert)], "keyfile": [str(key)]}
    assert query(settings.broker_url) == query(settings.broker_admin_url) == rabbitmq
    assert query(settings.database_url) == {
        "sslmode": ["verify-full"],
        "sslrootcert": [str(ca)],
        "sslcert": ["/its/own.pem"],
        "sslkey": ["/its/own.key"],
    }


def test_a_plain_url_of_this_machine_gets_no_tls_files(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").touch()

    settings = Settings(tls_ca_file=tmp_path / "ca.pem", broker_url="amqp://u:p@localhost/v")

    assert settings.broker_url == "amqp://u:p@localhost/v"


@pytest.mark.parametrize("name", ["tls_ca_file", "tls_cert_file", "tls_key_file"])
def test_a_tls_file_that_is_missing_is_named_by_its_setting(name: str, tmp_path: Path) -> None:
    with (
        settings_override(**{name: tmp_path / "none", "broker_url": "amqps://broker"}),
        pytest.raises(InvalidInput, match=f"SHOP_{name.upper()}: "),
    ):
        settings_for("orders")


@pytest.mark.parametrize(
    "url",
    ["amqps://[::1", "amqp://", "http://", "postgresql://u:p@db:port/x", "postgresql://", "://"],
)
def test_a_url_that_is_none_breaks_nothing_here(url: str) -> None:
    with settings_override(broker_url=url, broker_admin_url=url, database_url=url):
        try:
            settings_for("orders")
        except InvalidInput as error:
            assert re.search(r"needs TLS|\{service\}", str(error))  # noqa: PT017 - either is right


def test_each_service_can_have_a_certificate_of_its_own(tmp_path: Path) -> None:
    for owner in ("orders", "email"):
        (tmp_path / owner).mkdir()
        (tmp_path / f"{owner}.pem").touch()
        (tmp_path / owner / "shop_tls_cert_file").write_text(f"{tmp_path / owner}.pem\n")

    with settings_override(keys=tmp_path, broker_url="amqps://{service}:p@broker/"):
        url = settings_for("email").broker_url_of("email")

    assert query(url) == {"certfile": [str(tmp_path / "email.pem")]}
