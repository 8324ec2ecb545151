"""What daemons remember together: budget, back-off, quarantine, suspects. Pure, so the clock is a number."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from botframework.manager import ledger
from botframework.manager.ledger import BACKOFF_S, BUDGET_STARTS, BUDGET_WINDOW_S, SUSPICION_S, Ledger

if TYPE_CHECKING:
    from pathlib import Path

NOW = 1_800_000_000.0
A, B = b"a" * 16, b"b" * 16


def died(memory: Ledger, pid: int, at: float, *, loading: bool = False, fatal: tuple[bytes, ...] = ()) -> Ledger:
    """One worker that was started and died a second later."""
    return memory.started(pid, at - 1).died(pid, at, since=at - 1, loading=loading, fatal=fatal)


def test_five_deaths_within_the_window_exhaust_the_budget() -> None:
    """Not four, and not when the first lies outside the window."""
    memory = Ledger()
    for pid in range(BUDGET_STARTS):
        assert not memory.is_exhausted(NOW)
        memory = died(memory, pid, NOW + pid)

    assert memory.is_exhausted(NOW + BUDGET_STARTS)
    assert not memory.is_exhausted(NOW + BUDGET_WINDOW_S)


def test_the_back_off_follows_the_deaths() -> None:
    """0.5, 1, 2, 4, 8 s after the last death, less what has passed since; none when the window is over."""
    memory, waits = Ledger(), []
    for pid in range(5):
        memory = died(memory, pid, NOW)
        waits.append(memory.wait_s(NOW))

    assert Ledger().wait_s(NOW) == 0
    assert waits == list(BACKOFF_S)
    assert memory.wait_s(NOW + 3) == BACKOFF_S[-1] - 3
    assert memory.wait_s(NOW + BUDGET_WINDOW_S) == 0


def test_a_death_counts_once_however_many_daemons_report_it() -> None:
    """Three reports of one worker's end are one death and one step towards a refusal."""
    memory = Ledger().started(7, NOW)
    for _ in range(3):
        memory = memory.died(7, NOW + 2, since=NOW + 1, loading=True, fatal=[A])

    assert memory.deaths(NOW + 2) == 1
    assert memory.load_deaths == 1
    assert memory.suspects[A.hex()].alone == 1


def test_a_reused_pid_is_another_worker() -> None:
    """The same number an hour later dies its own death."""
    memory = died(Ledger(), 7, NOW)

    memory = died(memory, 7, NOW + 3_600)

    assert len(memory.starts) == 2


def test_a_death_without_a_known_start_counts() -> None:
    """The file may have been lost in between."""
    assert Ledger().died(7, NOW, since=NOW - 9, loading=False).deaths(NOW) == 1


def test_a_start_that_nobody_saw_die_counts_for_nothing() -> None:
    """Its last client had left; also a load that was given up does not speak against the file."""
    memory = died(Ledger(), 1, NOW, loading=True).started(2, NOW + 1)

    settled = memory.settled(NOW + 2)

    assert [start.pid for start in settled.starts] == [1]
    assert settled.load_deaths == 0


def test_two_deaths_in_a_row_while_loading_quarantine_the_model() -> None:
    """A death after a good load in between begins the count anew."""
    once = died(Ledger(), 1, NOW, loading=True)
    between = died(once, 2, NOW, loading=False)

    assert not once.model_is_quarantined
    assert died(once, 2, NOW, loading=True).model_is_quarantined
    assert not died(between, 3, NOW, loading=True).model_is_quarantined


def test_only_a_request_that_was_alone_is_ever_refused() -> None:
    """Company in a fatal call makes suspects; two fatal calls alone make a refusal, for ten minutes."""
    memory = Ledger()
    for pid in range(5):
        memory = died(memory, pid, NOW, fatal=(A, B))
    company = memory.refused_for_s(A, NOW)
    memory = died(died(memory, 8, NOW, fatal=(A,)), 9, NOW + 1, fatal=(A,))

    assert company == 0
    assert memory.is_suspect(B, NOW)
    assert memory.refused_for_s(B, NOW) == 0
    assert memory.refused_for_s(A, NOW + 1) == SUSPICION_S
    assert memory.refused_for_s(A, NOW + 1 + SUSPICION_S) == 0
    assert not memory.is_suspect(A, NOW + 1 + SUSPICION_S)


def test_only_those_who_never_killed_alone_are_cleared() -> None:
    """One that killed once alone stays under suspicion even if it did no harm the next time."""
    memory = died(died(Ledger(), 1, NOW, fatal=(A, B)), 2, NOW, fatal=(A,))

    memory = memory.cleared(A).cleared(B).cleared(b"unknown")

    assert set(memory.suspects) == {A.hex()}


def test_a_clock_that_was_set_back_locks_nobody_out() -> None:
    """Entries from a future that will come hours later count for nothing."""
    memory = Ledger()
    for pid in range(BUDGET_STARTS):
        memory = died(memory, pid, NOW + 86_400, fatal=(A,))

    assert not memory.is_exhausted(NOW)
    assert memory.wait_s(NOW) == 0
    assert memory.refused_for_s(A, NOW) == 0
    assert memory.settled(NOW) == Ledger(last_words="")


def test_the_memory_is_bounded() -> None:
    """Thousands of deaths and suspects leave a small file; the newest are kept."""
    memory = Ledger()
    for pid in range(2_000):
        memory = memory.started(pid, NOW).died(
            pid, NOW, since=NOW, loading=False, fatal=[pid.to_bytes(16)], last_words="x" * 10_000
        )

    assert len(memory.starts) < 100
    assert len(memory.suspects) < 1_000
    assert memory.is_suspect((1_999).to_bytes(16), NOW)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    """And for nobody else to read; nothing is left beside it."""
    path = tmp_path / "key.json"
    memory = died(Ledger(), 1, NOW, fatal=(A,))

    ledger.write(path, memory)

    assert ledger.read(path) == memory
    assert path.stat().st_mode & 0o077 == 0
    assert [entry.name for entry in tmp_path.iterdir()] == ["key.json"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'{"starts": 3}',
        b'{"starts": [{"pid": 1}]}',
        b'{"suspects": {"a": {"at": "x"}}}',
        b"\xff\xfe\x00",
        b'{"last_words": "\xff"}',
        b'{"starts": [' * 5_000,
        b" " * (ledger.MAX_LEDGER_BYTES + 1) + b"{}",
    ],
    ids=lambda content: repr(content[:20]),
)
def test_rubbish_is_an_empty_ledger(tmp_path: Path, content: bytes) -> None:
    """Whatever stands in the file."""
    path = tmp_path / "key.json"
    path.write_bytes(content)

    assert ledger.read(path) == Ledger()


def test_no_file_or_a_folder_is_an_empty_ledger(tmp_path: Path) -> None:
    """Reading never fails."""
    assert ledger.read(tmp_path / "none") == Ledger()
    assert ledger.read(tmp_path) == Ledger()


def test_a_worker_behind_a_bootloader_dies_once() -> None:
    """Started under the bootloader's process id and dead under its own, it is one start that ended in death."""
    memory = Ledger().started(7, NOW - 2).started(8, NOW - 1).known_as(8, 9)

    assert [start.pid for start in memory.starts] == [7, 9]
    assert memory.known_as(5, 6) == memory, "a start that nobody knows is nobody's"

    memory = Ledger()
    for number in (10, 20):
        memory = memory.settled(NOW).started(number, NOW).known_as(number, number + 1)
        memory = memory.died(number + 1, NOW + 1, since=NOW, loading=True)
    assert memory.deaths(NOW + 2) == 2
    assert memory.model_is_quarantined
