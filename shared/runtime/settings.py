"""Settings: the only module that reads environment variables.

With none set, everything is embedded under `./var`. A secret can be a file instead of a variable:
`$SHOP_KEYS/NAME/shop_broker_url` for the service NAME. So no secret has to be in the environment,
where `docker inspect` shows it.
"""

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import quote

from pydantic import Field, FilePath, ValidationError, ValidationInfo, field_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from shared.errors import InvalidInput, OperationFailed
from shared.events.fields import first_error
from shared.messaging.topology import History
from shared.server_urls import TlsFiles, secured

PREFIX = "SHOP_"

OPERATOR = "operator"
"""The folder of `SHOP_KEYS`, and the broker user, for commands across services."""

Seconds = Annotated[float, Field(gt=0, le=86_400)]
Days = Annotated[int, Field(ge=1, le=36_500)]
Port = Annotated[int, Field(ge=1, le=65_535)]


class EnvironmentSettings(BaseSettings):
    """Settings from files, variables and arguments; the first of these that has a value decides."""

    model_config = SettingsConfigDict(hide_input_in_errors=True, frozen=True, extra="ignore")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Set the order of the sources."""
        del settings_cls, dotenv_settings
        return file_secret_settings, env_settings, init_settings

    @classmethod
    def read(cls, prefix: str, **arguments: object) -> Self:
        """Read the files, and the variables with this prefix.

        Args:
            arguments: values of settings, and pydantic-settings' own arguments.

        Raises:
            InvalidInput: a variable has a wrong value; the sentence names it, not the value.
        """
        try:
            return cls(_env_prefix=prefix, **arguments)  # type: ignore[arg-type]  # validated
        except ValidationError as error:
            name = str(error.errors()[0]["loc"][0])
            sentence = first_error(error, cls).partition(": ")[2]
            raise InvalidInput(f"{prefix}{name.upper()}: {sentence}") from None


class Settings(EnvironmentSettings):
    """The settings of a process; each is the variable `SHOP_` and its name in capitals.

    Attributes:
        home: folder of the embedded broker, the SQLite databases and the Maildir.
        allow_plaintext: whether servers on other machines may be used without TLS.
        tls_ca_file: certificates of the authorities that servers' certificates must come from;
            None for those that the operating system trusts.
        tls_cert_file: the certificate of this client, for servers that ask for one.
        tls_key_file: its key; None if `tls_cert_file` contains it.
        broker_url: `amqps://user:password@host/vhost`; empty for the embedded broker. `{service}`
            is replaced with the service's name.
        broker_admin_url: the management API, `https://user:password@host:15671`, for `shop
            setup`.
        require_broker_user: whether a message that names no broker user is forged, where each
            service has a user of its own; False while publishers of an older version run.
        database_url: `postgresql://…/{service}`; empty for SQLite files. `{service}` is replaced
            with the service's name.
        database_admin_url: a superuser of the database server, for `shop setup`. `{service}` is
            replaced with the service's name, for a server of its own.
        database_connections: how many each service's role may have, which `shop setup` sets.
        smtp_url: `smtp://host:port` or `smtps://user:password@host`; empty for a Maildir.
        mail_from: the sender of mails.
        http_port: port of /healthz, /readyz and /metrics; None to serve none of them.
        http_host: the address that they listen on.
        composed: whether this is a container of docker-compose.yml, so that messages name commands
            for Docker Compose.
        keys: folder of secrets, with one folder for each service; None for no files.
        log_level: the least severe level that is logged.
        log_format: `console` or `json`; empty for `console` on a terminal and `json` elsewhere.
        grace: seconds that a process has to finish its work when it is asked to stop.
        outbox_keep: days that sent events stay in the outbox.
        failures_keep: days that records of failed attempts stay.
        history_days: days that the history of all events is kept.
        inbox_keep: days that the inbox remembers handled events; None for all of them.
        history_max_bytes: size above which the oldest segments of the history are deleted.
        history_segment_bytes: size of one segment of the history.
    """

    model_config = SettingsConfigDict(env_prefix=PREFIX)

    home: Path = Path("var")
    # Before the URLs, which are validated by them.
    allow_plaintext: bool = False
    tls_ca_file: FilePath | None = None
    tls_cert_file: FilePath | None = None
    tls_key_file: FilePath | None = None
    broker_url: str = ""
    broker_admin_url: str = ""
    require_broker_user: bool = True
    database_url: str = ""
    database_admin_url: str = ""
    database_connections: Annotated[int, Field(ge=5, le=10_000)] = 20
    smtp_url: str = ""
    mail_from: str = "Past Tense <orders@shop.example>"
    http_port: Port | None = None
    http_host: str = "127.0.0.1"
    composed: bool = False
    keys: Path | None = None
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["console", "json", ""] = ""
    grace: Seconds = 20.0
    outbox_keep: Days = 7
    failures_keep: Days = 30
    history_days: Days = 30
    inbox_keep: Days | None = None
    history_max_bytes: Annotated[int, Field(ge=1_000_000)] = 5_000_000_000
    history_segment_bytes: Annotated[int, Field(ge=100_000)] = 50_000_000

    @field_validator("broker_url", "broker_admin_url", "database_url", "database_admin_url")
    @classmethod
    def _require_tls(cls, url: str, info: ValidationInfo) -> str:
        """Refuse a server that would be used without TLS, and add the TLS files to the URL."""
        files = TlsFiles(*(info.data.get(f"tls_{name}_file") for name in TlsFiles._fields))
        allow_plaintext = info.data.get("allow_plaintext", False)
        if url.startswith("postgresql"):
            # Imported here: SQLAlchemy takes a fifth of a command's start.
            from shared.storage import postgresql_tls  # noqa: PLC0415 - see above

            return postgresql_tls.secured(url, files, allow_plaintext=allow_plaintext)
        return secured(url, files, allow_plaintext=allow_plaintext)

    @field_validator("inbox_keep")
    @classmethod
    def _not_below_history_days(cls, value: int | None, info: ValidationInfo) -> int | None:
        if value is not None and value < info.data.get("history_days", 0):
            raise ValueError("must not be below the history's retention, SHOP_HISTORY_DAYS")
        return value

    @property
    def is_embedded(self) -> bool:
        """Whether the broker is the embedded one."""
        return not self.broker_url or self.broker_url.startswith("embedded:")

    @property
    def has_files(self) -> bool:
        """Whether the broker or the databases are files, which the first process creates."""
        kind = (self.database_url or "sqlite:").partition(":")[0]
        return self.is_embedded or kind == "sqlite"

    @property
    def home_is_empty(self) -> bool:
        """Whether the folder of the embedded shop holds no database and no broker."""
        return not any(self.home.glob("*.db"))

    def broker_url_of(self, service: str) -> str:
        """The URL by which that service reaches the broker."""
        url = self.broker_url or f"embedded:{self.home / 'broker.db'}"
        return url.replace("{service}", service)

    def broker_file_of(self, service: str) -> Path | None:
        """The file of the embedded broker; None if the broker is a server."""
        kind, _, path = self.broker_url_of(service).partition(":")
        return Path(path) if kind == "embedded" else None

    def database_url_of(self, service: str) -> str:
        """The URL of that service's database."""
        # A folder's name may contain ? or %, which a URL must quote.
        url = self.database_url or f"sqlite:///{quote(str(self.home / f'{service}.db'))}"
        return url.replace("{service}", service)

    def database_admin_url_of(self, service: str) -> str:
        """The administrator's URL of the server that has that service's database."""
        return self.database_admin_url.replace("{service}", service)

    @property
    def history(self) -> History:
        """The retention of the history of all events."""
        return History(
            days=self.history_days,
            max_bytes=self.history_max_bytes,
            segment_bytes=self.history_segment_bytes,
        )

    def inbox_horizon(self) -> timedelta | None:
        """How far back the inbox remembers events; None if it remembers all."""
        return None if self.inbox_keep is None else timedelta(days=self.inbox_keep)


def settings_for(*owners: str) -> Settings:
    """Read the settings of this process, with the secrets of these owners if `SHOP_KEYS` is set.

    Args:
        owners: folders of `SHOP_KEYS`, usually one service's name; the last takes precedence.

    Raises:
        InvalidInput: a variable or a file has a wrong value; the sentence names it.
        OperationFailed: the secrets of an owner cannot be read by this process.
    """
    settings = Settings.read(PREFIX)
    _require_own_databases(settings.database_url)
    if settings.keys is None or not owners:
        return settings
    folders = tuple(settings.keys / owner for owner in owners)
    try:
        with warnings.catch_warnings():
            # pydantic-settings ignores a file that it cannot read, with a warning.
            warnings.simplefilter("error", UserWarning)
            return Settings.read(PREFIX, _secrets_dir=folders)
    except (OSError, SettingsError, UserWarning) as error:
        raise OperationFailed(
            f"the secrets of {' and '.join(owners)} cannot be read here "
            f"({_reason(error.__cause__ or error)}): a service's container can read its own "
            "secrets only; the operator's can read all"
        ) from error


def _require_own_databases(url: str) -> None:
    """Raise InvalidInput if all services would use one database.

    Their tables have one version table, so the migrations of one would hide those of the others.
    """
    if url and "{service}" not in url:
        raise InvalidInput(
            "SHOP_DATABASE_URL should contain {service}, which stands for the service's name: each "
            "service has a database of its own, such as postgresql://user:password@host/{service}"
        )


def _reason(error: BaseException) -> str:
    if isinstance(error, OSError):
        return os.strerror(error.errno) if error.errno else type(error).__name__
    if isinstance(error, UnicodeDecodeError):
        return "a file is not UTF-8 text"  # its message repeats bytes of the secret
    return str(error)


def variable_names() -> list[str]:
    """The names of all environment variables."""
    return list(os.environ)


@contextmanager
def settings_override(**values: object) -> Iterator[None]:
    """Within the block, set these `SHOP_` variables and unset all others; for demo and tests.

    Args:
        values: by the name of the setting, such as `home` or `email_retry_delay`.
    """
    before = _unset_all()
    os.environ.update({PREFIX + name.upper(): str(value) for name, value in values.items()})
    try:
        yield
    finally:
        _unset_all()
        os.environ.update(before)


def _unset_all() -> dict[str, str]:
    names = [name for name in os.environ if name.startswith(PREFIX)]
    return {name: os.environ.pop(name) for name in names}
