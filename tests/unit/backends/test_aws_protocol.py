"""What S3 is told of an object."""

from email.header import decode_header, make_header

import pytest

from aisle.backends.aws_protocol import described
from aisle.backends.provider import RemoteObject
from aisle.errors import BadRequest


@pytest.mark.parametrize("text", ["ä", "日本", "👩\u200d💻", "Größe, 20 µm" * 40])
@pytest.mark.parametrize("is_field", [False, True])
def test_metadata_beyond_ascii_is_written_mail_safe(text: str, is_field: bool) -> None:
    came = text.encode().decode("latin-1") if is_field else text
    fields = dict(described(RemoteObject("k", 1, custom={"author": came, "plain": "a\tb"})))
    assert fields["x-amz-meta-plain"] == "a\tb"
    told = fields["x-amz-meta-author"]
    assert told.isascii()
    assert str(make_header(decode_header(told))) == text


@pytest.mark.parametrize(
    ("name", "text"), [("a b", "x"), ("größe", "x"), ("a", "x\r\nHost: y"), ("a:b", "x")]
)
def test_metadata_that_no_field_can_hold_is_refused(name: str, text: str) -> None:
    with pytest.raises(BadRequest, match="S3 has no such metadata"):
        described(RemoteObject("k", 1, custom={name: text}))
