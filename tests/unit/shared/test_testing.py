import pytest

from shared.events import DomainEvent, OrderPlaced
from shared.testing import example


def test_an_example_is_a_new_event_like_the_one_that_is_kept() -> None:
    one, another = example(OrderPlaced), example(OrderPlaced)

    assert (one.order_id, one.items) == ("ORD-123", {"product-1": 2, "product-2": 1})
    assert one.event_id != another.event_id


def test_an_examples_fields_can_be_changed_within_the_contract() -> None:
    assert example(OrderPlaced, order_id="ORD-7").order_id == "ORD-7"
    with pytest.raises(ValueError, match="order_id"):
        example(OrderPlaced, order_id="ORD 7")


def test_there_is_no_example_of_what_is_no_contract() -> None:
    with pytest.raises(IndexError):
        example(DomainEvent)
