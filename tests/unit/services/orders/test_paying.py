from decimal import Decimal

import pytest
from pydantic import ValidationError

from services.orders.order import OrderConflict
from services.orders.paying import Payment
from shared.errors import InvalidInput
from shared.events import PaymentReceived
from shared.storage.database import Database
from shared.testing import recording
from tests.unit.services.orders.samples import cancel, find_order, pay, place


def test_a_payment_of_the_total_is_stored_and_published(database: Database) -> None:
    placed = place(database)

    with recording() as published:
        paid = pay(database)

    (event,) = published
    assert isinstance(event, PaymentReceived)
    assert (event.order_id, event.amount) == ("ORD-123", Decimal("99.99"))
    assert event.payment_method == paid.payment_method == "card"
    assert event.correlation_id == placed.correlation_id
    assert find_order(database) == paid
    assert (paid.status, paid.paid_at) == ("paid", event.occurred_at)


@pytest.mark.parametrize("amount", ["99.98", "100.00", "0.00"])
def test_only_the_total_can_be_paid(database: Database, amount: str) -> None:
    place(database)

    with recording() as published, pytest.raises(InvalidInput, match=r"costs 99\.99 EUR"):
        pay(database, amount=amount)

    assert published == []
    assert find_order(database).status == "placed"


def test_paying_twice_is_refused(database: Database) -> None:
    place(database)
    paid = pay(database)

    with recording() as published, pytest.raises(OrderConflict, match="already paid"):
        pay(database)

    assert published == []
    assert find_order(database) == paid


def test_a_cancelled_order_cannot_be_paid(database: Database) -> None:
    place(database)
    cancel(database)

    with recording() as published, pytest.raises(OrderConflict, match="is cancelled"):
        pay(database)

    assert published == []
    assert find_order(database).paid_at is None


def test_an_unknown_order_cannot_be_paid(database: Database) -> None:
    with pytest.raises(InvalidInput, match="no order ORD-9"):
        pay(database, "ORD-9")


@pytest.mark.parametrize(
    "amount", ["1.001", "-1", "1e15", "1E+99999", "NaN", "Infinity", "", "x", 1.5]
)
def test_an_invalid_amount_is_refused(amount: object) -> None:
    with pytest.raises(ValidationError):
        Payment.model_validate({"order_id": "ORD-123", "amount": amount})
