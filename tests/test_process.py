"""Being a well-behaved process: streams, ends, identity, environment, locks."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from botframework import process
from botframework.process import identity
from botframework.process.streams import is_abandoned

DEADLINE_S = 10.0


def run(code: str, *, shell: str = "", **variables: str) -> subprocess.CompletedProcess[bytes]:
    """Run Python code in a process of its own; ``shell`` holds redirections."""
    command = ["sh", "-c", f'exec "$0" "$@" {shell}', sys.executable, "-c", code]
    return subprocess.run(
        command, capture_output=True, stdin=subprocess.DEVNULL, timeout=60, check=False, env={**os.environ, **variables}
    )


def start(code: str, *, nohup: bool = False) -> subprocess.Popen[bytes]:
    """Start Python code that writes a line when it is ready, and wait for that line."""
    started = subprocess.Popen(
        ["sh", "-c", ("trap '' HUP; " if nohup else "") + 'exec "$0" "$@"', sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert started.stdout is not None
    assert started.stdout.readline()
    return started


# --- streams ----------------------------------------------------------------------------------------------------------


def test_only_the_protocol_reaches_standard_output(tmp_path: Path) -> None:
    """Check 10: imports, print, the original stream, C code, children and descriptor 1 all go to standard error."""
    (tmp_path / "noisy.py").write_text("print('import')")
    code = """
from botframework import process
out = process.take_stdout()
import ctypes, os, subprocess, sys
import noisy
print("print")
sys.__stdout__.write("original\\n"); sys.__stdout__.flush()
libc = ctypes.CDLL(None)
libc.puts(b"puts"); libc.fflush(None)
subprocess.run(["echo", "child"])
os.write(1, b"descriptor\\n")
os.write(out, b"protocol")
"""
    done = run(code, PYTHONPATH=str(tmp_path))

    assert done.stdout == b"protocol"
    assert sorted(done.stderr.split()) == [b"child", b"descriptor", b"import", b"original", b"print", b"puts"]


def test_children_do_not_get_the_protocol() -> None:
    """Neither end of the protocol is inherited, and descriptor 0 reads as empty."""
    code = """
import os, subprocess, sys
from botframework import process
out, inp = process.take_stdout(), process.take_stdin()
assert not os.get_inheritable(out) and not os.get_inheritable(inp) and min(out, inp) > 2
assert subprocess.run(["cat"], stdout=subprocess.PIPE).stdout == b""
assert sys.stdin.read() == ""
os.write(out, os.read(inp, 100))
"""
    done = subprocess.run([sys.executable, "-c", code], input=b"hello", capture_output=True, check=True, timeout=60)

    assert (done.stdout, done.stderr) == (b"hello", b"")


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_standard_streams(closed: str) -> None:
    """Started with some streams closed, no file that is opened later takes their numbers."""
    code = """
from botframework import process
import os
out, inp = process.take_stdout(), process.take_stdin()
assert min(out, inp, os.open(os.devnull, os.O_RDONLY)) > 2
print("harmless")
os.write(1, b"harmless")
os.write(out, b"protocol")
"""
    done = run(code, shell=closed)

    assert done.returncode == 0, done.stderr
    assert done.stdout == (b"" if ">&-" in closed.split() else b"protocol")


def test_importing_is_quiet_and_small() -> None:
    """What runs before the streams are taken imports nothing that could print or take long."""
    code = "import sys, botframework.process; sys.stderr.write(' '.join(sys.modules))"
    done = run(code)
    loaded = {name.partition(".")[0] for name in done.stderr.decode().split()}

    assert done.stdout == b""
    assert not {"asyncio", "psutil", "ctypes", "logging", "msgspec", "pygls", "llama_cpp"} & loaded


# --- ends -------------------------------------------------------------------------------------------------------------

WAIT_FOR_SIGNALS = """
import os, threading
from botframework import process
asked = threading.Event()
process.on_signals(lambda number: (os.write(1, b"asked %d\\n" % number), asked.set()))
os.write(1, b"ready\\n")
asked.wait()
if {orderly}: raise SystemExit(0)
threading.Event().wait()
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_first_signal_asks(number: signal.Signals) -> None:
    """The first signal calls back and leaves the end to us."""
    with start(WAIT_FOR_SIGNALS.format(orderly=True)) as running:
        running.send_signal(number)

        assert running.communicate(timeout=DEADLINE_S)[0] == b"asked %d\n" % number
        assert running.returncode == 0


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_second_signal_ends_at_once(second: signal.Signals) -> None:
    """The callback came once; the second signal, of whatever kind, does not wait for the orderly end."""
    with start(WAIT_FOR_SIGNALS.format(orderly=False)) as running:
        assert running.stdout is not None
        running.terminate()
        assert running.stdout.readline() == b"asked %d\n" % signal.SIGTERM
        running.send_signal(second)

        assert running.communicate(timeout=DEADLINE_S)[0] == b""
        assert running.returncode == process.EXIT_SIGNAL + second


def test_nohup_is_respected() -> None:
    """A signal that was ignored from the start stays ignored."""
    with start(WAIT_FOR_SIGNALS.format(orderly=True), nohup=True) as running:
        running.send_signal(signal.SIGHUP)
        running.terminate()

        assert running.communicate(timeout=DEADLINE_S)[0] == b"asked %d\n" % signal.SIGTERM


@pytest.mark.parametrize(
    ("stuck", "code"),
    [("threading.Event().wait()", process.EXIT_LAST_RESORT), ("ctypes.PyDLL(None).sleep(60)", 1)],
    ids=["python", "c"],
)
def test_last_resort_ends_what_does_not_end(stuck: str, code: int) -> None:
    """Check 18: after its time the process ends, even if C code never gives the interpreter back."""
    source = f"""
import ctypes, os, threading
from botframework import process
process.last_resort_exit(0.3)
os.write(1, b"ready\\n")
{stuck}
"""
    with start(source) as running:
        began = time.monotonic()

        assert running.wait(DEADLINE_S) == code
        assert time.monotonic() - began <= 1.5


def test_last_resort_can_be_called_off() -> None:
    """An end that came to its end in time keeps its own exit code."""
    code = """
import time
from botframework import process
call_off = process.last_resort_exit(0.1)
call_off()
time.sleep(0.6)
raise SystemExit(7)
"""
    assert run(code).returncode == 7


def test_exit_now_runs_nothing() -> None:
    """No handler, no flush, no waiting for other threads."""
    code = """
import atexit, threading
from botframework import process
atexit.register(print, "atexit")
threading.Thread(target=threading.Event().wait).start()
process.exit_now(9)
"""
    done = run(code)

    assert (done.returncode, done.stdout) == (9, b"")


# --- identity ---------------------------------------------------------------------------------------------------------


def test_living_process_has_one_start_time() -> None:
    """The start time stays the same, and is not another process's."""
    ours = process.start_time(os.getpid())

    assert ours is not None
    assert ours == process.start_time(os.getpid())
    assert process.is_alive(os.getpid())
    assert process.is_alive(os.getpid(), ours)
    assert not process.is_alive(os.getpid(), ours + 1), "a recycled pid is somebody else"


def test_dead_process_is_dead() -> None:
    """Also as a zombie, which nobody has waited for yet."""
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as child:
        started = process.start_time(child.pid)
        assert process.is_alive(child.pid, started)
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)

        assert process.start_time(child.pid) is None
        assert not process.is_alive(child.pid)
        assert not process.is_alive(child.pid, started)
    assert not process.is_alive(child.pid)


@pytest.mark.parametrize("pid", [0, -1, 2**31, 2**70])
def test_impossible_pids_are_not_alive(pid: int) -> None:
    """A client may send any number as its processId."""
    assert process.start_time(pid) is None
    assert not process.is_alive(pid)
    assert not process.ParentWatch(lambda _reason: None).add(pid)


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
def test_process_without_its_main_thread_is_alive() -> None:
    """Linux shows a process whose main thread has ended as a zombie while its other threads work."""
    code = """
import ctypes, os, threading
main = threading.main_thread().native_id
def report():
    while b") Z " not in open(f"/proc/self/task/{main}/stat", "rb").read(): pass
    os.write(1, b"ready\\n")
    threading.Event().wait()
threading.Thread(target=report).start()
ctypes.CDLL(None).syscall(60, 0)  # exit of this thread alone
"""
    if os.uname().machine != "x86_64":
        pytest.skip("the system call's number is x86-64's")
    with start(code) as running:
        assert process.is_alive(running.pid)
        assert process.start_time(running.pid) is not None
        running.kill()


def test_hidden_process_is_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where other processes cannot be looked at, existing is enough."""
    monkeypatch.setattr(identity, "start_time", lambda _pid: None)
    monkeypatch.setattr(Path, "exists", lambda _path: False)

    assert process.is_alive(os.getpid())
    assert not process.is_alive(os.getpid(), 1.0)


def test_memory_is_told() -> None:
    """Ours and another's resident memory, in bytes; 0 for a process that does not exist."""
    assert 1_000_000 < process.rss_bytes() < 100_000_000_000
    assert process.rss_bytes(os.getppid()) > 0
    assert process.rss_bytes(2**31) == 0


def test_watch_without_events(monkeypatch: pytest.MonkeyPatch) -> None:
    """A watched process's end is seen by looking, and told with its pid; ours is not worth watching."""
    told = threading.Event()
    watch = process.ParentWatch(lambda reason: told.set() if str(child.pid) in reason else None)
    monkeypatch.setattr(process.parent, "POLL_S", 0.01)
    monkeypatch.setattr(process.parent, "_wait_and_close", lambda _pid: (_ for _ in ()).throw(OSError))
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as child:
        assert watch.add(os.getpid())
        assert watch.add(child.pid)
        assert watch.add(child.pid), "twice is once"
        child.kill()

        assert told.wait(DEADLINE_S)


# --- environment ------------------------------------------------------------------------------------------------------


def test_worker_gets_no_secrets() -> None:
    """Check 41: what looks like a secret does not reach the worker, whatever its name begins with."""
    secrets = ["HF_TOKEN", "OPENAI_API_KEY", "AWS_SECRET_ACCESS_KEY", "LLAMA_API_KEY", "LLAMA_ARG_API_KEY"]
    secrets += ["SSH_AUTH_SOCK", "GGML_AUTH", "CUDA_SECRET", "GITHUB_TOKEN", "XDG_TOKEN", "DB_PASSWORD", "SOMETHING"]
    frozen = ["_MEIPASS2", "_PYI_ARCHIVE_FILE", "_PYI_PARENT_PROCESS_LEVEL"]

    assert process.worker_environment(dict.fromkeys([*secrets, *frozen], "x")) == {"GGML_NO_BACKTRACE": "1"}


def test_worker_gets_what_it_needs() -> None:
    """The same interpreter, libraries, language and hardware; and llama.cpp must not start a debugger."""
    needed = ["PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "TEMP", "SYSTEMROOT", "LD_LIBRARY_PATH", "PYTHONPATH"]
    needed += ["CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "GGML_VK_VISIBLE_DEVICES", "VK_ICD_FILENAMES"]
    needed += ["OMP_NUM_THREADS", "LLAMA_CPP_LIB_PATH", "XDG_RUNTIME_DIR", "BOTFRAMEWORK_RUNTIME_DIR"]
    given = {**dict.fromkeys(needed, "x"), "GGML_NO_BACKTRACE": "0"}

    assert process.worker_environment(given) == {**dict.fromkeys(needed, "x"), "GGML_NO_BACKTRACE": "1"}


def test_worker_environment_runs_the_package() -> None:
    """An interpreter started with it finds the package."""
    done = subprocess.run(
        [sys.executable, "-c", "import botframework"],
        env=process.worker_environment({**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}),
        check=False,
        timeout=60,
    )

    assert done.returncode == 0


# --- locks ------------------------------------------------------------------------------------------------------------

HOLD = """
import os, sys
from botframework.process import FileLock
FileLock({path!r}).acquire()
os.write(1, b"held\\n")
sys.stdin.read()
"""


def test_lock_excludes(tmp_path: Path) -> None:
    """Another holder in the same process waits in vain, then succeeds."""
    path = tmp_path / "lock"
    waiting = process.FileLock(path, timeout=0.05)
    with process.FileLock(path) as held:
        assert held.is_held
        assert not waiting.try_acquire()
        with pytest.raises(TimeoutError, match="another process"):
            waiting.acquire()
        with pytest.raises(RuntimeError, match="already held"):
            held.try_acquire()
    assert waiting.try_acquire()
    waiting.release()
    waiting.release()

    assert path.stat().st_mode & 0o777 == 0o600


def test_lock_ends_with_its_holder(tmp_path: Path) -> None:
    """A holder killed with SIGKILL leaves a free lock within a second."""
    path = tmp_path / "lock"
    with start(HOLD.format(path=str(path))) as holder:
        assert not process.FileLock(path).try_acquire()
        holder.kill()

        with process.FileLock(path, timeout=1.0):
            pass


def test_lock_is_not_passed_on(tmp_path: Path) -> None:
    """A child that outlives the holder does not hold the lock."""
    path = tmp_path / "lock"
    lock = process.FileLock(path)
    lock.acquire()
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, close_fds=False):
        lock.release()

        assert process.FileLock(path).try_acquire() is True


def test_lock_file_that_was_removed(tmp_path: Path) -> None:
    """A waiter that opened the file before a cleaner removed it does not take a lock that nobody else sees."""
    path = tmp_path / "lock"

    class Raced(process.FileLock):
        def _is_current(self, descriptor: int) -> bool:
            path.unlink()
            return super()._is_current(descriptor)

    assert not Raced(path).try_acquire()
    with process.FileLock(path, timeout=0):
        assert path.exists()


def test_lock_that_cannot_be(tmp_path: Path) -> None:
    """No folder, or a link in its place, is an error and not a lock."""
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    for name in ("absent/lock", "link"):
        with pytest.raises(OSError, match=name):
            process.FileLock(tmp_path / name).try_acquire()


def test_an_editor_that_died_during_our_start_is_noticed() -> None:
    """A pipe whose last writer is gone is abandoned, unless something is still in it; one with a writer is not."""
    reading, writing = os.pipe()
    assert not is_abandoned(reading)

    os.write(writing, b"x")
    os.close(writing)
    assert not is_abandoned(reading)

    os.read(reading, 1)
    assert is_abandoned(reading)
    os.close(reading)
