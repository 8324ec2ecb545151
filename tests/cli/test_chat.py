"""`botframework chat`: a conversation on a terminal, or one answer in a pipe."""

from __future__ import annotations

import json
import string
from typing import TYPE_CHECKING

from support.pseudo_terminal import CTRL_C, CTRL_D, ENTER

if TYPE_CHECKING:
    from support.real_daemon import Models
    from support.shell import Shell

GREEDY = ("--set", "chat.temperature=0")


def test_one_question(shell: Shell, models: Models) -> None:
    """As an argument or on standard input: the answer and nothing else."""
    model = ("--model", str(models.alphabet), *GREEDY)
    asked = shell.run("chat", "the", "letters", *model)
    piped = shell.run("chat", *model, stdin="the letters\n")

    assert (asked.returncode, asked.stdout, asked.stderr) == (0, string.ascii_lowercase + "\n", "")
    assert piped.stdout == asked.stdout


def test_for_a_program(shell: Shell, models: Models) -> None:
    """The whole answer with its figures."""
    told = shell.run("chat", "--json", "--max-tokens", "4", "letters", "--model", str(models.alphabet), *GREEDY)

    answer = json.loads(told.stdout)
    assert (answer["text"], answer["finishReason"], answer["droppedMessages"]) == ("abcd", "length", 0)
    assert answer["usage"]["completionTokens"] == 4


def test_no_question(shell: Shell) -> None:
    """An empty standard input is no question, and no model is loaded for it."""
    told = shell.run("chat", "--model", "/no/such.gguf")

    assert told.returncode == 1
    assert "no question" in told.stderr


def test_a_conversation(shell: Shell, models: Models) -> None:
    """Questions and answers in turn; what was said before is part of what is read; Ctrl-D leaves."""
    with shell.terminal("chat", "--model", str(models.alphabet), *GREEDY) as terminal:
        terminal.until("> ")
        terminal.type("hello" + ENTER)
        terminal.until(string.ascii_lowercase)
        terminal.until("tokens/s")
        terminal.until("> ")
        terminal.type("two \\" + ENTER)
        terminal.until("… ")
        terminal.type("lines" + ENTER)
        terminal.until(string.ascii_lowercase)
        terminal.until("> ")
        terminal.type("/nonsense" + ENTER)
        terminal.until("no command /nonsense")
        terminal.until("> ")
        terminal.type("/new" + ENTER)
        terminal.until("a new conversation")
        terminal.until("> ")
        terminal.type(CTRL_D)
        assert terminal.wait() == 0


def test_ctrl_c_stops_the_answer(shell: Shell, models: Models) -> None:
    """The answer ends, the conversation goes on; at the prompt Ctrl-C only gives the line up."""
    with shell.terminal("chat", "--model", str(models.tiny), "--max-tokens", "8000", *GREEDY) as terminal:
        terminal.until("> ")
        terminal.type("go on for ever" + ENTER)
        terminal.until("go on for ever\n")
        terminal.grow(200)
        terminal.type(CTRL_C)
        terminal.until("stopped")
        terminal.until("> ")
        terminal.type("half a line" + CTRL_C)
        terminal.until("> ")
        terminal.type("/exit" + ENTER)
        assert terminal.wait() == 0


def test_ctrl_c_ends_a_single_answer(shell: Shell, models: Models) -> None:
    """With the exit code that shells know."""
    with shell.terminal("chat", "for ever", "--model", str(models.tiny), "--max-tokens", "8000", *GREEDY) as terminal:
        while len(terminal.shown) < 400:
            assert terminal.process.poll() is None
            terminal.take()
        terminal.type(CTRL_C)
        assert terminal.wait() == 130


def test_codes_in_an_answer_are_not_obeyed(shell: Shell) -> None:
    """A model that writes escape codes does not steer the terminal; a file gets its very letters."""
    from support.gguf_factory import alphabet_llama

    # Its vocabulary is bytes: the letter for the escape code is the token of byte 27.
    model = alphabet_llama(shell.folder / "escape.gguf", follow={"Ċ": "ě", "ě": "a", "b": "<|im_end|>"})
    with shell.terminal("chat", "red", "--model", str(model), *GREEDY) as terminal:
        assert terminal.wait() == 0
    piped = shell.run("chat", "red", "--model", str(model), *GREEDY)

    assert "\\x1bab" in terminal.shown
    assert piped.stdout == "\x1bab\n"
