"""Between parent and child: the child ends with its parent, and tells it that it is well."""

import ctypes
import os
import signal
import sys
import threading
import time
from contextlib import suppress

#: Environment of a supervisor's child: the supervisor's pid, and the pipe to beat on.
PARENT_VARIABLE = "MGX_SUPERVISOR_PID"
BEAT_VARIABLE = "MGX_SUPERVISOR_FD"

_PR_SET_PDEATHSIG = 1
_forking_parent: int | None = None


def end_with(parent: int) -> None:
    """Make the kernel kill this process at the moment in which the process ``parent`` ends.

    Nothing that the parent does, not even dying of SIGKILL, leaves this process behind.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    else:
        threading.Thread(target=_poll_parent, args=(parent,), daemon=True).start()
    if os.getppid() != parent:  # It ended before we asked.
        os._exit(1)


def end_with_supervisor() -> None:
    """End with the supervisor, if one started this process."""
    if parent := os.environ.get(PARENT_VARIABLE):
        end_with(int(parent))


def end_forks_with_parents() -> None:
    """From now on, every process forked from a main thread ends with the one that forked it.

    Forks from other threads are left alone: to the kernel the parent is the thread, and may end
    long before the process.
    """
    os.register_at_fork(before=_before_fork, after_in_child=_after_fork)


def beat() -> None:
    """Tell the supervisor, if there is one, that this process is well."""
    if descriptor := os.environ.get(BEAT_VARIABLE):
        with suppress(BlockingIOError):  # It has not read the last ones yet; it will.
            os.write(int(descriptor), b".")


def _before_fork() -> None:
    global _forking_parent
    is_main = threading.current_thread() is threading.main_thread()
    _forking_parent = os.getpid() if is_main else None


def _after_fork() -> None:
    if _forking_parent is not None:
        end_with(_forking_parent)


def _poll_parent(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os.kill(os.getpid(), signal.SIGKILL)
