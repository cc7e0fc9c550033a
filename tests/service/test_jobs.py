"""Copies, renames, work on many objects, and what is asked about jobs: AIStore's words and shapes."""

import re
from typing import Any

import pytest

from aisle.model.bulk import IDLE_NS
from service.calling import IDENTITY, Answer, Native

SPACE = {"uuid": "", "name": ""}
NOWHERE = {"name": "", "provider": "", "namespace": SPACE}
TARGET = IDENTITY.target_id


def bck(name: str) -> dict[str, Any]:
    return {"name": name, "provider": "ais", "namespace": SPACE}


def uname(name: str) -> str:
    return f"ais%2F%40%23%2F{name}%2F"


def act(native: Native, method: str, path: str, action: str, value: Any = None, name: str = "") -> Answer:
    target = path if "?" in path else f"{path}?provider=ais"
    return native(method, target, {"action": action, "name": name, "value": value})


def ask(native: Native, what: str, **question: Any) -> Answer:
    return native("GET", f"/v1/cluster?what={what}", question)


def started(answer: Answer) -> str:
    """The id that a request was answered with, as plain text without a line's end."""
    assert (answer.status, answer.headers["content-type"]) == (200, "text/plain; charset=utf-8")
    assert re.fullmatch(rb"[A-Za-z0-9][A-Za-z0-9_-]{7,30}[A-Za-z0-9]", answer.body)
    return answer.body.decode()


def done(native: Native, answer: Answer) -> str:
    job_id = started(answer)
    native.work()
    return job_id


@pytest.fixture
def three(native: Native) -> Native:
    """Three objects in `b`."""
    for name in ("a", "d/b", "d/c"):
        native.put(f"b/{name}", name.encode())
    return native


def test_a_copied_bucket_is_told_as_recorded(three: Native) -> None:
    job_id = started(act(three, "POST", f"/v1/buckets/b?bck_to={uname('new')}", "copy-bck", {"prefix": ""}))
    [waiting] = ask(three, "qryxstats", ID=job_id, Kind="", DaemonID="", Bck=None, Buckets=None).json()[
        TARGET
    ]
    assert (waiting["end-time"], waiting["is_idle"]) == ("0001-01-01T00:00:00Z", False)
    status = ask(three, "status", ID=job_id, Kind="copy-bck").json()
    assert status == {"kind": "copy-bck", "uuid": job_id, "err": "", "end_time": 0, "aborted": False}
    three.work()
    answer = ask(three, "qryxstats", ID=job_id)
    assert answer.headers["content-type"] == "application/json; charset=utf-8"
    [told] = answer.json()[TARGET]
    assert list(told) == [
        *("ext", "start-time", "end-time", "bck", "src-bck", "dst-bck", "id", "kind", "ctlmsg"),
        *("abort-err", "err", "glob.id", "stats", "aborted", "is_idle"),
    ]
    assert re.fullmatch(r"2026-11-\d\dT\d\d:\d\d:\d\d\.\d{9}Z", told.pop("start-time"))
    assert told.pop("end-time") > "2026"
    assert told.pop("ctlmsg").startswith("cp ais://b=>ais://new")
    assert told == {
        "ext": None,
        "bck": bck("new"),
        "src-bck": bck("b"),
        "dst-bck": bck("new"),
        "id": job_id,
        "kind": "copy-bck",
        "abort-err": "",
        "err": "",
        "glob.id": "1",
        "stats": {
            "loc-objs": "3",
            "loc-bytes": "7",
            "out-objs": "0",
            "out-bytes": "0",
            "in-objs": "0",
            "in-bytes": "0",
        },
        "aborted": False,
        "is_idle": True,
    }
    answer = ask(three, "status", id=job_id, kind="copy-bck", bck=NOWHERE, show_active=None)
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.json()["end_time"] > 0
    assert ask(three, "status_all", kind="", node="", show_active=False).json() == [answer.json()]
    assert ask(three, "running_all", kind="", node="", show_active=True).json() == []
    assert three.names("new") == ["a", "d/b", "d/c"]


def test_a_new_destination_has_the_properties_of_its_source(native: Native) -> None:
    native.bucket("md5", checksum={"type": "md5"}, versioning={"enabled": False})
    native.put("md5/a", b"hello")
    done(native, act(native, "POST", f"/v1/buckets/md5?bck_to={uname('new')}", "copy-bck", {}))
    copied = native("GET", "/v1/objects/new/a")
    assert (copied.headers["ais-checksum-type"], copied.body) == ("md5", b"hello")
    assert "ais-version" not in copied.headers


def test_a_renamed_bucket_is_told_as_recorded(three: Native) -> None:
    job_id = done(three, act(three, "POST", f"/v1/buckets/b?bck_to={uname('new')}", "move-bck"))
    [told] = ask(three, "qryxstats", id=job_id).json()[TARGET]
    assert (told["ctlmsg"], told["stats"]["loc-objs"]) == ("mv ais://b=>ais://new", "3")
    assert (told["bck"], told["src-bck"], told["dst-bck"]) == (bck("new"), bck("b"), bck("new"))
    assert three.names("new") == ["a", "d/b", "d/c"]
    assert three("HEAD", "/v1/buckets/b").status == 404


def test_missing_names_of_a_list_fail_and_those_of_a_template_do_not(three: Native) -> None:
    delete = {"objnames": ["a", "nope", "neither"], "template": None}
    job_id = done(three, act(three, "DELETE", "/v1/buckets/b", "delete-listrange", delete))
    status = ask(three, "status", ID=job_id, Kind="delete-listrange").json()
    assert status["err"] == f"t[{TARGET}]: ais://b/nope does not exist (and 1 more error)"
    assert (status["aborted"], status["end_time"] > 0) == (False, True)
    delete = {"objnames": None, "template": "d/{a..c}"}
    assert act(three, "DELETE", "/v1/buckets/b", "delete-listrange", delete).status == 400
    job_id = done(three, act(three, "DELETE", "/v1/buckets/b", "delete-listrange", {"template": "d/"}))
    assert ask(three, "status", ID=job_id).json()["err"] == ""
    assert three.names("b") == []


def test_nothing_selected_means_everything(three: Native) -> None:
    done(three, act(three, "DELETE", "/v1/buckets/b", "delete-listrange", {"objnames": [], "template": ""}))
    assert three.names("b") == []


def test_copies_of_a_selection_idle_before_they_end(three: Native) -> None:
    value = {"objnames": ["a", "d/c"], "tobck": {**bck("new"), "namespace": None}, "prepend": "x/"}
    job_id = done(three, act(three, "POST", "/v1/buckets/b", "copy-listrange", {**value, "num-workers": 5}))
    assert job_id.startswith("tco-")
    assert three.names("new") == ["x/a", "x/d/c"]
    [told] = ask(three, "qryxstats", id=job_id, show_active=True).json()[TARGET]
    assert (told["is_idle"], told["end-time"]) == (True, "0001-01-01T00:00:00Z")
    assert told["glob.id"] == str(1 | 5 << 10)
    assert ask(three, "running_all", kind="copy-objects").json() == [f"copy-listrange[{job_id}]"]
    assert ask(three, "running_all", kind="copy-bck").json() == []
    for _ in range(IDLE_NS // 1_000_000):
        three.clock()
    assert ask(three, "running_all").json() == []
    assert ask(three, "qryxstats", id=job_id, show_active=True).status == 404
    [told] = ask(three, "qryxstats", id=job_id).json()[TARGET]
    assert (told["is_idle"], told["end-time"] > "2026") == (True, True)


def test_an_object_is_copied_and_renamed(three: Native) -> None:
    answer = three("PUT", f"/v1/objects/b/a?provider=ais&object_to={uname('b')}{'x/%C3%A4'}&latest-ver=false")
    assert (answer.status, answer.body) == (200, b"")
    assert not [field for field in answer.headers if field.startswith("ais-")]
    assert act(three, "POST", "/v1/objects/b/d/b", "rename-obj", name="a").status == 200
    assert act(three, "POST", "/v1/objects/b/none", "rename-obj", name="x").status == 404
    assert act(three, "POST", "/v1/objects/b/a", "rename-obj", name="a").status == 400
    assert three.names("b") == ["a", "d/c", "x/ä"]
    assert three("GET", "/v1/objects/b/a").body == b"d/b"
    assert three("GET", "/v1/objects/b/x/%C3%A4").body == b"a"


WRONG = [
    ("PUT", f"/v1/objects/b/a?object_to={uname('none')}x", "", None, 404, 'bucket "ais://none" does not'),
    ("PUT", f"/v1/objects/b/none?object_to={uname('b')}x", "", None, 404, "ais://b/none does not exist"),
    ("PUT", "/v1/objects/b/a?object_to=nonsense", "", None, 400, "unique name"),
    ("PUT", f"/v1/objects/b/a?object_to={uname('b')}", "", None, 400, "name is empty"),
    ("POST", "/v1/objects/b/a", "rename-obj", None, 400, "name is empty"),
    ("POST", "/v1/buckets/b", "copy-bck", {}, 400, "bck_to"),
    ("POST", f"/v1/buckets/none?bck_to={uname('x')}", "copy-bck", {}, 404, "ais://none"),
    ("POST", f"/v1/buckets/b?bck_to={uname('b')}", "copy-bck", {}, 400, "onto itself"),
    (
        *("POST", f"/v1/buckets/b?bck_to={uname('x')}", "copy-bck"),
        *({"synchronize": True, "prepend": "p"}, 400, "synchronize"),
    ),
    ("POST", f"/v1/buckets/b?bck_to={uname('x')}", "copy-bck", {"prefix": 5}, 400, "prefix"),
    ("POST", "/v1/buckets/b?bck_to=ais%2F%40%23%2Fmetrics%2F", "copy-bck", {}, 400, "reserved"),
    ("POST", f"/v1/buckets/b?bck_to={uname('b')}", "move-bck", None, 400, "itself"),
    ("POST", f"/v1/buckets/b?bck_to={uname('c')}", "move-bck", None, 400, 'bucket "ais://c" already exists'),
    ("POST", f"/v1/buckets/none?bck_to={uname('x')}", "move-bck", None, 404, "ais://none"),
    ("POST", "/v1/buckets/b?bck_to=aws%2F%40%23%2Fx%2F", "move-bck", None, 501, "remote"),
    ("POST", "/v1/buckets/b?bck_to=zzz%2F%40%23%2Fx%2F", "move-bck", None, 400, "zzz"),
    ("DELETE", "/v1/buckets/none", "delete-listrange", {"objnames": ["a"]}, 404, "ais://none"),
    ("DELETE", "/v1/buckets/b", "delete-listrange", {"template": "{9..1}"}, 400, "errTemplateInvalid"),
    ("DELETE", "/v1/buckets/b", "delete-listrange", {"template": "a%06d"}, 400, "errTemplateInvalid"),
    ("DELETE", "/v1/buckets/b", "delete-listrange", {"template": "{1..99999999}"}, 400, "at most"),
    (
        *("DELETE", "/v1/buckets/b", "delete-listrange"),
        *({"objnames": ["a"], "template": "a"}, 400, "exclude each other"),
    ),
    ("DELETE", "/v1/buckets/b", "delete-listrange", {"objnames": [""]}, 400, "empty"),
    ("DELETE", "/v1/buckets/b", "delete-listrange", {"objnames": "a"}, 400, ""),
    ("DELETE", "/v1/buckets/b", "delete-listrange", "a", 400, "expected an object"),
    ("DELETE", "/v1/buckets/b", "delete-listrange", {"num-workers": -2}, 400, "-1"),
    ("POST", f"/v1/buckets/b?bck_to={uname('x')}", "copy-bck", {"num-workers": -9}, 400, "-1"),
    ("DELETE", "/v1/buckets/b", "evict-listrange", {"template": ""}, 400, "remote bucket (have ais://b)"),
    ("DELETE", "/v1/buckets/b", "evict-remote-bck", None, 400, "expecting remote bucket (have ais://b)"),
    ("POST", "/v1/buckets/b", "prefetch-listrange", {"template": ""}, 400, "remote bucket (have ais://b)"),
    ("POST", "/v1/buckets/b", "copy-listrange", {"objnames": ["a"]}, 400, "onto themselves"),
    ("PUT", "/v1/cluster", "start", {"Kind": "nonsense"}, 400, 'invalid xaction (job) kind "nonsense"'),
    ("PUT", "/v1/cluster", "start", {"Kind": "copy-bck"}, 400, "of its own"),
    ("PUT", "/v1/cluster", "start", {"Kind": "rebalance"}, 400, "errNotEnoughTargets"),
    ("PUT", "/v1/cluster", "start", {"Kind": "resilver"}, 501, "resilver"),
    ("PUT", "/v1/cluster", "stop", {"ID": "", "Kind": ""}, 400, "neither job id nor kind"),
    ("GET", "/v1/cluster?what=status", "", None, 400, "neither job id nor kind"),
]


@pytest.mark.parametrize(("method", "path", "action", "value", "status", "text"), WRONG)
def test_what_cannot_be_is_refused_and_changes_nothing(
    three: Native, method: str, path: str, action: str, value: Any, status: int, text: str
) -> None:
    three.bucket("c")
    answer = act(three, method, path, action, value)
    assert (answer.status, answer.error()["status"]) == (status, status), answer.body
    assert text in answer.error()["message"]
    three.work()
    assert three.names("b") == ["a", "d/b", "d/c"]
    assert three.names("c") == []
    buckets = three("GET", "/v1/buckets", {"action": "list"}).json()
    assert [found["name"] for found in buckets] == ["b", "c"]
    assert ask(three, "status_all").json() is None


def test_eviction_is_refused_with_its_own_code(native: Native) -> None:
    answer = act(native, "DELETE", "/v1/buckets/b", "evict-listrange", {"objnames": ["a"]})
    assert answer.error()["tcode"] == "ErrNotRemoteBck"


def test_questions_about_no_job_are_answered_as_recorded(native: Native) -> None:
    assert ask(native, "qryxstats", kind="lru").json() == {TARGET: []}
    unknown = ask(native, "qryxstats", id="nope")
    assert (unknown.status, unknown.error()["message"]) == (404, '"x-[nope]" not found')
    unknown = ask(native, "status", id="nope")
    gateway = IDENTITY.gateway_id
    assert unknown.error()["message"] == f"p[{gateway}]: x-[nope] does not exist"
    assert (unknown.status, unknown.error()["tcode"]) == (404, "ErrNotFound")
    assert ask(native, "status", kind="nonsense").status == 400
    assert ask(native, "status_all").body == b"null"
    assert native("GET", "/v1/cluster?what=status").status == 400


def test_a_status_by_kind_prefers_what_runs(three: Native) -> None:
    done(three, act(three, "DELETE", "/v1/buckets/b", "delete-listrange", {"template": "x"}))
    last = done(three, act(three, "DELETE", "/v1/buckets/b", "delete-listrange", {"template": "y"}))
    assert ask(three, "status", kind="delete-objects").json()["uuid"] == last
    runs = started(act(three, "DELETE", "/v1/buckets/b", "delete-listrange", {"template": "z"}))
    assert ask(three, "status", kind="delete-objects").json()["uuid"] == runs
    assert ask(three, "status", id=runs, kind="copy-bck").error()["message"].startswith("kind mismatch: ")
    assert ask(three, "status", kind="delete-objects", bck=bck("b")).json()["uuid"] == runs
    assert ask(three, "status", kind="delete-objects", bck=bck("c")).status == 404


def test_stopped_jobs_say_so(three: Native) -> None:
    ids = [
        started(act(three, "DELETE", "/v1/buckets/b", "delete-listrange", {"template": name}))
        for name in ("a", "d/")
    ]
    stop = {"ID": ids[0], "Kind": "", "DaemonID": ""}
    assert act(three, "PUT", "/v1/cluster", "stop", stop).status == 200
    status = ask(three, "status", ID=ids[0]).json()
    assert (status["aborted"], status["err"], status["end_time"] > 0) == (True, "user abort", True)
    [told] = ask(three, "qryxstats", ID=ids[0]).json()[TARGET]
    assert (told["aborted"], told["abort-err"], told["end-time"] > "2026") == (True, "user abort", True)
    assert act(three, "PUT", "/v1/cluster", "stop", {"Kind": "delete-listrange"}).status == 200
    assert act(three, "PUT", "/v1/cluster", "stop", {"ID": "never-was"}).status == 200
    three.work()
    assert three.names("b") == ["a", "d/b", "d/c"]


def test_a_job_that_finds_nothing_to_do_is_known_all_the_same(native: Native) -> None:
    job_id = started(act(native, "PUT", "/v1/cluster", "start", {"Kind": "cleanup", "Bck": bck("b")}))
    status = ask(native, "status", ID=job_id, Kind="cleanup").json()
    assert (status["kind"], status["end_time"] > 0, status["aborted"]) == ("cleanup-store", True, False)
    assert ask(native, "status_all", kind="cleanup-store").json() == [status]
