"""Ways around the rights that there are where credentials exist; each was open once."""

from collections.abc import Iterator
from hashlib import sha256

import pytest

from service.credentials import ALICE, BOB, ROOT, Asking, presign


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
