"""From an accepted socket to a transport: uvloop's own, or aiofastnet's.

aiofastnet brings `sendfile`, which uvloop lacks, and a TLS that costs 0.6 times the processor time
of uvloop's; it is pinned and imported in one place. Both are transports as asyncio describes them.
"""

import asyncio
import importlib
import socket
import ssl
from collections.abc import Callable, Coroutine
from typing import Final, cast

_SHUTDOWN_TIMEOUT_S: Final = 5.0
# A quarter of the library's own buffers: they are kept per connection, and larger ones gain nothing.
_TLS_BUFFER_BYTES: Final = 4 * (16 * 1024 + 64)

_Connect = Callable[..., Coroutine[object, object, tuple[asyncio.Transport, asyncio.Protocol]]]


async def open_transport(
    sock: socket.socket,
    protocol: asyncio.Protocol,
    *,
    implementation: str,
    context: ssl.SSLContext | None,
    handshake_timeout_s: float,
) -> None:
    """Connect an accepted socket with a protocol; with a context after the TLS handshake.

    Raises OSError (ssl.SSLError and TimeoutError are such) when the peer gives up or misbehaves. The
    socket is then closed.
    """
    loop = asyncio.get_running_loop()
    options: dict[str, object] = {}
    if context is not None:
        options["ssl"] = context
        options["ssl_handshake_timeout"] = handshake_timeout_s
        options["ssl_shutdown_timeout"] = _SHUTDOWN_TIMEOUT_S
    try:
        if implementation == "aiofastnet":
            if context is not None:
                options["ssl_incoming_bio_size"] = options["ssl_outgoing_bio_size"] = _TLS_BUFFER_BYTES
            connect = cast("_Connect", importlib.import_module("aiofastnet").connect_accepted_socket)
            await connect(loop, lambda: protocol, sock, **options)
        else:
            await cast("_Connect", loop.connect_accepted_socket)(lambda: protocol, sock, **options)
    except BaseException:
        sock.close()
        raise
