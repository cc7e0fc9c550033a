import pytest

from aisle import errors
from aisle.client.answers import Asked, check
from support.fake_node import FakeAnswer, error

OBJECT = Asked(bucket="ais://b", name="ais://b/o")
BUCKET = Asked(bucket="ais://b")


@pytest.mark.parametrize(
    ("answer", "asked", "kind"),
    [
        (error(404, "x", code="ErrBckNotFound"), OBJECT, errors.BucketNotFound),
        (error(404, "t[id]: ais://b/o does not exist", code="ErrNotFound"), OBJECT, errors.ObjectNotFound),
        (error(404, "ais://b/o doesn't exist"), OBJECT, errors.ObjectNotFound),
        (error(404, "x"), BUCKET, errors.BucketNotFound),
        (error(404, "t[id]: download job x does not exist"), Asked(job="x"), errors.JobNotFound),
        (error(404, "x"), Asked(), errors.NotFound),
        (error(409, "x", code="ErrBucketAlreadyExists"), BUCKET, errors.BucketExists),
        (error(409, 'bucket "ais://b" is not empty'), BUCKET, errors.BucketNotEmpty),
        (error(409, "busy"), BUCKET, errors.Conflict),
        (error(400, 'job "x" is still running'), Asked(job="x"), errors.JobRunning),
        (error(400, "invalid object name", code="errInvalidPath"), OBJECT, errors.InvalidName),
        (error(400, "x"), OBJECT, errors.BadRequest),
        (error(401, "x"), OBJECT, errors.Denied),
        (error(403, "x"), OBJECT, errors.Denied),
        (error(403, "x", code="ErrSourceDenied"), OBJECT, errors.SourceDenied),
        (error(403, "x", code="ErrEgressDenied"), OBJECT, errors.EgressDenied),
        (
            error(403, "bucket ais://b: PUT access denied (allowed: [])", code="ErrBucketAccessDenied"),
            OBJECT,
            errors.BucketAccessDenied,
        ),
        (error(412, "x"), OBJECT, errors.ConditionFailed),
        (error(429, "x"), OBJECT, errors.TooBusy),
        (error(500, "x"), OBJECT, errors.NodeFailed),
        (error(501, "x"), OBJECT, errors.Unsupported),
        (error(405, "x"), OBJECT, errors.Unsupported),
        (error(503, "x"), OBJECT, errors.Unavailable),
        (error(507, "x"), OBJECT, errors.OutOfSpace),
        (FakeAnswer(416, headers={"Content-Range": "bytes */5"}), OBJECT, errors.RangeNotSatisfiable),
        (FakeAnswer(503), OBJECT, errors.Unavailable),
        (FakeAnswer(404, b"<html>"), OBJECT, errors.NodeFailed),
        (FakeAnswer(405, b"plain"), OBJECT, errors.NodeFailed),
        (FakeAnswer(400, b"[1]"), OBJECT, errors.NodeFailed),
    ],
)
def test_answers_become_errors(answer: FakeAnswer, asked: Asked, kind: type[errors.AisleError]) -> None:
    with pytest.raises(errors.AisleError) as raised:
        check(answer, asked)
    assert type(raised.value) is kind


def test_a_head_tells_its_error_in_a_header() -> None:
    text = '{"tcode": "ErrBckNotFound", "message": "x", "status": 404}'
    answer = FakeAnswer(404, headers={"Hdr-Error": text})
    answer.is_bodiless = True
    with pytest.raises(errors.BucketNotFound):
        check(answer, OBJECT)


def test_the_checksums_of_a_refused_write_are_kept() -> None:
    answer = error(500, "BAD DATA CHECKSUM: xxhash2(aa != bb) (context: ais://b/o)", code="ErrBadCksum")
    with pytest.raises(errors.ChecksumMismatch) as raised:
        check(answer, OBJECT)
    assert (raised.value.kind, raised.value.announced, raised.value.received) == ("xxhash2", "aa", "bb")


def test_the_size_of_an_unsatisfiable_range_is_kept() -> None:
    with pytest.raises(errors.RangeNotSatisfiable) as raised:
        check(FakeAnswer(416, headers={"Content-Range": "bytes */5"}), OBJECT)
    assert raised.value.size == 5


@pytest.mark.parametrize("status", [200, 202, 204, 206])
def test_successes_pass(status: int) -> None:
    check(FakeAnswer(status), OBJECT)


@pytest.mark.parametrize(
    ("message", "bucket", "reason"),
    [
        ("x", "ais://b", ""),
        ('bucket "ais://b" does not exist', "ais://b", ""),
        ('remote bucket "ais://@far/c" does not exist', "ais://@far/c", ""),
        ('bucket "ais://@far/c" does not exist: no cluster "far" is attached', "ais://@far/c", "no cluster"),
    ],
)
def test_the_bucket_that_is_missing_is_named_by_the_node(message: str, bucket: str, reason: str) -> None:
    with pytest.raises(errors.BucketNotFound) as caught:
        check(error(404, message, code="ErrRemoteBckNotFound"), BUCKET)
    assert caught.value.bucket == bucket
    assert caught.value.reason.startswith(reason)
