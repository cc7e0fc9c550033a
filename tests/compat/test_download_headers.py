"""Headers of a job: sent to the hosts of its links and to nobody else, kept wrapped, never shown."""

import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from aisle.api.native.download_status import wire_status
from aisle.gateway.sealing import Sealer
from aisle.gateway.users import MasterKey
from support.downloads import Rig, with_rig
from support.faulty import Asked, Writer, faulty_server, reply
from support.folders import files_below
from support.native import NativeClient
from support.nginx import running_nginx
from support.node import RunningNode, running_node

SECRET = "hf_verysecrettoken0123456789"
HEADERS = {"Authorization": [f"Bearer {SECRET}"], "X-Kind": ["a", "b"]}


async def _hello(_asked: Asked, writer: Writer) -> None:
    await reply(writer, 200, b"hello")


@with_rig()
async def test_headers_are_sent_and_shown_nowhere(rig: Rig) -> None:
    link = rig.server.on("/x", _hello)
    status = await rig.download(link, headers=HEADERS)
    assert rig.content() == b"hello"
    [asked] = rig.server.asked
    assert asked.headers["authorization"] == f"Bearer {SECRET}"
    assert asked.headers["x-kind"] == "b"  # the last of two; the server keeps one
    kept = b"".join(document.value for document in rig.store.list(""))
    assert rig.board.find(status.record.id).record.headers is not None
    for shown in (repr(status), msgspec.json.encode(wire_status(status, only_active=False)).decode()):
        assert SECRET not in shown
    assert SECRET.encode() not in kept
    assert b"X-Kind" not in kept


@with_rig()
async def test_a_redirect_elsewhere_does_not_get_them(rig: Rig) -> None:
    async with faulty_server() as other:
        there = other.on("/there", _hello)

        async def here(_asked: Asked, writer: Writer) -> None:
            await reply(writer, 302, headers={"Location": "/again"})

        async def again(_asked: Asked, writer: Writer) -> None:
            await reply(writer, 302, headers={"Location": there})

        rig.server.on("/again", again)
        await rig.download(rig.server.on("/here", here), headers=HEADERS)
        assert rig.content() == b"hello"
        assert all("authorization" in asked.headers for asked in rig.server.asked)
        assert len(rig.server.asked) == 2
        [asked] = other.asked
        assert "authorization" not in asked.headers
        assert "x-kind" not in asked.headers


@with_rig()
async def test_jobs_beside_each_other_do_not_get_each_others(rig: Rig) -> None:
    link = rig.server.on("/x", _hello)
    await rig.download(link, headers=HEADERS, object_name="with")
    await rig.download(link, object_name="without")
    assert ["authorization" in asked.headers for asked in rig.server.asked] == [True, False]


@with_rig()
async def test_a_refused_request_does_not_tell_them(rig: Rig) -> None:
    async def refuse(asked: Asked, writer: Writer) -> None:
        await reply(writer, 401, asked.headers["authorization"].encode())

    status = await rig.download(rig.server.on("/x", refuse), headers=HEADERS)
    assert status.progress.failed == 1
    assert SECRET not in repr(status)


@with_rig()
async def test_a_worker_that_starts_again_still_has_them(rig: Rig) -> None:
    link = rig.server.on("/x", _hello)
    await rig.stop()
    job_id = await rig.single(link, headers=HEADERS)
    rig.start()
    await rig.ended(job_id)
    assert rig.server.asked[0].headers["authorization"] == f"Bearer {SECRET}"


@with_rig()
async def test_a_job_whose_headers_cannot_be_read_ends_with_a_reason(rig: Rig) -> None:
    await rig.stop()
    job_id = await rig.single(rig.server.on("/x", _hello), headers=HEADERS)
    rig.sealer = Sealer([MasterKey.of(b"another")])
    rig.start()
    status = await rig.ended(job_id)
    assert "earlier_master_keys" in status.progress.error
    assert rig.server.asked == []


@pytest.mark.program("nginx")
def test_no_file_of_a_node_holds_them(tmp_path: Path) -> None:
    """A node without credentials is killed in the middle: the job goes on, its folders tell nothing."""
    state = tmp_path / "state"
    with tempfile.TemporaryDirectory(prefix="downloader-headers-") as name:
        root = Path(name)
        root.chmod(0o755)
        for number in range(60):
            (root / f"o{number:03d}").write_bytes(b"x" * 1000)
        refuse = f'if ($http_authorization != "Bearer {SECRET}") {{ return 401; }}'
        guarded = f"location /d/ {{ {refuse} alias {root}/; }}"
        with (
            running_nginx(root, extra=guarded) as source,
            running_node(env={"XDG_STATE_HOME": str(state)}) as node,
        ):
            client = NativeClient(node.host, node.port)
            asked = {
                "type": "range",
                "bucket": {"name": "b"},
                "template": f"{source.url}/d/o{{000..059}}",
                "headers": HEADERS,
                "limits": {"connections": 1, "bytes_per_hour": 3600 * 20_000},
            }
            answer = client.request("POST", "/v1/download", body=json.dumps(asked).encode())
            assert answer.status == 200, answer.body
            job_id = json.loads(answer.body)["id"]
            _until(node, job_id, lambda told: told["finished_cnt"] > 0)
            node.kill()
            node.restart()
            told = _until(node, job_id, lambda told: told["state"] != "running")
            assert (told["finished_cnt"], told["error_cnt"]) == (60, 0)
            node.kill()  # nothing goes away while it is read
            for file in files_below(*node.data):
                assert SECRET.encode() not in file.read_bytes(), file
            assert SECRET not in node.stderr_text()
    [key] = state.rglob("*.key")
    assert key.stat().st_mode & 0o077 == 0


def _until(node: RunningNode, job_id: str, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    end_s = time.monotonic() + 100
    while True:
        client = NativeClient(node.host, node.port)
        told: dict[str, Any] = json.loads(client.request("GET", f"/v1/download?id={job_id}").body)
        if holds(told):
            return told
        assert time.monotonic() < end_s, told
        time.sleep(0.05)
