"""Signatures of requests to Oracle's services: RSA with SHA-256 over chosen header fields.

Wire facts: version 1 of Oracle's request signatures, after draft-cavage-http-signatures-08. Date, request
target and host are signed always; of a document that is posted also its length, type and SHA-256. The
bytes of objects and their parts are not: Oracle makes that exception for what is streamed.
"""

from base64 import b64encode
from email.utils import formatdate
from hashlib import sha256
from typing import NamedTuple
from urllib.parse import SplitResult, urlsplit

from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256


class SigningKey(NamedTuple):
    """A private key, and the id under which Oracle knows its public half."""

    key_id: str
    """`TENANCY/USER/FINGERPRINT`, or `ST$` and a security token."""
    private_key: RSAPrivateKey


def signed_fields(
    key: SigningKey, method: str, link: str, *, document: bytes | None = None, now_s: float
) -> dict[str, str]:
    """The header fields that make a request a signed one; `Host` and `Content-Length` are sent anyway.

    `link` is the URL exactly as it is sent, `document` the JSON body of a request that has one.
    """
    parts = urlsplit(link)
    target = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
    fields = {"Date": formatdate(now_s, usegmt=True)}
    signed = {
        "date": fields["Date"],
        "(request-target)": f"{method.lower()} {target}",
        "host": _sent_host(parts),
    }
    if document is not None:
        fields["Content-Type"] = "application/json"
        fields["x-content-sha256"] = b64encode(sha256(document).digest()).decode()
        signed["content-length"] = str(len(document))
        signed["content-type"] = fields["Content-Type"]
        signed["x-content-sha256"] = fields["x-content-sha256"]
    text = "\n".join(f"{name}: {value}" for name, value in signed.items())
    signature = b64encode(key.private_key.sign(text.encode(), PKCS1v15(), SHA256())).decode()
    fields["Authorization"] = (
        f'Signature algorithm="rsa-sha256",headers="{" ".join(signed)}",'
        f'keyId="{key.key_id}",signature="{signature}",version="1"'
    )
    return fields


def _sent_host(parts: SplitResult) -> str:
    """What libcurl sends as `Host`: without a password, and without the scheme's usual port."""
    host = parts.netloc.rpartition("@")[2]
    return host.removesuffix({"http": ":80", "https": ":443"}[parts.scheme])
