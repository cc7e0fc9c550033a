"""The table and the gate before it: every route, and every way of not finding one."""

import re

import pytest

from aisle.api.gate import ALL, Action, Gate, GateSettings, Principal
from aisle.api.router import ANY_METHOD, Route, Router
from aisle.api.s3.dispatch import Dispatch
from aisle.errors import Denied
from service.calling import Native

FOREIGN = {"host": "evil.example"}, {"origin": "https://evil.example"}, {"origin": "null"}

S3_PATHS = {
    *("/s3", "/s3/{bucket}", "/s3/{bucket}/{key}", "/s3/{bucket}/{key}/{rest}"),
    *("/{bucket}", "/{bucket}/{key}", "/{bucket}/{key}/{rest}", "/{bucket}/{key}/{rest}/{more}"),
}


def target(route: Route) -> tuple[str, str, bytes]:
    """A request that reaches a row: its method, its target, its body."""
    path = re.sub(r"\{\w+\}", "thing", route.path)
    by, _, verb = route.verb.partition("=")
    query = f"?what={verb}" if by == "what" else ""
    body = b'{"action":"%s"}' % verb.encode() if by == "action" else b""
    return ("GET" if route.method == ANY_METHOD else route.method), path + query, body


def test_every_row_names_what_the_caller_must_be_allowed_to_do(native: Native) -> None:
    assert len(native.routes) > 60
    assert [route for route in native.routes if route.action is None] == []
    unguarded = {route.path for route in native.routes if route.action == Action.OPEN}
    # A batch may name a bucket for each of its members: its handler asks about every one.
    assert unguarded - S3_PATHS == {"/", "/v1/health", "/v1/ml/moss"}


def test_every_s3_operation_names_what_the_caller_must_be_allowed_to_do(native: Native) -> None:
    rows = [route for route in native.routes if route.path in S3_PATHS]
    assert {route.path for route in rows} == S3_PATHS
    tables = {getattr(route.handler, "__self__", None) for route in rows}
    assert len(tables) == 1
    dispatch = tables.pop()
    assert isinstance(dispatch, Dispatch)
    assert dispatch.operations
    assert [row for row in dispatch.operations if row.action in (None, Action.OPEN)] == []


@pytest.mark.parametrize("fields", FOREIGN)
def test_no_row_is_reached_from_a_foreign_page(native: Native, fields: dict[str, str]) -> None:
    for route in native.routes:
        method, path, body = target(route)
        answer = native(method, path, body, **fields)
        assert answer.status == 403, route


def test_every_row_answers_on_loopback(native: Native) -> None:
    for route in native.routes:
        method, path, body = target(route)
        answer = native(method, path, body, authorization="AWS4-HMAC-SHA256 nonsense")
        assert answer.status != 403, route
        assert answer.status < 500 or answer.status == 501, (route, answer.body)


def test_a_principal_reaches_only_the_rows_that_it_has_the_right_for(native: Native) -> None:
    gate = Gate(GateSettings())
    for route in native.routes:
        assert route.action is not None
        gate.authorize(Principal("all", ALL), route.action)
        if route.action:
            with pytest.raises(Denied):
                gate.authorize(Principal("others", ALL & ~route.action), route.action)
    with pytest.raises(Denied):
        gate.authorize(Principal("all", ALL), None)


def test_a_row_without_an_action_is_closed(native: Native) -> None:
    assert Router([Route("GET", "/open", None, lambda *_: None)]).find([b"", b"open"])
    closed = [Route("GET", "/v1/open", None, lambda *_: None)]

    class Part:
        def routes(self) -> list[Route]:
            return closed

    node = Native(parts=(Part(),))
    assert node("GET", "/v1/open").status == 403
    node.close()


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1:8080",
        "127.1.2.3",
        "localhost",
        "LOCALHOST:1",
        "localhost.",
        "[::1]:8080",
        "x.localhost",
        "",
    ],
)
def test_loopback_may_be_addressed_by_all_its_names(native: Native, host: str) -> None:
    assert native("GET", "/v1/health", host=host).status == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "10.0.0.1:8080",
        "[::2]",
        "evil@127.0.0.1",
        "127.0.0.1:80:80",
        "0.0.0.0",
        " ",
    ],
)
def test_other_names_are_refused_until_they_are_configured(native: Native, host: str) -> None:
    answer = native("GET", "/v1/health", host=host)
    assert answer.status == 403
    assert answer.error()["status"] == 403


def test_configured_names_and_insecure_nodes_let_others_in() -> None:
    node = Native(gate=GateSettings(hosts=("Data.example", "::2")))
    assert node("GET", "/v1/health", host="data.example:9").status == 200
    assert node("GET", "/v1/health", host="[::2]:9").status == 200
    assert node("GET", "/v1/health", host="evil.example").status == 403
    node.close()
    node = Native(gate=GateSettings(insecure=True))
    assert node("GET", "/v1/health", host="any.example").status == 200
    assert node("GET", "/v1/health", host="any.example", origin="http://evil.example").status == 403
    node.close()


def test_a_domain_of_buckets_is_a_name_of_the_node_too() -> None:
    node = Native(gate=GateSettings(domains=("S3.example",)))
    for host, status in (
        *(("s3.example:9", 200), ("b.s3.example", 200)),
        *(("example", 403), ("xs3.example", 403), ("s3.example.evil", 403)),
    ):
        assert node("GET", "/v1/health", host=host).status == status, host
    node.close()


def test_a_page_of_our_own_may_use_the_node(native: Native) -> None:
    assert native("GET", "/v1/health", origin="http://127.0.0.1:8080").status == 200
    assert native("GET", "/v1/health", host="localhost:1", origin="http://localhost:1").status == 200
    assert native("GET", "/v1/health", origin="http://127.0.0.1:3000").status == 403
    assert native("GET", "/v1/health", origin="file://127.0.0.1:8080").status == 403


@pytest.mark.parametrize(
    "path", ["/v1", "/v1/", "/v1/x", "/v1/health/x", "/v2/x", "/ui", "/hf/x", "/hf/b/o", "/health"]
)
def test_paths_that_nobody_knows_are_named(native: Native, path: str) -> None:
    answer = native("GET", path)
    assert answer.status == 400
    assert answer.error()["message"] == f"invalid request URI: 'GET {path}' from 127.0.0.1:45482"


def test_a_method_that_a_path_does_not_have_is_told_which_it_has(native: Native) -> None:
    answer = native("DELETE", "/v1/health")
    assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD")
    assert answer.headers["content-type"].startswith("text/plain")
    assert native("OPTIONS", "/v1/health").headers["allow"] == "GET, HEAD"
    assert native("PATCH", "/v1/buckets").status == 405


@pytest.mark.parametrize(
    "path", ["/s3", "/s3/", "/s3/b/k/x", "/bucket", "/bucket/key/with/slashes", "/data--gs/k"]
)
def test_s3_is_answered_in_its_own_words(native: Native, path: str) -> None:
    answer = native("PATCH", path)
    assert (answer.status, answer.headers["content-type"]) == (405, "application/xml")
    assert b"<Code>MethodNotAllowed</Code>" in answer.body
    refused = native("GET", path, host="evil.example")
    assert refused.status == 403


def test_the_root_says_what_this_is(native: Native) -> None:
    answer = native("GET", "/")
    assert (answer.status, b"Aisle" in answer.body) == (200, True)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/v1/cluster?what=config", "unexpected query [what=config]"),
        ("/v1/daemon?what=status", "invalid '/v1/daemon' request: unrecognized 'what=status' query"),
        ("/v1/daemon", "unrecognized 'what=' query"),
    ],
)
def test_questions_that_nobody_asks_are_named(native: Native, path: str, text: str) -> None:
    answer = native("GET", path)
    assert (answer.status, text in answer.error()["message"]) == (400, True)


def test_a_trailing_slash_changes_nothing_but_names(native: Native) -> None:
    assert native("GET", "/v1/health/").status == 200
    assert native("HEAD", "/v1/buckets/b/").status == 200
    native.put("b/name", b"x")
    assert native("GET", "/v1/objects/b/name/?provider=ais").status == 404
