import pytest

from shared.errors import InvalidInput, OperationFailed
from shared.storage.roles import grant

ADMIN = "postgresql://postgres:hunter2@127.0.0.1:1/postgres"
SERVICE = "postgresql://orders:hunter3@127.0.0.1:1/orders"


@pytest.mark.parametrize(
    ("admin", "service", "wrong"),
    [
        pytest.param("hunter2", SERVICE, "SHOP_DATABASE_ADMIN_URL", id="admin: no url"),
        pytest.param(
            "postgresql://a:hunter2@h:x/y", SERVICE, "SHOP_DATABASE_ADMIN_URL", id="admin: port"
        ),
        pytest.param("sqlite:///x.db", SERVICE, "SHOP_DATABASE_ADMIN_URL", id="admin: a file"),
        pytest.param(ADMIN, "hunter3", "SHOP_DATABASE_URL", id="service: no url"),
        pytest.param(ADMIN, "sqlite:///x.db", "SHOP_DATABASE_URL", id="service: a file"),
        pytest.param(ADMIN, "postgresql://h/orders", "SHOP_DATABASE_URL", id="service: no role"),
        pytest.param(
            ADMIN, "postgresql://orders@h/orders", "SHOP_DATABASE_URL", id="service: no password"
        ),
        pytest.param(
            ADMIN, "postgresql://orders:hunter3@h", "SHOP_DATABASE_URL", id="service: no database"
        ),
    ],
)
def test_a_wrong_url_is_rejected_by_its_variable(admin: str, service: str, wrong: str) -> None:
    with pytest.raises(InvalidInput) as failed:
        grant(admin, service)

    assert str(failed.value).startswith(f"{wrong} ")
    assert "hunter" not in str(failed.value)


def test_a_server_that_is_away_is_reported_without_a_password() -> None:
    with pytest.raises(OperationFailed) as failed:
        grant(ADMIN, SERVICE)

    assert str(failed.value) == (
        "database orders cannot be set up: the server cannot be reached, the connection is refused"
    )
