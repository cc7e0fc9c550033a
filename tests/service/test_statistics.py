"""What the node counts, under the names of AIStore's clients."""

from typing import Any

from service.calling import Native


def tracker(native: Native, node: str) -> Any:
    answer = native("GET", "/v1/reverse/daemon?what=node_stats", ais_node_id=node)
    return answer.json()["tracker"]


def test_a_target_counts_what_is_done_with_objects(native: Native) -> None:
    before = tracker(native, "bRaSsqgO")
    assert set(before) == {"state.flags", "up.ns.time"}
    native.put("b/o", b"hello")
    for _ in range(2):
        native("GET", "/v1/objects/b/o?provider=ais")
    native("HEAD", "/v1/objects/b/o?provider=ais")
    native("GET", "/v1/objects/b/none?provider=ais")
    native.names("b")
    native("DELETE", "/v1/objects/b/o?provider=ais")
    after = tracker(native, "bRaSsqgO")
    counts = {name: after[name] for name in after if name.endswith((".n", ".size"))}
    assert counts == {
        "del.n": 1,
        "err.get.n": 1,
        "get.n": 3,
        "get.size": 10,
        "head.n": 1,
        "lst.n": 1,
        "put.n": 1,
        "put.size": 5,
    }
    assert after["get.ns.total"] > 0
    assert list(after) == sorted(after)


def test_a_gateway_counts_requests_only(native: Native) -> None:
    native.put("b/o", b"hello")
    assert set(tracker(native, "bRaSsqgO-g")) == {"put.n", "state.flags", "up.ns.time"}


def test_every_name_has_a_kind(native: Native) -> None:
    native.put("b/o", b"hello")
    for node in ("bRaSsqgO", "bRaSsqgO-g"):
        kinds = native("GET", "/v1/reverse/daemon?what=metrics", ais_node_id=node).json()
        assert set(tracker(native, node)) <= set(kinds)
        assert set(kinds.values()) <= {"counter", "size", "total", "gauge", "special"}


def test_only_a_target_has_disks(native: Native) -> None:
    for what in ("disk", "mountpaths"):
        refused = native("GET", f"/v1/reverse/daemon?what={what}", ais_node_id="bRaSsqgO-g")
        text = f"invalid '/v1/daemon' request: unrecognized 'what={what}' query"
        assert (refused.status, refused.json()["message"]) == (400, text)
        assert native("GET", f"/v1/daemon?what={what}").json()["message"] == text
    disks = native("GET", "/v1/reverse/daemon?what=disk", ais_node_id="bRaSsqgO").json()
    assert list(disks["mountpaths"]) == ["/data/mp1"]
    mountpaths = native("GET", "/v1/reverse/daemon?what=mountpaths", ais_node_id="bRaSsqgO").json()
    assert mountpaths == {"available": ["/data/mp1"], "waiting_dd": [], "disabled": []}
