from shared.errors import EventTooLarge, Impossible, error_named


def test_an_error_is_found_by_the_name_of_its_class() -> None:
    assert error_named("EventTooLarge") is EventTooLarge
    assert error_named("ValueError") is None


def test_only_an_event_that_cannot_be_read_fails_whenever_it_is_redriven() -> None:
    assert Impossible.may_succeed_on_redrive
    assert not EventTooLarge.may_succeed_on_redrive
