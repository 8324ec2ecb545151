"""The flight recorder."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from botframework.wire import messages as wire
from botframework.wire.flight import FlightWriter, fingerprint, read_flight

if TYPE_CHECKING:
    from pathlib import Path

DYING = """
import os, signal, sys
from pathlib import Path
from botframework.wire.flight import FlightWriter
writer = FlightWriter(Path(sys.argv[1]))
writer.set_phase("serving")
writer.begin_call([b"a" * 16, b"b" * 16])
writer.set_last_words("GGML_ASSERT(false) failed")
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_it_survives_sigkill(tmp_path: Path) -> None:
    """What was noted last is read after the writer was killed, without a flush or an exit handler."""
    path = tmp_path / "k.flight"
    process = subprocess.Popen([sys.executable, "-c", DYING, str(path)])
    process.wait(30)

    record = read_flight(path)

    assert record is not None
    assert (record.pid, record.phase, record.last_words) == (process.pid, "serving", "GGML_ASSERT(false) failed")
    assert record.fingerprints == (b"a" * 16, b"b" * 16)


def test_outside_a_call_nobody_is_suspect(tmp_path: Path) -> None:
    """After a call has come back the record names no request."""
    writer = FlightWriter(tmp_path / "k.flight")
    writer.begin_call([b"a" * 16])
    writer.end_call()

    record = read_flight(tmp_path / "k.flight")

    assert record is not None
    assert record.fingerprints == ()
    assert record.pid == os.getpid()


def test_long_last_words_are_cut(tmp_path: Path) -> None:
    """Words beyond the room lose their end, not the record."""
    FlightWriter(tmp_path / "k.flight").set_last_words("é" * 5_000)

    record = read_flight(tmp_path / "k.flight")

    assert record is not None
    assert record.last_words.startswith("ééé")


@given(st.binary(max_size=4_000))
@settings(max_examples=100, deadline=None)
def test_any_content_is_read_without_an_error(tmp_path_factory: object, content: bytes) -> None:
    """A reader expects anything: garbage is None, never an exception."""
    path = tmp_path_factory.getbasetemp() / "garbage.flight"  # type: ignore[attr-defined]
    path.write_bytes(content)

    assert read_flight(path) is None


def test_a_flipped_byte_is_never_an_exception(tmp_path: Path) -> None:
    """Every single-byte corruption of the header gives a record or None."""
    path = tmp_path / "k.flight"
    FlightWriter(path).begin_call([b"a" * 16])
    good = path.read_bytes()
    for index in range(32):
        path.write_bytes(good[:index] + bytes([good[index] ^ 0xFF]) + good[index + 1 :])

        read_flight(path)


def test_equal_content_has_an_equal_fingerprint() -> None:
    """The fingerprint names prompt and parameters, not who asks, in which session, or until when."""
    first = wire.FimRequest(id=1, prefix="a", session="s", deadline_ms=5, solo=True)

    assert fingerprint(first) == fingerprint(wire.FimRequest(id=9, prefix="a", priority="completion"))
    assert fingerprint(first) != fingerprint(wire.FimRequest(id=1, prefix="b", session="s", deadline_ms=5))


def test_a_prefill_is_the_same_danger_as_its_completion() -> None:
    """Both read the same prompt; how the answer would go on is not part of it."""
    whole = wire.FimRequest(id=1, prefix="a", suffix="b", stop=("\n",), sampling=wire.Sampling(infill=True))
    prefill = wire.FimRequest(id=2, prefix="a", suffix="b", max_tokens=0, ghost=True, one_line=True, line_budget_ms=9)

    assert fingerprint(whole) == fingerprint(prefill)
    assert fingerprint(prefill) != fingerprint(wire.FimRequest(id=2, prefix="a", suffix="c", max_tokens=0))
    assert fingerprint(prefill) != fingerprint(wire.FimRequest(id=2, prefix="ab", max_tokens=0))
