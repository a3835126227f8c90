"""Loyalty on PostgreSQL: two concurrent processes with the same orders."""

from services.loyalty.service import loyalty
from shared.messaging.ports.consumer import Outcome
from shared.storage.database import Database
from shared.storage.migrating import migrate
from tests.support.order_events import CUSTOMER, cancelled, placed
from tests.support.racing import race


def test_points_are_taken_back_when_award_and_takeback_are_concurrent(
    postgres_url: str,
) -> None:
    database = Database(postgres_url)
    migrate(database, loyalty.migrations)
    orders = [f"ORD-{number}" for number in range(40)]

    reacted = race(
        loyalty,
        database,
        [[placed("ORD-kept")], *([placed(order_id)] for order_id in orders)],
        [[cancelled("ORD-elsewhere")], *([cancelled(order_id)] for order_id in orders)],
    )

    with database.read() as connection:
        store = loyalty.store(connection, database)
        balance, entries = store.balance(CUSTOMER), store.ledger(CUSTOMER)
    database.close()
    assert {each.outcome for each in reacted} == {Outcome.DONE}
    assert balance == 99
    assert len(entries) == 1 + 2 * 40
