"""Taking the protocol's file descriptors out of everybody else's reach."""

from __future__ import annotations

import os
import select
import sys


def take_stdout() -> int:
    """Move standard output to a descriptor of our own and let descriptor 1 mean standard error.

    From here on ``print``, C code that writes to ``stdout`` and children that inherit descriptor 1 all reach standard
    error. What lies in ``sys.stdout``'s buffer already goes there too.

    Returns
    -------
    The descriptor for protocol bytes: closed on exec, in binary mode.
    """
    _open_closed_descriptors()
    ours = os.dup(1)  # not inheritable, as every descriptor that Python makes
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    _set_binary(ours)
    return ours


def take_stdin() -> int:
    """Move standard input to a descriptor of our own and leave the null device in its place.

    A child that inherits descriptor 0, or a library that asks the terminal a question, must not eat protocol bytes.
    ``sys.stdin`` stays and reads the null device.

    Returns
    -------
    The descriptor to read the protocol from: closed on exec, in binary mode.
    """
    _open_closed_descriptors()
    ours = os.dup(0)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    _set_binary(ours)
    return ours


def is_abandoned(descriptor: int) -> bool:
    """Whether nobody can write to this pipe any more and nothing is left in it: the client ended during our start."""
    if not hasattr(select, "poll"):  # Windows, never run: end-of-file is found when the pipe is read
        return False
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return any(event & select.POLLHUP and not event & select.POLLIN for _, event in poll.poll(0))


def _open_closed_descriptors() -> None:
    """Put the null device where 0, 1 or 2 came closed: the next file we open would take the number, and its place."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            null = os.open(os.devnull, os.O_RDWR)  # the lowest free number, which is this one
            os.set_inheritable(null, True)


def _set_binary(descriptor: int) -> None:
    if sys.platform == "win32":  # never run
        import msvcrt

        msvcrt.setmode(descriptor, os.O_BINARY)
