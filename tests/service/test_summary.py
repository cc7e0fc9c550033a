"""Summaries of buckets: asked for once, polled for, counted exactly."""

import json
from typing import Any

import pytest

from service.calling import Answer, Native

SIZES = (0, 1, 4, 20_000)


@pytest.fixture
def filled(native: Native) -> Native:
    for number, size in enumerate(SIZES):
        native.put(f"b/d/{number}", b"x" * size)
    native.put("b/other", b"xyz")
    native.bucket("empty")
    return native


def ask(native: Native, path: str, job: str = "", prefix: str = "") -> Answer:
    value = {"uuid": job, "prefix": prefix, "cached": True, "present": True}
    return native("GET", path, {"action": "summary-bck", "name": "", "value": value})


def summary(native: Native, path: str = "/v1/buckets/b?provider=ais", prefix: str = "") -> Any:
    begun = ask(native, path, prefix=prefix)
    assert (begun.status, begun.headers["content-type"]) == (202, "text/plain; charset=utf-8")
    done = ask(native, path, begun.body.decode(), prefix)
    assert done.status == 200
    return done.json()


def test_a_summary_counts_exactly(filled: Native) -> None:
    (found,) = summary(filled)
    assert found["name"] == "b"
    assert found["ObjCount"] == {"obj_count_present": "5", "obj_count_remote": "0"}
    assert found["ObjSize"] == {"obj_min_size": 0, "obj_avg_size": 4002, "obj_max_size": 20_000}
    sizes = found["TotalSize"]
    assert sizes["size_all_present_objs"] == str(sum(SIZES) + 3)
    # The large one takes five whole blocks of 4 KiB.
    assert sizes["size_on_disk"] == str(20_480 + 8)
    assert (found["used_pct"], found["is_present"]) == (0, False)


def test_a_prefix_selects(filled: Native) -> None:
    (found,) = summary(filled, prefix="d/")
    assert found["ObjCount"]["obj_count_present"] == "4"
    (nothing,) = summary(filled, prefix="none")
    assert nothing["ObjCount"]["obj_count_present"] == "0"
    assert nothing["ObjSize"] == {"obj_min_size": 0, "obj_avg_size": 0, "obj_max_size": 0}


def test_all_buckets_of_a_provider_are_summed_up_together(filled: Native) -> None:
    found = summary(filled, "/v1/buckets?provider=ais")
    assert [(each["name"], each["ObjCount"]["obj_count_present"]) for each in found] == [
        ("b", "5"),
        ("empty", "0"),
    ]


def test_the_same_id_gives_the_same_summary_again(filled: Native) -> None:
    path = "/v1/buckets/b?provider=ais"
    job = ask(filled, path).body.decode()
    first = ask(filled, path, job).json()
    filled.put("b/late", b"x")
    assert ask(filled, path, job).json() == first
    assert summary(filled)[0]["ObjCount"]["obj_count_present"] == "6"


def test_heads_tell_a_summary_beside_the_properties(filled: Native) -> None:
    path = "/v1/buckets/b?provider=ais&presence=0&bsumm_remote=True"
    begun = filled("HEAD", path)
    job = begun.headers["ais-xaction-id"]
    assert (begun.status, "ais-bucket-summ" in begun.headers) == (202, False)
    done = filled("HEAD", f"{path}&uuid={job}")
    assert (done.status, done.headers["ais-xaction-id"]) == (200, job)
    assert json.loads(done.headers["ais-bucket-props"])["provider"] == "ais"
    told = json.loads(done.headers["ais-bucket-summ"])
    assert (told["ObjCount"]["obj_count_present"], told["is_present"]) == ("5", True)
    below = filled("HEAD", f"/v1/buckets/b/d%2F?provider=ais&bsumm_remote=false&uuid={job}")
    assert json.loads(below.headers["ais-bucket-summ"])["ObjCount"]["obj_count_present"] == "4"


@pytest.mark.parametrize(("prefix", "count"), [("d/", "4"), ("d/1", "1"), ("nöne/%25", "0")])
def test_a_summary_goes_on_with_the_prefix_that_it_began_with(
    filled: Native, prefix: str, count: str
) -> None:
    begun = filled("HEAD", f"/v1/buckets/b/{prefix}?provider=ais&bsumm_remote=True")
    job = begun.headers["ais-xaction-id"]
    done = filled("HEAD", f"/v1/buckets/b?provider=ais&bsumm_remote=True&uuid={job}")
    assert (done.status, done.headers["ais-xaction-id"]) == (200, job)
    assert json.loads(done.headers["ais-bucket-summ"])["ObjCount"]["obj_count_present"] == count
    assert filled("HEAD", f"/v1/buckets/b?bsumm_remote=True&uuid={job}%C3%BC").status == 404


@pytest.mark.parametrize("job", ["x", "nosuchsummary", "65000000aaaaaa00000000", "\u00fc" * 20])
def test_ids_that_were_never_given_out_are_not_found(filled: Native, job: str) -> None:
    answer = ask(filled, "/v1/buckets/b?provider=ais", job)
    assert (answer.status, answer.json()["status"]) == (404, 404)


def test_an_old_id_is_not_found(filled: Native) -> None:
    path = "/v1/buckets/b?provider=ais"
    job = ask(filled, path).body.decode()
    for _ in range(4):
        # Each tick of this clock is a millisecond.
        for _ in range(900_000):
            filled.clock()
    assert ask(filled, path, job).status == 404


def test_a_missing_bucket_is_told_at_once(filled: Native) -> None:
    answer = ask(filled, "/v1/buckets/none?provider=ais")
    assert (answer.status, answer.json()["tcode"]) == (404, "ErrBckNotFound")
    head = filled("HEAD", "/v1/buckets/none?provider=ais&presence=0&bsumm_remote=True")
    assert (head.status, head.error()["tcode"]) == (404, "ErrBckNotFound")


def test_a_prefix_in_the_path_needs_a_summary(filled: Native) -> None:
    assert filled("HEAD", "/v1/buckets/b/d?provider=ais").status == 400
