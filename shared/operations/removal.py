"""Removes a consumer from the broker and, if wanted, its database: `shop remove`.

Guarantee: nothing is removed while the service runs, and no message that waits is lost unless that
was asked for. The history keeps every event.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from shared.errors import InvalidInput, OperationFailed
from shared.messaging.connect import broker_at
from shared.messaging.ports.broker import Broker
from shared.messaging.topology import dead_queue
from shared.operations.console import counted
from shared.runtime.settings import Settings, settings_for
from shared.runtime.setup import ADMIN_SECRETS
from shared.storage import roles
from shared.storage.database import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class Removal:
    """What is to be removed.

    Attributes:
        drop_data: whether its database is dropped too.
        discard_messages: whether messages that wait for it, and its dead letters, are lost.
    """

    name: str
    drop_data: bool = False
    discard_messages: bool = False

    def run(self) -> Iterator[str]:
        """Remove it; repeating it is safe.

        Yields:
            A sentence for each thing that was removed or left.

        Raises:
            InvalidInput: no service can have that name.
            OperationFailed: it runs, or messages wait for it; nothing was removed.
        """
        if not re.fullmatch(r"[a-z][a-z0-9_]*", self.name):
            raise InvalidInput(f"{self.name!r} cannot be the name of a service")
        admin = settings_for(*ADMIN_SECRETS)
        broker = broker_at(
            admin.broker_url_of("setup"),
            admin_url=admin.broker_admin_url or None,
            app="shop remove",
        )
        try:
            self._require_idle(broker)
            broker.remove(self.name, has_user=admin.keys is not None)
        finally:
            broker.close()
        yield f"broker: removed the queue {self.name}, its dead queue, bindings and rights"
        yield self._database(admin)

    def _require_idle(self, broker: Broker) -> None:
        sizes = {queue: broker.size(queue) for queue in (self.name, dead_queue(self.name))}
        if broker.consumers(self.name):
            raise OperationFailed(f"{self.name} is running: stop it first; nothing was removed")
        waiting = ", ".join(
            f"{counted(size, 'message')} in {queue}" for queue, size in sizes.items() if size
        )
        if waiting and not self.discard_messages:
            raise OperationFailed(
                f"{waiting}: nothing was removed; --discard-messages removes them too"
            )

    def _database(self, admin: Settings) -> str:
        settings = settings_for(self.name)
        url = settings.database_url_of(self.name)
        database = Database(url)
        try:
            if database.is_sqlite:
                return self._file(database.path)
        finally:
            database.close()
        if not admin.database_admin_url:
            return f"database {database.place}: left, as SHOP_DATABASE_ADMIN_URL is not set"
        roles.remove(admin.database_admin_url_of(self.name), url, drop_data=self.drop_data)
        if self.drop_data:
            return f"database {database.place}: dropped, with its role"
        return f"database {database.place}: left, and its role cannot log in any more"

    def _file(self, path: Path) -> str:
        if not self.drop_data:
            return f"database {path}: left; --drop-data removes it"
        for suffix in ("", "-wal", "-shm", ".setup.lock"):
            path.with_name(f"{path.name}{suffix}").unlink(missing_ok=True)
        return f"database {path}: removed"
