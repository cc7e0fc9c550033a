"""One child process: started, told, waited for."""

import os
import socket
import subprocess
import sys
from collections.abc import Sequence

import msgspec

from aisle.node.boot import Boot, send_boot
from aisle.node.priority import lower_processor_priority


class Child:
    """A running child. Doorbells go through `control`, which becomes readable when the child rings."""

    def __init__(self, boot: Boot, process: "subprocess.Popen[bytes]", control: socket.socket) -> None:
        self.boot = boot
        self.control = control
        self._process = process

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def tell(self, what: bytes) -> None:
        """Ring the doorbell; a child that is gone or deaf is not waited for."""
        try:
            self.control.send(what)
        except OSError:
            # Its end is noticed as a death; a full socket holds thousands of rings it has not heard.
            pass

    def heard(self) -> bytes:
        """What the child rang since the last call. Raises EOFError when it has died, closing its end."""
        try:
            heard = self.control.recv(4096)
        except BlockingIOError:
            return b""
        except OSError:
            heard = b""
        if not heard:
            raise EOFError
        return heard

    def exit_status(self) -> int | None:
        """The exit status (negative: the signal), or None while it runs."""
        return self._process.poll()

    def kill(self) -> None:
        """Send SIGKILL."""
        self._process.kill()

    def close(self) -> None:
        """Release what the supervisor holds for a child that has ended."""
        self.control.close()


def start_child(boot: Boot, *, inherited: Sequence[int], gives_way: bool) -> Child:
    """Start a process for `boot`; its `control_fd` is filled in here.

    `inherited` are the descriptors it names, which keep their numbers. One that `gives_way` is scheduled
    after the others from its first instruction on.
    """
    own, childs = socket.socketpair()
    own.setblocking(False)
    boot_read, boot_write = os.pipe()
    complete = msgspec.structs.replace(boot, control_fd=childs.fileno())
    try:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "aisle.node.child"),
                *("--role", boot.role, "--index", str(boot.index), "--boot", str(boot_read)),
            ],
            stdin=subprocess.DEVNULL,
            # Standard output belongs to the ready line; whatever a child prints is a message.
            stdout=sys.stderr.fileno(),
            pass_fds=(boot_read, childs.fileno(), *inherited),
            # Calling this between fork and exec is safe here: the supervisor has no threads.
            preexec_fn=lower_processor_priority if gives_way else None,  # noqa: PLW1509
        )
    except OSError:
        own.close()
        os.close(boot_write)
        raise
    finally:
        childs.close()
        os.close(boot_read)
    send_boot(boot_write, complete)
    return Child(complete, process, own)
