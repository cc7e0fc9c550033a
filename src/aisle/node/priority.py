"""Background work gives way: processor and disk are first for those who serve."""

import logging
import os
import struct
import sys

_log = logging.getLogger(__name__)

_NICE = 15
_SLICE_NS = 100_000  # the shortest that the kernel takes
# The C library has no wrappers for these, so they are called by their numbers, which differ by processor
# (include/uapi/asm-generic/unistd.h and arch/x86/entry/syscalls/syscall_64.tbl of Linux).
_IOPRIO_SET = {"x86_64": 251, "aarch64": 30, "riscv64": 30}
_SCHED_SETATTR = {"x86_64": 314, "aarch64": 274, "riscv64": 274}
_WHO_PROCESS = 1
_CLASS_IDLE = 3
_CLASS_SHIFT = 13
# struct sched_attr: size, policy, flags, nice, priority, runtime, deadline, period.
_SCHED_ATTR = struct.Struct("=IIQiIQQQ")


def lower_processor_priority() -> None:
    """Be scheduled after the serving processes; harmless when called again."""
    os.nice(max(0, _NICE - os.nice(0)))


def lower_disk_priority() -> None:
    """Let the serving processes' reads and writes go first; where the system refuses, go on as before."""
    # 0 means the calling thread; threads started later inherit its class.
    _call(_IOPRIO_SET, _WHO_PROCESS, 0, _CLASS_IDLE << _CLASS_SHIFT)


def shorten_time_slices() -> None:
    """Ask for the processor often and briefly, at no larger share of it.

    Who wakes up to answer a request then need not wait until a writer has had its turn of milliseconds. The
    calling thread gets it, and those it starts later. Linux heeds it since 6.12 (sched_setattr(2), with
    `sched_runtime`); where the system refuses, all goes on as before.
    """
    if sys.platform != "linux" or os.sched_getscheduler(0) != os.SCHED_OTHER:
        return  # whoever chose another policy for this node knows why
    nice = os.getpriority(os.PRIO_PROCESS, 0)
    attributes = _SCHED_ATTR.pack(_SCHED_ATTR.size, os.SCHED_OTHER, 0, nice, 0, _SLICE_NS, 0, 0)
    _call(_SCHED_SETATTR, 0, attributes, 0)


def _call(numbers: dict[str, int], *arguments: int | bytes) -> None:
    """A system call; one that fails, or is not known on this machine, is no more than noted."""
    number = numbers.get(os.uname().machine)
    if sys.platform != "linux" or number is None:
        return
    import ctypes

    library = ctypes.CDLL(None, use_errno=True)
    if library.syscall(number, *arguments) != 0:
        _log.debug("system call %d: %s", number, os.strerror(ctypes.get_errno()))
