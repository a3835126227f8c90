from services.shipping.carrier import hand_over
from shared.events import OrderShipped


def test_handing_over_an_order_twice_returns_the_same_parcel() -> None:
    assert hand_over("ORD-123") == hand_over("ORD-123")


def test_each_order_has_its_own_tracking_number() -> None:
    numbers = {hand_over(f"ORD-{number}").tracking_number for number in range(1000)}

    assert len(numbers) == 1000


def test_tracking_numbers_do_not_change_between_releases() -> None:
    assert hand_over("ORD-123").tracking_number == "PP-A2B86985F510540C"


def test_a_parcel_satisfies_the_contract() -> None:
    carrier, tracking_number = hand_over("A" * 64)

    event = OrderShipped(order_id="A" * 64, carrier=carrier, tracking_number=tracking_number)

    assert event.tracking_number == tracking_number
