"""Which of libpq's messages are about TLS. The messages were collected by provoking them."""

import psycopg
import pytest
from sqlalchemy import make_url

from shared.storage.postgresql_tls import failure_of

CLOSED = make_url("postgresql://a:b@127.0.0.1:1/x")
FAILED = 'connection failed: connection to server at "127.0.0.1", port 1 failed: '


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        pytest.param(
            "SSL error: certificate verify failed",
            "has a certificate that is not accepted",
            id="a certificate, when the server no longer says why",
        ),
        pytest.param(
            'server certificate for "a.example" does not match host name "localhost"',
            "has a certificate that is not accepted",
            id="another host",
        ),
        pytest.param(
            "SSL error: tlsv13 alert certificate required",
            "asks for a client certificate that it accepts (SHOP_TLS_CERT_FILE)",
            id="no client certificate",
        ),
        pytest.param(
            "FATAL:  connection requires a valid client certificate",
            "asks for a client certificate that it accepts (SHOP_TLS_CERT_FILE)",
            id="no client certificate, by pg_hba.conf",
        ),
        pytest.param(
            "server does not support SSL, but SSL was required",
            "does not answer with TLS",
            id="no TLS",
        ),
        pytest.param(
            'private key file "/k.pem" has group or world access; file must have permissions …',
            'is not asked: private key file "/k.pem" has group or world access; '
            "file must have permissions …",
            id="an open key",
        ),
        pytest.param(
            'root certificate file "/r.crt" does not exist\nEither provide the file, …',
            'is not asked: root certificate file "/r.crt" does not exist',
            id="no authority",
        ),
        pytest.param("Connection refused", None, id="away"),
        pytest.param('FATAL:  password authentication failed for user "a"', None, id="password"),
    ],
)
def test_the_reason_follows_the_server_s_name_in_one_sentence(
    message: str, expected: str | None
) -> None:
    assert failure_of(CLOSED, psycopg.OperationalError(FAILED + message)) == expected


def test_the_text_of_a_failed_query_is_no_reason() -> None:
    error = psycopg.ProgrammingError('column "alert" of relation "certificates" does not exist')

    assert failure_of(CLOSED, error) is None
