"""Bodies in Amazon's signed chunks, as a client makes them."""

import hmac
from hashlib import sha256

from aisle.rules.signatures import Seal


def signed(
    chunks: list[bytes], trailers: dict[str, str] | None = None, *, seal: Seal, gap: bool = False
) -> bytes:
    """A body as a client makes it; with `gap` the empty line stands before the trailers' signature."""
    previous, out = seal.signature, b""

    def sign(kind: str, digests: str) -> str:
        text = f"AWS4-HMAC-SHA256-{kind}\n{seal.timestamp}\n{seal.scope}\n{previous}\n{digests}"
        return hmac.digest(seal.key, text.encode(), "sha256").hex()

    for chunk in [*chunks, b""]:
        previous = sign("PAYLOAD", f"{sha256(b'').hexdigest()}\n{sha256(chunk).hexdigest()}")
        out += b"%x;chunk-signature=%b\r\n" % (len(chunk), previous.encode())
        out += chunk + b"\r\n" if chunk else b""
    lines = "".join(f"{name}:{value}\n" for name, value in (trailers or {}).items())
    if trailers:
        previous = sign("TRAILER", sha256(lines.encode()).hexdigest())
        out += lines.replace("\n", "\r\n").encode() + b"\r\n" * gap
        out += f"x-amz-trailer-signature:{previous}\r\n".encode()
    return out + b"\r\n"
