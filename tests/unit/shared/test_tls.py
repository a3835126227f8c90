import shutil
import ssl
import subprocess
from pathlib import Path

import pytest
import trustme

from shared.errors import InvalidInput
from shared.messaging.rabbitmq.address import parse
from shared.tls import client_context


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificates")
    ca = trustme.CA()
    ca.cert_pem.write_to_path(str(folder / "ca.pem"))
    for name in ("shop", "other"):
        cert = ca.issue_cert(f"{name}.example")
        cert.private_key_pem.write_to_path(str(folder / f"{name}.key"))
        cert.cert_chain_pems[0].write_to_path(str(folder / f"{name}.pem"))
        cert.private_key_and_cert_chain_pem.write_to_path(str(folder / f"{name}-both.pem"))
    (folder / "text").write_text("no certificate")
    return folder


def test_a_client_verifies_certificate_and_host_with_tls_1_2_or_newer(folder: Path) -> None:
    context = client_context(folder / "ca.pem", folder / "shop.pem", folder / "shop.key")

    assert context.verify_mode == ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert len(context.get_ca_certs()) == 1


def test_a_key_may_be_in_the_certificate_s_file(folder: Path) -> None:
    client_context(folder / "ca.pem", folder / "shop-both.pem")


@pytest.mark.parametrize(
    ("files", "named"),
    [
        pytest.param(("none",), "none cannot be used: No such file", id="missing"),
        pytest.param(("text",), "text cannot be used: not valid PEM", id="no certificate"),
        pytest.param((".",), "cannot be used: Is a directory", id="folder"),
        pytest.param(("ca.pem", "none", "shop.key"), "none .*No such file", id="no client's"),
        pytest.param(("ca.pem", "text", "shop.key"), "text .*not valid PEM", id="client's text"),
        pytest.param(("ca.pem", "shop.pem", "other.key"), "not the right key", id="other key"),
        pytest.param(("ca.pem", "shop.pem", None), "shop.pem .*cannot be used", id="no key"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(
    folder: Path, files: tuple[str | None, ...], named: str
) -> None:
    with pytest.raises(InvalidInput, match=named) as error:
        client_context(*(folder / name if name else None for name in files))

    assert "\n" not in str(error.value)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the program openssl")
def test_a_key_with_a_password_is_refused_instead_of_asked_for(folder: Path) -> None:
    encrypted = folder / "encrypted.key"
    command = f"openssl pkey -in {folder}/shop.key -aes256 -passout pass:hush -out {encrypted}"
    subprocess.run(command.split(), check=True)

    with pytest.raises(InvalidInput, match="protected by a password"):
        client_context(folder / "ca.pem", folder / "shop.pem", encrypted)


def test_an_amqps_url_names_its_files(folder: Path) -> None:
    address = parse(f"amqps://a:b@broker/v?cacertfile={folder}/ca.pem")

    assert address.parameters.ssl_options is not None
    assert len(address.parameters.ssl_options.context.get_ca_certs()) == 1
    assert (address.vhost, address.parameters.port) == ("v", 5671)


@pytest.mark.parametrize(
    "query", ["ssl_options={'cert_reqs':0}", "verify=verify_none", "heartbeat=5", "hush"]
)
def test_an_amqps_url_has_no_other_parameters(query: str) -> None:
    with pytest.raises(InvalidInput, match="the broker's URL"):
        parse(f"amqps://a:b@broker/v?{query}")
