import json

import pytest

from support.cli import run_ais
from support.fake_node import FakeNode, FakeObject, snapshot


@pytest.fixture
def node() -> FakeNode:
    objects = {b"dir/a": FakeObject(b"A"), b"b": FakeObject(b"B")}
    return FakeNode(buckets={"data": objects, "other": {}})


def stored(node: FakeNode, bucket: str) -> list[str]:
    return sorted(key.decode() for key in node.buckets[bucket])


@pytest.mark.parametrize(
    ("to", "name"),
    [("ais://other", "dir/a"), ("ais://other/x", "x"), ("other/new/", "new/a"), ("ais://other//x", "/x")],
)
def test_an_object_is_copied_under_its_own_name_or_another(node: FakeNode, to: str, name: str) -> None:
    result = run_ais(node, "cp", "ais://data/dir/a", to)
    assert result.stdout == f"COPY ais://data/dir/a => ais://other/{name}\n"
    assert stored(node, "other") == [name]


def test_a_missing_source_or_destination_is_named(node: FakeNode) -> None:
    result = run_ais(node, "cp", "ais://data/none", "ais://other")
    assert (result.exit_code, result.stderr.splitlines()[0]) == (3, "Error: ais://data/none does not exist")
    result = run_ais(node, "cp", "ais://data/b", "ais://nowhere")
    first = 'Error: bucket "ais://nowhere" does not exist'
    assert (result.exit_code, result.stderr.splitlines()[0]) == (3, first)


def test_a_dry_run_copies_no_object(node: FakeNode) -> None:
    result = run_ais(node, "cp", "ais://data/b", "ais://other", "--dry-run")
    assert result.stdout == "[dry run] COPY ais://data/b => ais://other/b\n"
    told = json.loads(run_ais(node, "cp", "ais://data/b", "ais://other/x/", "-n", "--json").stdout)
    assert told == {"dry_run": True, "copied": "ais://data/b", "to": "ais://other/x/b"}
    assert run_ais(node, "cp", "ais://data/none", "ais://other", "-n").exit_code == 3
    assert stored(node, "other") == []


@pytest.mark.parametrize(("to", "name"), [("other", "x-dir/a"), ("other/new/", "new/x-a")])
def test_the_name_of_one_copy_may_begin_with_a_text_too(node: FakeNode, to: str, name: str) -> None:
    assert run_ais(node, "cp", "ais://data/dir/a", to, "--prepend", "x-").exit_code == 0
    assert stored(node, "other") == [name]


def test_a_bucket_is_copied_by_a_job(node: FakeNode) -> None:
    result = run_ais(node, "cp", "ais://data", "ais://other", "--prefix", "dir/", "--wait")
    assert result.stdout == "Copying ais://data => ais://other ...Done. 3 objects, 3.00KiB\n"
    post = next(call for call in node.calls if call.method == "POST")
    assert post.target == "/v1/buckets/data?provider=ais&bck_to=ais%2F%40%23%2Fother%2F"
    assert node.messages[0]["value"] == {
        "synchronize": False,
        "latest-ver": False,
        "prepend": "",
        "dry_run": False,
        "num-workers": 0,
        "coer": False,
        "prefix": "dir/",
    }


def test_how_buckets_of_others_are_copied_can_be_chosen(node: FakeNode) -> None:
    result = run_ais(node, "cp", "ais://other", "ais://data", "--sync", "--latest", "--cached", "--wait")
    assert result.exit_code == 0, result.stderr
    post = next(call for call in node.calls if call.method == "POST")
    assert "presence=2" in post.target
    told = node.messages[0]["value"]
    assert isinstance(told, dict)
    assert (told["synchronize"], told["latest-ver"]) == (True, True)
    assert run_ais(node, "cp", "s3://far", "ais://data", "--all", "--cached").exit_code == 2
    assert run_ais(node, "cp", "s3://far/a", "ais://data", "--sync").exit_code == 2


@pytest.mark.parametrize(
    ("option", "selected"),
    [
        (["--list", "dir/a, b"], {"objnames": ["dir/a", "b"]}),
        (["--template", "x{1..3}"], {"template": "x{1..3}"}),
    ],
)
def test_some_objects_are_copied_below_a_text(
    node: FakeNode, option: list[str], selected: dict[str, object]
) -> None:
    told = json.loads(run_ais(node, "cp", "data", "other/new/", *option, "--json").stdout)
    assert (told["kind"], told["state"], told["objects"]) == ("copy-listrange", "finished", 3)
    value = node.messages[0]["value"]
    assert (value["prepend"], value["tobck"]["name"]) == ("new/", "other")
    assert value.items() >= selected.items()


def test_a_long_copy_goes_on_and_a_failed_one_tells_why(
    node: FakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aisle.cli.follow.GRACE_S", 0)
    node.others["new-job"] = [snapshot("new-job", "copy-bck", running=True)]
    result = run_ais(node, "cp", "data", "other")
    assert (result.exit_code, result.stdout) == (0, "Copying ais://data => ais://other\n")
    assert "ais show job new-job --progress" in result.stderr
    broken = snapshot("new-job", "copy-bck", aborted=True, **{"abort-err": "no space left"})
    node.others["new-job"] = [broken]
    result = run_ais(node, "cp", "data", "other")
    assert (result.exit_code, result.stdout, result.stderr) == (1, "", "Error: no space left\n")


@pytest.mark.parametrize(
    "arguments",
    [
        ["cp", "data", "other", "--prefix", "a", "--list", "b"],
        ["cp", "data/x", "other", "--template", "a"],
        ["cp", "data/x", "other/y", "--prepend", "a"],
        ["cp", "data", "other", "--list", "a,,b"],
        ["cp", "data", "other", "--template", ""],
        ["mv", "data", "other/x"],
        ["rm", "data/x", "--list", "a"],
        ["rm", "data", "other", "--template", "a"],
        ["rm", "-r", "data", "--template", "a"],
    ],
)
def test_contradictions_are_refused_before_anything_is_asked(node: FakeNode, arguments: list[str]) -> None:
    assert run_ais(node, *arguments).exit_code == 2
    assert node.calls == []


def test_an_object_is_renamed_or_moved(node: FakeNode) -> None:
    assert run_ais(node, "mv", "ais://data/b", "c").stdout == "ais://data/b => ais://data/c\n"
    assert stored(node, "data") == ["c", "dir/a"]
    told = json.loads(run_ais(node, "mv", "ais://data/c", "ais://other", "--json").stdout)
    assert told == {"moved": "ais://data/c", "to": "ais://other/c"}
    assert (stored(node, "data"), stored(node, "other")) == (["dir/a"], ["c"])


def test_the_new_place_may_begin_with_the_same_bucket(node: FakeNode) -> None:
    assert run_ais(node, "mv", "data/b", "data/c").stdout == "ais://data/b => ais://data/c\n"
    assert stored(node, "data") == ["c", "dir/a"]
    assert run_ais(node, "mv", "data/c", "data/dir/").stdout == "ais://data/c => ais://data/dir/c\n"
    assert stored(node, "data") == ["dir/a", "dir/c"]


def test_a_new_name_that_ends_with_a_slash_is_a_folder(node: FakeNode) -> None:
    assert run_ais(node, "mv", "ais://data/b", "new/").stdout == "ais://data/b => ais://data/new/b\n"
    assert stored(node, "data") == ["dir/a", "new/b"]
    # The same bucket is no folder, but where the object is.
    result = run_ais(node, "mv", "ais://data/dir/a", "data/")
    assert stored(node, "data") == ["dir/a", "new/b"], result.stdout


@pytest.mark.parametrize("form", [["mv"], ["bucket", "mv"]])
def test_a_bucket_is_renamed(node: FakeNode, form: list[str]) -> None:
    assert run_ais(node, *form, "ais://data", "ais://new").stdout == (
        "rename-bucket[new-job] ais://data => ais://new ...\nDone.\n"
    )
    assert node.messages[0]["action"] == "move-bck"


@pytest.mark.parametrize("form", [["rm"], ["rmo"], ["object", "rm"]])
def test_selected_objects_are_removed_by_a_job(node: FakeNode, form: list[str]) -> None:
    result = run_ais(node, *form, "ais://data", "--template", "x{1..3}")
    assert result.stdout == "deleted 3 objects\n"
    assert node.messages[0] == {"action": "delete-listrange", "name": "", "value": {"template": "x{1..3}"}}
    told = json.loads(run_ais(node, *form, "data", "--list", "a", "--json").stdout)
    assert (told["id"], told["error"]) == ("new-job", "")


def test_what_could_not_be_removed_is_told(node: FakeNode) -> None:
    node.others["new-job"] = [
        snapshot("new-job", "delete-listrange", objects=1, err="t[x]: ais://data/nope does not exist")
    ]
    result = run_ais(node, "rm", "data", "--list", "b,nope")
    assert (result.exit_code, result.stdout) == (1, "deleted 1 object\n")
    assert result.stderr == "Error: t[x]: ais://data/nope does not exist\n"


def test_jobs_of_all_kinds_are_listed_waited_for_and_stopped(node: FakeNode) -> None:
    node.others = {
        "c1": [snapshot("c1", "copy-bck", running=True), snapshot("c1", "copy-bck", objects=2)],
        "d1": [snapshot("d1", "delete-listrange", objects=1, err="failed")],
    }
    assert run_ais(node, "show", "job", "--all").stdout.splitlines() == [
        "JOB ID  STATUS    ERRORS  DESCRIPTION",
        "c1      Running   0       copy-bucket: test c1",
        "d1      Finished  1       delete-objects: test d1",
    ]
    assert "c1" not in run_ais(node, "show", "job", "delete-objects", "--all").stdout
    waited = run_ais(node, "job", "wait", "c1")
    assert (waited.exit_code, waited.stdout.splitlines()[0]) == (
        0,
        "copy-bucket[c1] finished: 2 objects, 2.00KiB",
    )
    assert run_ais(node, "wait", "job", "d1").exit_code == 1
    told = json.loads(run_ais(node, "show", "job", "d1", "--json").stdout)
    assert (told["state"], told["objects"], told["error"]) == ("finished", 1, "failed")
    assert run_ais(node, "job", "abort", "c1").stdout == "Stopped copy-bucket job c1\n"
    assert node.messages[-1] == {"action": "stop", "value": {"id": "c1"}}
    result = run_ais(node, "show", "job", "none")
    assert (result.exit_code, result.stderr.splitlines()[0]) == (3, "Error: job none does not exist")
