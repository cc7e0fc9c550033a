"""Ways around the rights that there are where credentials exist; each was open once."""

import hmac
from base64 import b64encode
from collections.abc import Iterator
from hashlib import sha256
from urllib.parse import quote

import pytest

from service.credentials import ALICE, BOB, NOW_S, ROOT, Asking, presign


@pytest.fixture
def asking() -> Iterator[Asking]:
    """Alice has a private bucket and two public ones; Bob has one of his own."""
    node = Asking()
    node.bucket(ALICE, "secret")
    node.bucket(ALICE, "shared", "public-read")
    node.bucket(ALICE, "open", "public-read-write")
    node.bucket(BOB, "mine")
    for bucket in ("secret", "shared"):
        assert node(ALICE, "PUT", f"/v1/objects/{bucket}/a?provider=ais", b"x").status == 200
    yield node
    node.close()


@pytest.mark.parametrize("path", ["/v1/objects/{}/a?provider=ais&", "/ais/{}/a?"])
def test_a_copy_asks_to_read_its_source_and_to_write_where_it_goes(asking: Asking, path: str) -> None:
    to = "object_to=ais%2F%40%23%2F{}%2Fb"
    assert asking(BOB, "PUT", path.format("shared") + to.format("mine")).status == 200
    assert asking(BOB, "GET", "/v1/objects/mine/b").body == b"x"
    assert asking(BOB, "PUT", path.format("secret") + to.format("mine")).status == 403
    assert asking(BOB, "PUT", path.format("shared") + to.format("secret")).status == 403
    assert asking(None, "PUT", path.format("shared") + to.format("mine")).status == 401


@pytest.mark.parametrize("beside", ["archpath=m", "append_type=append", "archmode=prefix", "uploadId=u"])
def test_nothing_else_passes_as_a_copy(asking: Asking, beside: str) -> None:
    target = f"/v1/objects/shared/a?provider=ais&{beside}&object_to=ais%2F%40%23%2Fmine%2Fb"
    if beside == "uploadId=u":
        target = "/v1/objects/shared/a?provider=ais&object_to=&uploadId=u&partNumber=1"
    assert asking(BOB, "PUT", target, b"y", ais_pine="2").status == 403
    assert asking(BOB, "PUT", "/v1/objects/shared/a?object_to=", b"y").status == 403
    assert asking(ALICE, "GET", "/v1/objects/shared/a").body == b"x"


@pytest.mark.parametrize("added", [{}, {"x-amz-content-sha256": "UNSIGNED-PAYLOAD"}])
def test_a_presigned_url_takes_the_body_it_was_signed_for(asking: Asking, added: dict[str, str]) -> None:
    url = presign(ALICE, "PUT", "/s3/secret/o", payload=sha256(b"right").hexdigest())
    assert asking(None, "PUT", url, b"wrong", **added).status == 400
    assert asking(ALICE, "GET", "/s3/secret/o").status == 404
    assert asking(None, "PUT", url, b"right", **added).status == 200


def test_a_presigned_url_tells_how_long_it_is_valid_in_few_digits(asking: Asking) -> None:
    assert asking(None, "GET", presign(ALICE, "GET", "/s3/secret/a")).status == 200
    url = presign(ALICE, "GET", "/s3/secret/a")
    for digits in ("0000000019999", "1" * 5000):
        refused = asking(None, "GET", url.replace("X-Amz-Expires=600", f"X-Amz-Expires={digits}"))
        assert b"X-Amz-Expires must be" in refused.body


@pytest.mark.parametrize(
    "path", ["/v1/daemon?what=bmd", "/v1/cluster?what=bmd", "/v1/reverse/daemon?what=bmd"]
)
def test_the_map_of_buckets_shows_what_its_reader_may_see(asking: Asking, path: str) -> None:
    told = asking(BOB, "GET", path).json()
    assert sorted(told["providers"]["ais"]["@#"]) == ["mine", "open", "shared"]
    told = asking(ROOT, "GET", path).json()
    assert "secret" in told["providers"]["ais"]["@#"]


def test_strangers_learn_that_the_node_lives_and_nothing_of_the_cluster(asking: Asking) -> None:
    assert asking(None, "GET", "/v1/health").status == 200
    assert asking(None, "GET", "/v1/health?cii=true").status == 401
    assert asking(BOB, "GET", "/v1/health?cii=true").status == 200


def test_strangers_do_not_learn_of_buckets_by_copying_from_them(asking: Asking) -> None:
    for bucket in ("secret", "missing"):
        source = f"{bucket}/a"
        assert asking(None, "PUT", "/s3/open/o", x_amz_copy_source=source).status in (401, 403)
        to = f"object_to=ais%2F%40%23%2F{bucket}%2Fb"
        assert asking(None, "PUT", f"/v1/objects/shared/a?provider=ais&{to}").status == 401
        batch = {"in": [{"objname": "a", "bucket": bucket}], "strm": True}
        assert asking(None, "GET", "/v1/ml/moss/shared?provider=ais", batch).status == 401


@pytest.mark.parametrize(("path", "status"), [("/s3/secret/a", 200), ("/v1/objects/secret/a", 401)])
def test_what_version_2_presigns_is_not_made_another_request(asking: Asking, path: str, status: int) -> None:
    key, secret = ALICE
    expires = int(NOW_S) + 600
    text = f"PUT\n\n\n{expires}\n{path}".encode()
    signature = quote(b64encode(hmac.digest(secret.encode(), text, "sha1")).decode(), safe="")
    url = f"{path}?AWSAccessKeyId={key}&Expires={expires}&Signature={signature}"
    # Nothing of what is added is signed.
    answer = asking(None, "PUT", f"{url}&object_to=ais%2F%40%23%2Fopen%2Fb", b"y")
    assert answer.status in (status, 400 if status == 401 else status)
    assert asking(ALICE, "GET", "/v1/objects/open/b").status == 404


@pytest.mark.parametrize("what", ["status_all", "qryxstats", "running_all"])
def test_jobs_are_shown_to_who_may_see_their_buckets(asking: Asking, what: str) -> None:
    def copy(source: str, to: str) -> str:
        target = f"/v1/buckets/{source}?provider=ais&bck_to=ais%2F%40%23%2F{to}%2F"
        answer = asking(ALICE, "POST", target, {"action": "copy-bck", "value": {}})
        assert answer.status == 200
        return answer.body.decode()

    hidden, shown = copy("secret", "open"), copy("shared", "open")
    path = f"/v1/cluster?what={what}"
    told = asking(BOB, "GET", path, b"{}").body.decode()
    assert shown in told
    assert hidden not in told
    assert hidden in asking(ALICE, "GET", path, b"{}").body.decode()
    assert hidden in asking(ROOT, "GET", path, b"{}").body.decode()
    one = {"id": hidden}
    assert asking(BOB, "GET", "/v1/cluster?what=status", one).status == 404
    assert asking(BOB, "GET", "/v1/cluster?what=qryxstats", one).status == 404
    assert asking(ALICE, "GET", "/v1/cluster?what=status", one).status == 200
