from services.shipping.carrier import hand_over
from shared.events import OrderShipped


def test_asking_twice_gives_the_same_parcel() -> None:
    assert hand_over("ORD-123") == hand_over("ORD-123")


def test_each_order_has_a_parcel_of_its_own() -> None:
    numbers = {hand_over(f"ORD-{number}").tracking_number for number in range(1000)}

    assert len(numbers) == 1000


def test_a_tracking_number_is_what_it_was_yesterday() -> None:
    assert hand_over("ORD-123").tracking_number == "PP-A2B86985F510540C"


def test_a_parcel_fits_the_contract() -> None:
    carrier, tracking_number = hand_over("A" * 64)

    event = OrderShipped(order_id="A" * 64, carrier=carrier, tracking_number=tracking_number)

    assert event.tracking_number == tracking_number
