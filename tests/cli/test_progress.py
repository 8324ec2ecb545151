"""Work of many seconds: what is seen of it, and how it is stopped."""

from __future__ import annotations

import _thread
import io
from typing import TYPE_CHECKING

import pytest

from botframework.cli import progress
from botframework.cli.progress import Progress, stoppable
from botframework.cli.terminal import Terminal

if TYPE_CHECKING:
    import threading

MIB = 1 << 20


def told(*steps: tuple[int, int | None]) -> list[str]:
    """What a file gets of a download that goes these steps."""
    err = io.StringIO()
    with progress.shown(Terminal(out=io.StringIO(), err=err), "a model") as shown:
        for done, total in steps:
            shown.tell(done, total)
    return err.getvalue().splitlines()


def test_a_file_gets_a_line_for_every_tenth() -> None:
    """However often the figures come."""
    lines = told(*((n * MIB, 100 * MIB) for n in range(101)))

    assert lines[0] == "a model: 100 MiB"
    assert [line.split(",")[0] for line in lines[1:]] == [f"a model: {percent} %" for percent in range(10, 101, 10)]


def test_what_an_earlier_try_has_brought() -> None:
    """Is told once, and not as speed."""
    lines = told((50 * MIB, 100 * MIB), (50 * MIB, 100 * MIB), (61 * MIB, 100 * MIB))

    assert lines[0] == "a model: 100 MiB, 50.0 MiB of it are there"
    assert lines[1].startswith("a model: 60 %") or lines[1].startswith("a model: 61 %")
    assert len(lines) == 2


def test_an_unknown_size() -> None:
    """A server that does not say how much comes: no percent is made up."""
    assert told((0, None), (5 * MIB, None)) == ["a model: ?"]


def test_json_is_not_disturbed() -> None:
    """A program gets its document alone."""
    err = io.StringIO()
    with progress.shown(Terminal(as_json=True, out=io.StringIO(), err=err), "a model") as shown:
        shown.tell(1, 2)
        assert isinstance(shown, Progress)

    assert err.getvalue() == ""


def test_the_result_comes_back() -> None:
    """And so does the error."""
    assert stoppable(lambda _: 7) == 7
    with pytest.raises(ZeroDivisionError):
        stoppable(lambda _: 1 // 0)


def test_ctrl_c_stops_the_work_and_waits_for_it() -> None:
    """The event is set, the work comes to its end, then the interrupt is raised."""
    steps: list[str] = []

    def work(stop: threading.Event) -> None:
        _thread.interrupt_main()
        assert stop.wait(30)
        steps.append("tidied up")

    with pytest.raises(KeyboardInterrupt):
        stoppable(work)

    assert steps == ["tidied up"]
