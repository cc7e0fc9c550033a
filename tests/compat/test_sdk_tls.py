"""AIStore's SDK over TLS, which uploads in two halves: it announces the body, then follows a redirect."""

import datetime
import ipaddress
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from aistore.sdk import Client
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from support.node import RunningNode, running_node


def write_certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that signs itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    certificate_path, key_path = folder / "certificate.pem", folder / "key.pem"
    certificate_path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return certificate_path, key_path


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RunningNode, Path]]:
    certificate, key = write_certificate(tmp_path_factory.mktemp("tls"))
    config = f'[tls]\ncertificate = "{certificate}"\nkey = "{key}"\n'
    with running_node(config=config) as node:
        yield node, certificate


@pytest.mark.parametrize("size", [0, 5, 3_000_000])
def test_the_sdk_writes_and_reads(
    secure: tuple[RunningNode, Path], size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node, certificate = secure
    # `requests` prefers these over the certificate that its caller gives.
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    assert node.url.startswith("https://")
    client = Client(node.url, ca_cert=str(certificate), timeout=(3, 10))
    bucket = client.bucket("tls").create(exist_ok=True)
    content = random.Random(size).randbytes(size)
    thing = bucket.object("dir/with space é")
    thing.get_writer().put_content(content)
    assert thing.get_reader().read_all() == content
    (tmp_path / "file").write_bytes(content)
    thing.get_writer().put_file(tmp_path / "file")
    assert thing.props.obj_version.isdecimal()
    assert thing.get_reader().read_all() == content
    bucket.delete()
    assert client.cluster().get_primary_url() == node.url
