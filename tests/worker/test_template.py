"""Chat templates are strangers' programs: what they can do, and what stops them."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, Self

import psutil
import pytest

from botframework.errors import TemplateError
from botframework.process import own_command
from botframework.worker.renderer import MAX_TEMPLATE_BYTES, TemplateRenderer

if TYPE_CHECKING:
    from pathlib import Path
    from types import ModuleType

MESSAGES = {"messages": [{"role": "user", "content": "hello"}], "bos_token": "<s>"}
ALLOWED_MS = 300
"""Of wall clock until a bomb is stopped."""
ALLOWED_BYTES = 64 << 20

ESCAPES = [
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ ''['__class__'] }}",
    "{{ ''|attr('__class__') }}",
    "{{ ''|attr('__cla' ~ 'ss__')|attr('__base__') }}",
    "{{ ''|attr('\\x5f\\x5fclass\\x5f\\x5f') }}",
    "{{ messages.__class__.__init__.__globals__ }}",
    "{{ messages[0].items.__self__.__class__ }}",
    "{{ self.__init__.__globals__ }}",
    "{{ self._TemplateReference__context.environment }}",
    "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
    "{{ joiner.__init__.__globals__ }}",
    "{{ namespace.__init__.__globals__ }}",
    "{{ lipsum.__globals__['os'].system('id') }}",
    "{{ raise_exception.__globals__ }}",
    "{{ strftime_now.__code__ }}",
    "{{ '{0.__class__.__mro__}'.format(messages) }}",
    "{{ '{0.__class__}'.format_map({'0': messages}) }}",
    "{{ ('{0.__class__}'|attr('format'))(messages) }}",
    "{{ '%s'|format(''.__class__) }}",
    "{{ messages|map(attribute='__class__')|list }}",
    "{{ messages|groupby('__class__') }}",
    "{% set x = messages|map('attr', '__class__')|list %}{{ x }}",
    "{% include '/etc/passwd' %}",
    "{% import 'os' as os %}{{ os.getcwd() }}",
    "{% macro m() %}{% endmacro %}{{ m.__call__.__globals__ }}",
    "{{ config }}{{ request }}{{ get_flashed_messages.__globals__ }}",
]
DOUBLED = "{{% set n=namespace(x={start})%}}{{% for i in range(60) %}}{{%set n.x={twice} %}}{{% endfor %}}{{{{{end}}}}}"
BOMBS = {
    "nested loops": "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
    "multiplied string": "{{ 'a' * 1000000000 }}",
    "centred string": "{{ 'a'.center(1000000000) }}",
    "center filter": "{{ 'a'|center(1000000000) }}",
    "format width": "{{ '%1000000000d' % 1 }}",
    "doubled string": DOUBLED.format(start="'ab'", twice="n.x ~ n.x", end="n.x"),
    "multiplied list": "{{ [1] * 1000000000 }}",
    "exponential repr": DOUBLED.format(start="[1]", twice="[n.x, n.x]", end="n.x"),
    "exponential JSON": DOUBLED.format(start="[1]", twice="[n.x, n.x]", end="n.x|tojson"),
    "exponential dict repr": DOUBLED.format(start="{}", twice="{'a': n.x, 'b': n.x}", end="n.x"),
    "tower of powers": "{{ 9 ** (9 ** 9) }}",
    "much output": "{% for a in range(99999) %}{{ 'aaaaaaaaaaaaaaaaaaaa' }}{% endfor %}",
    "endless recursion": "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    "lorem ipsum": "{{ lipsum(99999) }}",
}


def render(template: str, variables: dict[str, Any] | None = None) -> str:
    """Render once, in a process of its own."""
    renderer = TemplateRenderer(template)
    try:
        return renderer.render(MESSAGES if variables is None else variables, input_chars=5)
    finally:
        renderer.close()


@pytest.fixture(scope="module")
def sandbox() -> ModuleType:
    """The templates' side without its process, for what needs none."""
    from botframework.worker import template

    return template


@pytest.mark.parametrize("payload", ESCAPES)
def test_no_escape(payload: str, sandbox: Any) -> None:
    """Check 26: no payload reaches a class, a module, a file or a function's globals."""
    try:
        text = sandbox._Template(payload).render(dict(MESSAGES), 100_000)
    except Exception:  # noqa: BLE001 - any refusal will do
        return

    assert not [sign for sign in ("class", "module", "built-in", "root:", "uid=", "function", "/") if sign in text]


def test_there_are_twenty_escapes() -> None:
    """Check 26 asks for at least twenty payloads."""
    assert len(ESCAPES) >= 20


class Peak:
    """Watches the memory of a process tree from a thread."""

    def __init__(self) -> None:
        self._root = psutil.Process()
        self._stop = threading.Event()
        self.base = self.highest = self._sum()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(0.008):
            self.highest = max(self.highest, self._sum())

    def _sum(self) -> int:
        total = 0
        for process in (self._root, *self._root.children(recursive=True)):
            try:
                total += process.memory_info().rss
            except psutil.Error:
                continue
        return total


def explode(renderer: TemplateRenderer) -> float:
    """Set the bomb off and return the milliseconds until it is over."""
    renderer.start()
    started = time.perf_counter()
    with pytest.raises(TemplateError) as caught:
        renderer.render({"bomb": True}, input_chars=10)
    assert caught.value.data["reason"] in {"timeout", "memory", "output", "failed"}
    return (time.perf_counter() - started) * 1000


@pytest.mark.parametrize("bomb", BOMBS)
def test_bombs_are_stopped(bomb: str) -> None:
    """Check 27: stopped within 300 ms and 64 MiB, the rendering process included; then the next render works."""
    renderer = TemplateRenderer("{% if bomb %}" + BOMBS[bomb] + "{% else %}fine{% endif %}")
    try:
        with Peak() as peak:
            # 250 ms are the limit and 50 ms for the kill; on a busy machine the best of three tells.
            times: list[float] = []
            while len(times) < 3 and min(times, default=ALLOWED_MS + 1) > ALLOWED_MS:
                times.append(explode(renderer))

        assert min(times) <= ALLOWED_MS
        if sys.platform == "linux":  # elsewhere only the time is bounded
            assert peak.highest - peak.base <= ALLOWED_BYTES
        assert renderer.render({"bomb": False}, input_chars=10) == "fine"
    finally:
        renderer.close()


@pytest.mark.parametrize(
    "template",
    [
        "{{ " + "(" * 20_000 + "1" + ")" * 20_000 + " }}",
        "{% if 1 %}" * 2_500 + "{% endif %}" * 2_500,
        "{{ 1" + "+1" * 20_000 + " }}",
    ],
    ids=["parentheses", "blocks", "sums"],
)
def test_templates_that_cannot_be_compiled_say_so_every_time(template: str) -> None:
    """A compiler that gives up is an error with a reason, remembered without starting another process."""
    renderer = TemplateRenderer(template)
    try:
        for _ in range(2):
            with pytest.raises(TemplateError, match=r"cannot be compiled|too much memory|takes too long|ended"):
                renderer.render({}, input_chars=1)
    finally:
        renderer.close()


def test_constants_are_not_computed_while_compiling() -> None:
    """Compiling has a longer limit than rendering, so it must not run the template's arithmetic."""
    assert render("{% if false %}{{ 'a' * 1000000000 }}{{ 9 ** (9 ** 9) }}{% endif %}ok") == "ok"


def test_a_template_of_64_kib_is_the_largest() -> None:
    """One byte more is refused before any process is started."""
    renderer = TemplateRenderer("x" * (MAX_TEMPLATE_BYTES + 1))

    with pytest.raises(TemplateError, match="larger than 64 KiB"):
        renderer.render({}, input_chars=1)
    assert renderer.starts == 0


def test_what_templates_in_use_need() -> None:
    """Loop controls, the generation tag, JSON without HTML escapes and of generators, own lists, the date."""
    template = (
        "{{ bos_token }}"
        "{% for n in range(9) %}{% if n == 2 %}{% break %}{% endif %}{{ n }}{% endfor %}"
        "{% generation %}[{{ messages[0].content }}]{% endgeneration %}"
        "{{ {'b': '<é>', 'a': 1}|tojson }}{{ messages|map(attribute='role')|tojson }}{{ undefined_thing|tojson }}"
        "{% set found = [] %}{{ found.append('x') or '' }}{{ found|join }}"
        "{{ ('{\"k\": [1]}'|from_json).k[0] }}{{ strftime_now('%Y')|length }}"
        "{% if tools is defined %}tools{% endif %}\n"
        "    {% if true %}\nlast{% endif %}"
    )

    assert render(template) == '<s>01[hello]{"b": "<é>", "a": 1}["user"]nullx14last'


@pytest.mark.parametrize(
    ("template", "sentence", "line"),
    [
        ("one\n{% if %}", "cannot be compiled", 2),
        (
            "one\n{{ raise_exception('Roles must alternate.') }}",
            "refuses these messages (line 2): Roles must alternate.",
            2,
        ),
        ("\n\n{{ nothing.at.all }}", "fails on these messages (line 3): 'nothing' is undefined.", 3),
        ("{{ 1 / 0 }}", "ZeroDivisionError", 1),
        ("{{ messages.append(1) }}{{ messages.__class__.x }}", "sandbox", 1),
    ],
)
def test_failures_have_a_reason_and_a_line(template: str, sentence: str, line: int) -> None:
    """An error tells what the template did and where, in one sentence."""
    with pytest.raises(TemplateError) as caught:
        render(template)

    assert sentence in caught.value.message
    assert caught.value.data["line"] == line


def test_one_process_serves_many_renders() -> None:
    """Starting and compiling happen once."""
    renderer = TemplateRenderer("{{ n }}")
    try:
        assert [renderer.render({"n": n}, input_chars=1) for n in range(20)] == [str(n) for n in range(20)]
        assert renderer.starts == 1
    finally:
        renderer.close()


def test_a_killed_process_is_replaced() -> None:
    """Whoever ends the process: one render fails at most, and the next has a new one."""
    renderer = TemplateRenderer("{{ n }}")
    try:
        renderer.start()
        child = renderer._child
        assert child is not None
        child.kill()
        child.wait()

        assert renderer.render({"n": 1}, input_chars=1) == "1"
        assert renderer.starts == 2
    finally:
        renderer.close()


def test_large_messages_pass() -> None:
    """Half a megabyte of text needs no more than the limits allow."""
    text = "word " * 100_000

    renderer = TemplateRenderer("{% for m in messages %}{{ m.content | trim }}|{% endfor %}")
    try:
        messages = [{"role": "user", "content": text}] * 4
        assert renderer.render({"messages": messages}, input_chars=2_000_000).count("|") == 4
    finally:
        renderer.close()


def test_secrets_stay_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Check 41: the rendering process has none of our environment's variables but those that Python needs."""
    monkeypatch.setenv("HF_TOKEN", "secret-1")
    monkeypatch.setenv("BOTFRAMEWORK_SECRET", "secret-2")
    renderer = TemplateRenderer("x")
    try:
        renderer.start()
        assert renderer._child is not None
        environment = psutil.Process(renderer._child.pid).environ()
    finally:
        renderer.close()

    python = {"PYTHONPATH", "PYTHONNOUSERSITE", "PYTHONDONTWRITEBYTECODE"}
    assert set(environment) <= {*python, "LANG", "LC_ALL", "TZ", "LD_LIBRARY_PATH", "SYSTEMROOT"}


def test_a_module_in_the_current_folder_is_not_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A workspace cannot put its own jinja2 into the process."""
    (tmp_path / "jinja2.py").write_text("raise SystemExit('hostile')", encoding="utf-8")
    monkeypatch.chdir(tmp_path)

    assert render("fine") == "fine"


def is_gone(process: psutil.Process) -> bool:
    """Whether a process ends soon; one that nobody waits for stays as a zombie where init does not reap."""
    deadline = time.monotonic() + 2.0
    while time.monotonic() < deadline:
        if not psutil.pid_exists(process.pid) or process.status() == psutil.STATUS_ZOMBIE:
            return True
        threading.Event().wait(0.005)
    return False


PARENT = """
import sys, threading
from botframework.worker.renderer import TemplateRenderer
renderer = TemplateRenderer("{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}")
renderer.start()
threading.Timer(0.05, lambda: (print(renderer._child.pid, flush=True))).start()
renderer.render({}, input_chars=1)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the end of the parent is seen at once only on Linux")
def test_the_process_dies_with_its_parent_even_in_a_loop() -> None:
    """SIGKILL of the worker ends the rendering process, although it is not reading its stdin."""
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        parent.kill()

        assert is_gone(child)


def test_the_process_ends_with_its_stdin() -> None:
    """Elsewhere, and for a worker that ends in order, the end of stdin is enough."""
    command = own_command("worker", "template", str(os.getpid()))
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdin is not None
        child.stdin.close()

        assert child.wait(10) == 0


def test_no_process_is_an_error_with_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no process can be started, chat says so."""
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")

    with pytest.raises(TemplateError, match="no process could be started"):
        render("x")


def test_the_renderer_forgotten_leaves_nothing() -> None:
    """Dropping the renderer ends its process."""
    renderer = TemplateRenderer("x")
    renderer.start()
    assert renderer._child is not None
    child = psutil.Process(renderer._child.pid)

    del renderer

    assert is_gone(child)
