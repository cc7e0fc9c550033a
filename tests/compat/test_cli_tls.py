"""`ais` over TLS, with a certificate that it trusts and one that it does not."""

import datetime
import ipaddress
import os
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from support.ais import ais
from support.node import running_node


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """A self-signed certificate for 127.0.0.1, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "aisle test")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    files = tmp_path / "certificate.pem", tmp_path / "key.pem"
    files[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    files[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return files


def test_objects_pass_over_tls_if_the_certificate_is_trusted(
    certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = f'[tls]\ncertificate = "{certificate[0]}"\nkey = "{certificate[1]}"\n'
    data = os.urandom(3_000_000)
    with running_node(config=config) as node:
        assert node.url.startswith("https://")
        distrusted = ais(node.url, "ls")
        assert distrusted.code == 4
        assert "certificate is not trusted" in distrusted.stderr
        assert "SSL_CERT_FILE" in distrusted.stderr
        named = {"AIS_CLIENT_CA": str(certificate[0])}
        assert ais(node.url, "ls", **named).code == 0
        assert ais(node.url, "ls", AIS_SKIP_VERIFY_CRT="true").code == 0
        assert ais(node.url, "ls", AIS_SKIP_VERIFY_CRT="false").code == 4
        keyless = ais(node.url, "ls", **named, AIS_CRT=str(certificate[0]))
        assert (keyless.code, "no certificate with the private key" in keyless.stderr) == (1, True)
        assert "holds no certificates" in ais(node.url, "ls", AIS_CLIENT_CA=__file__).stderr
        assert (
            ais(node.url, "ls", **named, AIS_CRT=named["AIS_CLIENT_CA"], AIS_CRT_KEY=str(certificate[1])).code
            == 0
        )
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
        assert ais(node.url, "create", "b").code == 0
        assert ais(node.url, "put", "-", "b/o", stdin=data).code == 0
        assert ais(node.url, "get", "b/o", "-").stdout == data
