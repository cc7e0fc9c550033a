import pycurl
import pytest

from aisle.transfer.failures import failure


@pytest.mark.parametrize(
    ("code", "transient"),
    [
        (pycurl.E_COULDNT_CONNECT, True),
        (pycurl.E_COULDNT_RESOLVE_HOST, True),
        (pycurl.E_PARTIAL_FILE, True),
        (pycurl.E_RECV_ERROR, True),
        (pycurl.E_GOT_NOTHING, True),
        (pycurl.E_OPERATION_TIMEDOUT, True),
        (pycurl.E_SSL_CONNECT_ERROR, True),
        (pycurl.E_HTTP2, True),
        (pycurl.E_PEER_FAILED_VERIFICATION, False),
        (pycurl.E_URL_MALFORMAT, False),
        (pycurl.E_BAD_CONTENT_ENCODING, False),
    ],
)
def test_some_failures_pass_and_some_do_not(code: int, transient: bool) -> None:
    assert failure("http://h/x", code, "why").transient == transient


def test_a_failure_names_the_link_and_the_reason() -> None:
    error = failure("http://h/x", pycurl.E_PARTIAL_FILE, "17 missing").error
    assert str(error) == (
        "failed to download http://h/x: the connection ended before the whole body had come (17 missing)"
    )
