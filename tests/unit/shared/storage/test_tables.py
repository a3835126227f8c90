from sqlalchemy import select, update

from shared.storage.tables import DatabaseClock, outbox


def test_statements_with_the_databases_clock_can_be_cached() -> None:
    for statement in (select(DatabaseClock()), update(outbox).values(sent_at=DatabaseClock())):
        assert statement._generate_cache_key() is not None
