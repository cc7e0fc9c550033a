"""Users for tests of the gate, and requests that they sign."""

from collections.abc import Mapping
from typing import Any

import botocore.auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from aisle.api.native.auth import AuthVerbs
from aisle.backends.registry import Factory
from aisle.cluster.memory import MemoryStore
from aisle.gateway.users import ConfiguredUser, MasterKey, Users
from service.calling import START_NS, Answer, Native

NOW_S = START_NS / 1e9
STAMP = "20261120T161238Z"
MASTER = MasterKey("m1", b"m" * 32)
ROOT = ("root-key", "root-secret")
ALICE = ("alice-key", "alice-secret")
BOB = ("bob-key", "bob-secret")
Keys = tuple[str, str]


def users(store: MemoryStore | None = None, **settings: Any) -> Users:
    """Root, and two users whom the configuration names."""
    configured = [
        ConfiguredUser("root", "", "", *ROOT, is_admin=True),
        ConfiguredUser("alice", "alice-id", "alice@example.org", *ALICE, is_admin=False),
        ConfiguredUser("bob", "bob-id", "", *BOB, is_admin=False),
    ]
    return Users(
        store or MemoryStore(),
        configured=configured,
        master_keys=settings.pop("master_keys", [MASTER]),
        now_s=lambda: NOW_S,
        **settings,
    )


class Asking:
    """A node that asks for credentials, called as somebody."""

    def __init__(self, *, providers: Mapping[str, Factory] | None = None, **settings: Any) -> None:
        self.users = users(**settings)
        self.node = Native(keys=self.users, parts=(AuthVerbs(self.users),), providers=providers)

    def close(self) -> None:
        self.node.close()

    def __call__(
        self, who: Keys | str | None, method: str, target: str, body: Any = b"", **fields: str
    ) -> Answer:
        """Call as whoever has that key or token; None is a stranger."""
        if isinstance(who, str):
            fields["authorization"] = f"Bearer {who}"
        elif who is not None:
            fields |= sign(who, method, target, **fields)
        return self.node(method, target, body, **fields)

    def bucket(self, who: Keys, name: str, acl: str = "") -> None:
        fields = {"x-amz-acl": acl} if acl else {}
        answer = self(who, "PUT", f"/s3/{name}", **fields)
        assert answer.status == 200, answer.body


def presign(who: Keys, method: str, path: str, *, expires_s: int = 600, payload: str = "") -> str:
    """A path and query that are signed with version 4; `payload` is the hash of the body."""
    params = {"X-Amz-Content-Sha256": payload} if payload else {}
    request = AWSRequest(method=method, url=f"http://127.0.0.1:8080{path}", params=params)
    request.context["timestamp"] = STAMP
    signer = botocore.auth.S3SigV4QueryAuth(Credentials(*who), "s3", "anywhere", expires=expires_s)
    signer.payload = lambda _: payload or "UNSIGNED-PAYLOAD"
    signer._modify_request_before_signing(request)
    text = signer.string_to_sign(request, signer.canonical_request(request))
    signer._inject_signature_to_request(request, signer.signature(text, request))
    return str(request.url).removeprefix("http://127.0.0.1:8080")


def sign(
    who: Keys, method: str, target: str, payload: str = "UNSIGNED-PAYLOAD", **fields: str
) -> dict[str, str]:
    """The fields of a request that is signed with version 4."""
    request = AWSRequest(method=method, url=f"http://127.0.0.1:8080{target}")
    for name, value in fields.items():
        if name.replace("_", "-").startswith("x-amz-"):
            request.headers[name.replace("_", "-")] = value
    request.context["timestamp"] = STAMP
    request.headers["X-Amz-Date"] = STAMP
    request.headers["X-Amz-Content-SHA256"] = fields.get("x_amz_content_sha256", payload)
    signer = botocore.auth.S3SigV4Auth(Credentials(*who), "s3", "anywhere")
    text = signer.string_to_sign(request, signer.canonical_request(request))
    signer._inject_signature_to_request(request, signer.signature(text, request))
    return {name.lower(): value for name, value in request.headers.items()}
