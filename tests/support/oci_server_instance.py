"""An instance of Oracle's cloud, beside the stand-in for its storage: what tells a program on it who it is.

The metadata service names the region and has a certificate of the instance; with it the federation
service gives a token for a session's key, which the storage then knows.
"""

import json
import time
from base64 import b64decode
from datetime import UTC, datetime, timedelta

import jwt
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_public_key,
)

from support.oci_server import HOME, TENANCY, OciServer


class OciInstance:
    """Serves, through the stand-in, what an instance asks for; the metadata are at `metadata_url`."""

    def __init__(self, server: OciServer) -> None:
        self.metadata_url = f"{server.url}/opc/v2"
        self.tokens: list[str] = []
        """What has been given, oldest first."""
        self.token_s = 3600
        """How long tokens are valid."""
        self._server = server
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self._key = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        name = x509.Name([x509.NameAttribute(x509.NameOID.ORGANIZATIONAL_UNIT_NAME, f"opc-tenant:{TENANCY}")])
        now = datetime.now(UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
            .sign(key, SHA256())
        )
        self._certificate = certificate.public_bytes(Encoding.PEM)
        server.unsigned = self._answer

    def _answer(self, path: str, body: bytes) -> bytes | None:
        metadata = {
            "/opc/v2/instance/region": HOME.encode(),
            "/opc/v2/identity/cert.pem": self._certificate,
            "/opc/v2/identity/key.pem": self._key,
            "/opc/v2/identity/intermediate.pem": self._certificate,
        }
        if path == "/v1/x509":
            return self._give_token(body)
        return metadata.get(path)

    def _give_token(self, body: bytes) -> bytes:
        now_s = int(time.time())
        claims = {"iat": now_s, "exp": now_s + self.token_s, "number": len(self.tokens)}
        token = jwt.encode(claims, "a secret of the federation service", algorithm="HS256")
        session = load_der_public_key(b64decode(json.loads(body)["publicKey"]))
        assert isinstance(session, rsa.RSAPublicKey)
        self.tokens.append(token)
        self._server.sessions[f"ST${token}"] = session
        return json.dumps({"token": token}).encode()
