"""Whom `shop setup` lets read the history on RabbitMQ."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, closing
from pathlib import Path

import pytest

from services.loyalty.service import loyalty
from shared.errors import HistoryNotGranted
from shared.messaging.connect import broker_at
from shared.messaging.rabbitmq.management import Management
from shared.runtime.settings import OPERATOR, settings_for, settings_override
from shared.runtime.setup import set_up
from shared.storage import checkpoints
from shared.storage.database import Database
from tests.containers import ALLOW_PLAINTEXT, Vhost

GRANTED = "loyalty may read the history: run this again when it has caught up, to end that"


@pytest.fixture
def keys(tmp_path: Path, rabbitmq_vhost: Vhost) -> Iterator[Path]:
    """The secrets of loyalty, of the operator and of the administrators."""
    secrets = {
        "rabbitmq/shop_broker_url": rabbitmq_vhost.amqp_url,
        "rabbitmq/shop_broker_admin_url": rabbitmq_vhost.admin_url,
        "postgres/none": "",
        "loyalty/shop_broker_url": rabbitmq_vhost.as_user("loyalty", "hush/@"),
        f"{OPERATOR}/shop_broker_url": rabbitmq_vhost.as_user(OPERATOR, "hush%"),
    }
    for name, secret in secrets.items():
        path = tmp_path / "keys" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(secret)
    yield tmp_path / "keys"
    for user in ("loyalty", OPERATOR):
        Management(rabbitmq_vhost.admin_url).delete("users", user)


def settings(keys: Path, **more: str) -> AbstractContextManager[None]:
    return settings_override(home=keys.parent, keys=keys, allow_plaintext=ALLOW_PLAINTEXT, **more)


def test_a_service_may_read_the_history_from_its_setting_on_until_it_has_caught_up(
    keys: Path,
) -> None:
    with settings(keys):
        assert GRANTED not in set_up([loyalty])
        assert not _reads_history()

    with settings(keys, loyalty_from_history="true"):
        assert GRANTED in set_up([loyalty])
        assert _reads_history()
        with closing(Database(settings_for("loyalty").database_url_of("loyalty"))) as database:
            with database.begin() as connection:
                checkpoints.begin(connection, database, until=10)
            assert GRANTED in set_up([loyalty])
            assert _reads_history(), "it was interrupted"
            with database.begin() as connection:
                checkpoints.complete(connection)
        assert GRANTED not in set_up([loyalty])
        assert not _reads_history()


def test_an_interrupted_catch_up_reads_nothing_when_its_setting_is_off(
    keys: Path,
) -> None:
    """A service could write such a checkpoint itself."""
    with settings(keys):
        list(set_up([loyalty]))
        with (
            closing(Database(settings_for("loyalty").database_url_of("loyalty"))) as database,
            database.begin() as connection,
        ):
            checkpoints.begin(connection, database, until=10)

        assert GRANTED not in set_up([loyalty])

        assert not _reads_history()


def _reads_history() -> bool:
    with closing(broker_at(settings_for("loyalty").broker_url_of("loyalty"))) as broker:
        try:
            broker.history().end()
        except HistoryNotGranted:
            return False
    return True
