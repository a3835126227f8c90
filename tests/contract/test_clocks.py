"""How far the broker's clock is ahead of this machine's."""

from shared.messaging.ports.broker import Broker


def test_the_clock_of_a_broker_on_this_machine_does_not_differ(broker: Broker) -> None:
    difference = broker.clock_difference()

    assert difference is None or abs(difference) < 5
