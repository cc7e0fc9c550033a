"""A program that behaves like a node's processes and stores nothing: it tries out the node fixture.

It prints the ready line, has three children with a node's command lines, and they end when their
pipe to it closes. `--fail` ends it at once with a message, `--mute` lets it say nothing.
"""

import os
import signal
import subprocess
import sys
import time

CHILD = "import os; os.read(0, 1)"
ROLES = (("committer", 0), ("worker", 0), ("worker", 1), ("jobs", 0))


def main() -> None:
    """Run until SIGTERM."""
    print("standin: arguments", *sys.argv[1:], file=sys.stderr)
    if "--fail" in sys.argv:
        sys.exit("standin: cannot start")
    if "--mute" in sys.argv:
        time.sleep(60)
    reader, writer = os.pipe()
    children = [
        subprocess.Popen(
            [sys.executable, "-c", CHILD, "-m", "aisle.node.child", "--role", role, "--index", str(index)],
            stdin=reader,
        )
        for role, index in ROLES
    ]
    print("aisle ready http://127.0.0.1:4321", flush=True)
    signal.sigwait([signal.SIGTERM])
    os.close(writer)
    for child in children:
        child.wait()


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    main()
