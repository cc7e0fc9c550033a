"""The exit codes of `ais`; the manual lists them."""

FAILED = 1
USAGE = 2  # click's own
NOT_FOUND = 3
UNREACHABLE = 4
INTERRUPTED = 130  # as a shell reports SIGINT
PIPE_CLOSED = 141  # as a shell reports SIGPIPE
TERMINATED = 143  # as a shell reports SIGTERM
