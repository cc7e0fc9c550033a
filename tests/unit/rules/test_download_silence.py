from aisle.rules import download_silence
from aisle.rules.download_silence import UNHEARD_RETRIES_MAX, Heard


def test_a_server_that_has_answered_before_is_tried_as_often_as_usual() -> None:
    heard = Heard()
    heard.note("a", 5)
    heard.note("b", 20)
    assert heard.retries_max("a", since_ns=10, usual=8) == 8


def test_a_server_that_never_answered_is_tried_less_while_others_answer() -> None:
    heard = Heard()
    assert heard.retries_max("a", since_ns=10, usual=8) == 8  # nobody does: it may be the network
    heard.note("b", 5)
    assert heard.retries_max("a", since_ns=10, usual=8) == 8  # not any more
    heard.note("b", 11)
    assert heard.retries_max("a", since_ns=10, usual=8) == UNHEARD_RETRIES_MAX
    assert heard.retries_max("a", since_ns=10, usual=1) == 1


def test_a_server_of_which_nothing_comes_is_asked_once_a_minute() -> None:
    heard, minute = Heard(), 60 * 10**9
    for number in range(3):
        assert not heard.is_gone("a", number)
        heard.note_given_up("a", number)
    assert heard.is_gone("a", 10)
    assert not heard.is_gone("b", 10)
    assert not heard.is_gone("a", 3 + minute)
    assert heard.is_gone("a", 4 + minute)
    heard.note("a", 5 + minute)
    assert not heard.is_gone("a", 6 + minute)
    for _ in range(3):  # what has answered is not gone for good
        heard.note_given_up("a", 7 + minute)
    assert not heard.is_gone("a", 8 + minute)


def test_what_is_remembered_is_bounded() -> None:
    heard = Heard()
    for number in range(download_silence._HEARD_MAX + 5):
        heard.note(str(number), number + 1)
        heard.note_given_up(f"gone{number}", number)
    assert len(heard.given_up) <= download_silence._HEARD_MAX
    assert len(heard._hosts) <= download_silence._HEARD_MAX
    assert heard.retries_max(str(download_silence._HEARD_MAX + 4), since_ns=0, usual=8) == 8
