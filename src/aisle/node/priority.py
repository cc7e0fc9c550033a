"""Background work gives way: processor and disk are first for those who serve."""

import logging
import os
import sys

_log = logging.getLogger(__name__)

_NICE = 15
# The C library has no wrapper for ioprio_set, so it is called by its number, which differs by processor
# (include/uapi/asm-generic/unistd.h and arch/x86/entry/syscalls/syscall_64.tbl of Linux).
_IOPRIO_SET = {"x86_64": 251, "aarch64": 30, "riscv64": 30}
_WHO_PROCESS = 1
_CLASS_IDLE = 3
_CLASS_SHIFT = 13


def lower_processor_priority() -> None:
    """Be scheduled after the serving processes; harmless when called again."""
    os.nice(max(0, _NICE - os.nice(0)))


def lower_disk_priority() -> None:
    """Let the serving processes' reads and writes go first; where the system refuses, go on as before."""
    number = _IOPRIO_SET.get(os.uname().machine)
    if sys.platform != "linux" or number is None:
        return
    import ctypes

    library = ctypes.CDLL(None, use_errno=True)
    # 0 means the calling thread; threads started later inherit its class.
    if library.syscall(number, _WHO_PROCESS, 0, _CLASS_IDLE << _CLASS_SHIFT) != 0:
        _log.debug("no idle disk class: %s", os.strerror(ctypes.get_errno()))
