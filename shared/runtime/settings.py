"""Settings: the only place that reads the environment.

With none set, everything is embedded under `./var`. A secret may stand in a file instead:
`$SHOP_KEYS/NAME/shop_broker_url` for the service NAME, so that nothing secret need be in the
environment, where `docker inspect` shows it.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import quote

from pydantic import Field, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict
from typing_extensions import TypeVar

from shared.errors import InvalidInput, OperationFailed
from shared.events.fields import first_error
from shared.messaging.topology import History

B = TypeVar("B", bound=BaseSettings)

Seconds = Annotated[float, Field(gt=0, le=86_400)]
Days = Annotated[int, Field(ge=1, le=36_500)]
Port = Annotated[int, Field(ge=1, le=65_535)]


class Settings(BaseSettings):
    """All settings, each `SHOP_` and its name in capitals.

    Attributes:
        home: folder of the embedded broker, databases and mails.
        broker_url: `amqp://user:password@host/vhost`; empty for the embedded broker.
        broker_admin_url: the management API, `http://user:password@host:15672`, for `shop setup`.
        database_url: `postgresql://…/{service}`; empty for SQLite files. `{service}` stands for
            the service's name.
        database_admin_url: a role that may make roles and databases, for `shop setup`.
        smtp_url: `smtp://host:port`, also `smtps://user:password@host`; empty for a Maildir.
        mail_from: the sender of mails.
        http_port: of /healthz, /readyz and /metrics; none by default.
        http_host: the address they listen on.
        keys: folder of secrets, one folder in it for each service; see above.
        log_format: `console` or `json`; by default what fits standard output.
        grace: seconds to finish what was begun when a process is asked to stop.
        inbox_keep: days that what was handled is remembered; forever by default.
        outbox_keep: days that sent events stay in the outbox.
        failures_keep: days that records of failed attempts stay.
        history_days: how long the record of all events is kept.
        history_max_bytes: the size past which its oldest part is dropped.
        history_segment_bytes: it is dropped a segment at a time.
    """

    model_config = SettingsConfigDict(
        env_prefix="SHOP_", hide_input_in_errors=True, frozen=True, extra="ignore"
    )

    home: Path = Path("var")
    broker_url: str = ""
    broker_admin_url: str = ""
    database_url: str = ""
    database_admin_url: str = ""
    smtp_url: str = ""
    mail_from: str = "Past Tense <orders@shop.example>"
    http_port: Port | None = None
    http_host: str = "127.0.0.1"
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

    @field_validator("inbox_keep")
    @classmethod
    def _covers_history(cls, value: int | None, info: ValidationInfo) -> int | None:
        if value is not None and value < info.data.get("history_days", 0):
            raise ValueError("must not be below the history's retention, SHOP_HISTORY_DAYS")
        return value

    @property
    def is_embedded(self) -> bool:
        """Whether the broker is the embedded one."""
        return not self.broker_url or self.broker_url.startswith("embedded:")

    @property
    def has_files(self) -> bool:
        """Whether the broker or the databases are files, made by whoever runs first."""
        kind = (self.database_url or "sqlite:").partition(":")[0]
        return self.is_embedded or kind == "sqlite"

    def broker_url_of(self, service: str) -> str:
        """Where that service finds the broker."""
        url = self.broker_url or f"embedded:{self.home / 'broker.db'}"
        return url.replace("{service}", service)

    def broker_file_of(self, service: str) -> Path | None:
        """Where the embedded broker is kept; None where there is none."""
        kind, _, path = self.broker_url_of(service).partition(":")
        return Path(path) if kind == "embedded" else None

    def database_url_of(self, service: str) -> str:
        """Where that service finds its database."""
        # In a URL, a folder's name may not hold ? or % as they are.
        url = self.database_url or f"sqlite:///{quote(str(self.home / f'{service}.db'))}"
        return url.replace("{service}", service)

    @property
    def history(self) -> History:
        """How long the record of all events is kept."""
        return History(
            days=self.history_days,
            max_bytes=self.history_max_bytes,
            segment_bytes=self.history_segment_bytes,
        )

    def inbox_horizon(self) -> timedelta | None:
        """How far back the inbox remembers; None for as far as there is."""
        return None if self.inbox_keep is None else timedelta(days=self.inbox_keep)


def settings_for(*owners: str) -> Settings:
    """The settings of this process, with those owners' secrets where `SHOP_KEYS` has them.

    Args:
        owners: folders of `SHOP_KEYS`, a service's name as a rule.

    Raises:
        InvalidInput: a variable has a wrong value; the sentence names it.
        OperationFailed: this process may not read one of those secrets.
    """
    settings = validated(Settings, "SHOP_")
    if settings.keys is None:
        return settings
    secrets: dict[str, str] = {}
    for owner in owners:
        secrets |= _secrets(settings.keys / owner, owner)
    return validated(Settings, "SHOP_", **secrets)


@contextmanager
def only(**values: object) -> Iterator[None]:
    """An environment in which these settings are made and no others, for demo and tests."""
    before = {name: value for name, value in os.environ.items() if name.startswith("SHOP_")}
    try:
        for name in before:
            del os.environ[name]
        os.environ.update({f"SHOP_{name.upper()}": str(value) for name, value in values.items()})
        yield
    finally:
        for name in [name for name in os.environ if name.startswith("SHOP_")]:
            del os.environ[name]
        os.environ.update(before)


def _secrets(folder: Path, service: str) -> dict[str, str]:
    try:
        return {
            path.name.removeprefix("shop_"): path.read_text().strip()
            for path in folder.iterdir()
            if path.name.startswith("shop_")
        }
    except UnicodeDecodeError:
        raise OperationFailed(f"a secret of {service} is no text: make it anew") from None
    except OSError as error:
        raise OperationFailed(
            f"the secrets of {service} cannot be read here ({os.strerror(error.errno or 0)}): "
            "this container may see its own service only; the operator's may see all"
        ) from error


def validated(kind: type[B], prefix: str, **values: object) -> B:
    """Settings of a kind from the environment and these values, which go first.

    Raises:
        InvalidInput: a variable has a wrong value; the sentence names it.
    """
    try:
        return kind(**values)  # type: ignore[arg-type]  # checked by the model itself
    except ValidationError as error:
        name = str(error.errors()[0]["loc"][0])
        sentence = first_error(error, kind).partition(": ")[2]
        raise InvalidInput(f"{prefix}{name.upper()}: {sentence}") from None
