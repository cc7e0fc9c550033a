"""Naming nodes."""

import pytest

from aisle.cli.clusters import found_node
from aisle.client.cluster import ClusterMap, Node
from aisle.errors import NotFound

# Ids are chance: these look like what stands around them.
MEMBERS = ClusterMap(
    gateways={"pxP-g": Node("pxP-g", "proxy")},
    targets={"pxP": Node("pxP", "target"), "t1": Node("t1", "target")},
)


@pytest.mark.parametrize(
    ("text", "node_id"),
    [("pxP", "pxP"), ("t[pxP]", "pxP"), ("p[pxP-g]", "pxP-g"), ("p[pxP-g][P]", "pxP-g"), ("t1", "t1")],
)
def test_nodes_are_found_by_id_and_by_what_tables_show(text: str, node_id: str) -> None:
    assert found_node(MEMBERS, text).id == node_id


@pytest.mark.parametrize("text", ["p[pxP]", "t[pxP-g]", "x[t1]", "P", "t[", "", "nobody"])
def test_a_node_that_is_not_there_is_told(text: str) -> None:
    with pytest.raises(NotFound):
        found_node(MEMBERS, text)
