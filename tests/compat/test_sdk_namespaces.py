"""Buckets in namespaces of the node itself, through AIStore's own SDK, which calls them `@#NAME`."""

from collections.abc import Iterator

import pytest
import requests
from aistore.sdk import Bucket, Client
from aistore.sdk.errors import ErrObjNotFound
from aistore.sdk.namespace import Namespace

from support.node import running_node

TEAM = Namespace(name="team")


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with running_node(workers=2) as node:
        yield Client(node.url, timeout=(3, 20))


def names(bucket: Bucket) -> list[str]:
    return [entry.name for entry in bucket.list_all_objects()]


def test_a_bucket_of_a_namespace_is_another_one(client: Client) -> None:
    everybodys = client.bucket("one").create()
    teams = client.bucket("one", namespace=TEAM).create()
    teams.object("a b").get_writer().put_content(b"the team's")
    assert teams.object("a b").get_reader().read_all() == b"the team's"
    assert teams.object("a b").get_reader(direct=True).read_all() == b"the team's"
    assert names(teams) == ["a b"]
    with pytest.raises(ErrObjNotFound):
        everybodys.object("a b").get_reader().read_all()
    listed = [(each.name, each.namespace.name) for each in client.cluster().list_buckets() if each.namespace]
    assert listed == [("one", ""), ("one", "team")]
    everybodys.delete()
    assert names(teams) == ["a b"]
    assert teams.summary()["namespace"] == {"uuid": "", "name": "team"}
    teams.delete()


def test_objects_go_from_one_namespace_to_another(client: Client) -> None:
    teams = client.bucket("two", namespace=TEAM).create()
    everybodys = client.bucket("two")
    teams.object("x").get_writer().put_content(b"x")
    assert client.job(teams.copy(everybodys)).wait(timeout=40).success
    assert names(everybodys) == ["x"]
    everybodys.object("x").copy(teams.object("y"))
    (job_id,) = everybodys.objects(obj_names=["x"]).copy(teams, prepend="p/")
    assert client.job(job_id).wait(timeout=10).success
    assert names(teams) == ["p/x", "x", "y"]
    assert client.job(teams.rename("renamed")).wait(timeout=10).success
    assert names(client.bucket("renamed", namespace=TEAM)) == ["p/x", "x", "y"]


@pytest.mark.parametrize("namespace", ["@#team", "#team"])
def test_a_namespace_is_listed_as_either_form_says(client: Client, namespace: str) -> None:
    client.bucket("three", namespace=TEAM).create()
    client.bucket("three").create(exist_ok=True)
    url = f"{client.cluster().get_primary_url()}/v1/buckets"
    asked = {"provider": "ais", "namespace": namespace}
    answer = requests.get(url, params=asked, json={"action": "list"}, timeout=20)
    listed = [(each["name"], each["namespace"]) for each in answer.json() if each["name"] == "three"]
    assert listed == [("three", {"uuid": "", "name": "team"})]
    client.bucket("three", namespace=TEAM).delete()
