import pytest

from shared.events import DomainEvent, OrderPlaced
from shared.testing import example


def test_an_example_is_a_new_event_with_the_fields_of_the_published_one() -> None:
    first, second = example(OrderPlaced), example(OrderPlaced)

    assert (first.order_id, first.items) == ("ORD-123", {"product-1": 2, "product-2": 1})
    assert first.event_id != second.event_id


def test_the_changed_fields_of_an_example_are_validated() -> None:
    assert example(OrderPlaced, order_id="ORD-7").order_id == "ORD-7"
    with pytest.raises(ValueError, match="order_id"):
        example(OrderPlaced, order_id="ORD 7")


def test_a_class_that_is_no_contract_has_no_example() -> None:
    with pytest.raises(IndexError):
        example(DomainEvent)
