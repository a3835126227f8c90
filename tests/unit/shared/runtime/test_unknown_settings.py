"""Variables that begin like a setting and are none."""

import pytest

from shared.errors import InvalidInput
from shared.runtime.settings import PREFIX, Settings
from shared.runtime.unknown_settings import check_names

SERVICES = ("orders", "email")


@pytest.mark.parametrize(
    ("variable", "similar"),
    [
        ("SHOP_BROKER_ULR", "SHOP_BROKER_URL"),
        ("SHOP_HOEM", "SHOP_HOME"),
        ("shop_hom", "SHOP_HOME"),
        ("SHOP_LOGLEVEL", "SHOP_LOG_LEVEL"),
        ("SHOP_HTP_PORT", "SHOP_HTTP_PORT"),
        ("SHOP_EMAIL_RETRYDELAY", "SHOP_EMAIL_RETRY_DELAY"),
        ("SHOP_ORDERS_CONCURENCY", "SHOP_ORDERS_CONCURRENCY"),
        ("SHOP_RETRY_DELAY", "SHOP_EMAIL_RETRY_DELAY"),
    ],
)
def test_a_misspelt_setting_is_refused_with_the_one_that_it_resembles(
    variable: str, similar: str
) -> None:
    with pytest.raises(InvalidInput, match=f"no such setting; did you mean {similar}?"):
        check_names([variable], SERVICES)


def test_every_setting_is_known() -> None:
    of_email = [f"SHOP_EMAIL_{name}" for name in ("RETRY_DELAY", "FROM_HISTORY", "DEADLINE")]

    found = check_names(
        [*(f"{PREFIX}{name.upper()}" for name in Settings.model_fields), *of_email, "SHOP_IMAGE"],
        SERVICES,
    )

    assert found.misspelt == found.others == []


def test_a_setting_of_a_service_that_is_added_later_has_no_remark() -> None:
    found = check_names(["SHOP_GIFTS_RETRY_DELAY", "SHOP_MORE_GIFTS_FROM_HISTORY"], SERVICES)

    assert found.misspelt == found.others == []


def test_a_misspelt_service_is_named_and_not_refused() -> None:
    found = check_names(["SHOP_EMIAL_RETRY_DELAY"], SERVICES)

    assert found.misspelt == [
        "SHOP_EMIAL_RETRY_DELAY: no such setting; did you mean SHOP_EMAIL_RETRY_DELAY?"
    ]


def test_what_another_program_or_kubernetes_sets_is_not_refused() -> None:
    kubernetes = ["SHOP_SERVICE_HOST", "SHOP_SERVICE_PORT_HTTP", "SHOP_PORT", "SHOP_BROKER_PORT"]
    kubernetes += ["SHOP_PORT_80_TCP_ADDR", "SHOP_EMAIL_SERVICE_HOST", "SHOP_EMAIL_PORT"]

    found = check_names([*kubernetes, "SHOP_THEME", "SHOPPING_LIST", "PATH"], SERVICES)

    assert found.misspelt == []
    assert found.others == ["SHOP_THEME: no such setting; it has no effect"]
