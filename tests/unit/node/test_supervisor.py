"""The supervisor, without any children."""

from collections.abc import Iterator
from dataclasses import replace
from typing import cast

import pytest

from aisle.config import NodeConfig
from aisle.node.site import Site
from aisle.node.supervisor import Supervisor

CONFIG = NodeConfig(workers=2)


@pytest.fixture
def supervisor() -> Iterator[Supervisor]:
    made = Supervisor(CONFIG, cast("Site", None), announce=lambda: None, reload=lambda: CONFIG)
    yield made
    made._close()


@pytest.mark.parametrize("change", [{"workers": 3}, {"insecure": True}, {"listen": ("127.0.0.1:1",)}])
def test_what_only_a_restart_changes_is_kept_and_told(
    supervisor: Supervisor, change: dict[str, object], caplog: pytest.LogCaptureFixture
) -> None:
    assert supervisor._with_fixed(replace(CONFIG, **change)) == CONFIG
    assert f"{next(iter(change))} has changed: that needs a restart" in caplog.text


def test_settings_that_are_the_same_are_not_told_of(
    supervisor: Supervisor, caplog: pytest.LogCaptureFixture
) -> None:
    changed = replace(CONFIG, log_level="debug")
    assert supervisor._with_fixed(changed) == changed
    assert caplog.text == ""
