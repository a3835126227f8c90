"""Leaves in the service's database what `shop doctor` cannot see: its gateway, and why it waits."""

from collections.abc import Callable

from shared.errors import ShopError
from shared.runtime.logs import Log
from shared.storage import failures, service_state
from shared.storage.database import DATABASE_ERRORS, Database


class PauseRecord:
    """The record of one process; nothing depends on it, so a failure to write it is only logged."""

    def __init__(self, database: Database, log: Log) -> None:
        self._database = database
        self._log = log
        self._is_open = False

    def begin(self, gateway: str | None) -> bool:
        """Record what the gateway uses; returns whether an earlier process has left a pause."""
        try:
            with self._database.begin() as connection:
                service_state.note_gateway(connection, self._database, gateway)
                self._is_open = service_state.find(connection).pause is not None
        except DATABASE_ERRORS as error:
            self._log_failure(error)
        return self._is_open

    def note(self, error: ShopError) -> None:
        """Record for what the process waits, unless it is the database itself."""
        if isinstance(error.__cause__, DATABASE_ERRORS):
            return
        self._is_open = True
        try:
            with self._database.begin() as connection:
                service_state.note_pause(connection, self._database, str(error))
        except DATABASE_ERRORS as failure:
            self._log_failure(failure)

    def noting(self, check: Callable[[], object]) -> Callable[[], object]:
        """A check that also notes the error that it raises."""

        def check_and_note() -> None:
            try:
                check()
            except ShopError as error:
                self.note(error)
                raise

        return check_and_note

    def end(self) -> None:
        """Record that the process handles deliveries again."""
        if not self._is_open:
            return
        try:
            with self._database.begin() as connection:
                service_state.end_pause(connection)
        except DATABASE_ERRORS as error:
            self._log_failure(error)
        else:
            self._is_open = False

    def _log_failure(self, error: BaseException) -> None:
        name, reason, _ = failures.describe(error)
        self._log.warning("state not recorded", error=name, reason=reason)
