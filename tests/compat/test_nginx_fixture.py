"""The web server fixture: it serves ranges and is gone afterwards."""

import socket
from pathlib import Path

import pytest

from support.native import NativeClient
from support.nginx import running_nginx


@pytest.mark.program("nginx")
def test_nginx_serves_a_folder_with_ranges_and_ends(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / "file.txt").write_bytes(b"0123456789")
    with running_nginx(tmp_path) as server:
        answer = NativeClient("127.0.0.1", server.port).request(
            "GET", "/file.txt", headers={"Range": "bytes=3-5"}
        )
        assert (answer.status, answer.body) == (206, b"345")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", server.port))
