"""`botframework models …`: what can be done with a store, on real files."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from support.gguf_factory import alphabet_llama, tiny_llama
from support.pseudo_terminal import CTRL_D, ENTER

if TYPE_CHECKING:
    from support.shell import Shell

NAME = "local/mine.gguf"


@pytest.fixture
def file(shell: Shell) -> Path:
    """A model somewhere on this machine."""
    return tiny_llama(shell.folder / "mine.gguf")


def pulled(shell: Shell, file: Path) -> dict[str, Any]:
    """Take it into the store; what the command says of it."""
    told = shell.run("models", "pull", str(file), "--json")
    assert told.returncode == 0, told.stdout + told.stderr
    answer: dict[str, Any] = json.loads(told.stdout)
    return answer


def test_a_file_of_this_machine(shell: Shell, file: Path) -> None:
    """It is copied, checked, told with its path, and can be completed with."""
    told = shell.run("models", "pull", str(file))
    path = told.stdout.splitlines()[1]

    assert told.returncode == 0
    assert "100 %" in told.stderr or "done after" in told.stderr
    assert f'model = "{path}"' in told.stderr
    assert told.stdout.splitlines()[0].endswith(f"SHA-256 {hashlib.sha256(file.read_bytes()).hexdigest()}")
    assert [line for line in shell.run("models", "list").stdout.splitlines() if line.endswith(f"  {NAME}")]
    assert json.loads(shell.run("models", "info", NAME, "--json").stdout)["model"]["path"] == path


def test_what_was_pulled_is_whole(shell: Shell, file: Path) -> None:
    """`verify` says so, and exits with 0."""
    found = pulled(shell, file)
    told = shell.run("models", "verify")

    assert told.returncode == 0
    assert told.stdout == f"{found['name']}  whole\n"


def test_a_changed_file_is_found(shell: Shell, file: Path) -> None:
    """One flipped bit: `verify` names the model and exits with 1."""
    found = pulled(shell, file)
    with open(found["path"], "r+b") as damaged:  # noqa: PTH123 - as everywhere where bytes are flipped
        damaged.seek(-1, 2)
        byte = damaged.read(1)[0]
        damaged.seek(-1, 2)
        damaged.write(bytes([byte ^ 1]))
    told = shell.run("models", "verify", found["name"], "--json")

    (verdict,) = json.loads(told.stdout)["models"]
    assert told.returncode == 1
    assert (verdict["name"], verdict["isWhole"]) == (found["name"], False)
    assert "has changed" in verdict["problem"]


def test_everything_about_a_model(shell: Shell, file: Path) -> None:
    """Its header, what it takes on this machine, and where it came from."""
    found = pulled(shell, file)
    known = json.loads(shell.run("models", "info", found["name"], "--json").stdout)["model"]
    by_path = json.loads(shell.run("models", "info", str(file), "--json").stdout)["model"]

    assert (known["name"], known["architecture"], known["canInfill"]) == ("tiny-llama", "llama", True)
    assert known["need"]["placement"] in {"cpu", "gpu"}
    assert known["need"]["weights"] > 0
    assert known["installed"]["digests"] == found["digests"]
    assert (by_path["name"], by_path["installed"]) == ("tiny-llama", None)


def test_a_pulled_model_by_its_name(shell: Shell) -> None:
    """`--model` takes the name that `models list` shows, as well as a path."""
    pulled(shell, alphabet_llama(shell.folder / "letters.gguf"))
    (shell.folder / "letters.gguf").unlink()
    told = shell.run("complete", "-", "--model", "local/letters.gguf", "--max-tokens", "3", stdin="x = ")

    assert (told.returncode, told.stdout) == (0, "abc\n")


def test_removing_asks(shell: Shell, file: Path) -> None:
    """On a terminal for a yes, without one for `--yes`; then the file is gone."""
    found = pulled(shell, file)
    refused = shell.run("models", "remove", found["name"])
    with shell.terminal("models", "remove", found["name"]) as terminal:
        terminal.until("[y/N] ")
        terminal.type("n" + ENTER)
        terminal.until("nothing was deleted")
        assert terminal.wait() == 0
    with shell.terminal("models", "remove", found["name"]) as terminal:
        terminal.until("[y/N] ")
        terminal.type(CTRL_D)
        terminal.until("nothing was deleted")
        assert terminal.wait() == 0
    assert json.loads(shell.run("models", "info", found["name"], "--json").stdout)["model"]["installed"]
    with shell.terminal("models", "remove", found["name"]) as terminal:
        terminal.until("[y/N] ")
        terminal.type("y" + ENTER)
        assert terminal.wait() == 0

    assert (refused.returncode, refused.stdout) == (1, "")
    assert "--yes" in refused.stderr
    assert shell.run("models", "verify").stdout == ""
    assert file.exists()


def test_unfinished_downloads_are_removed(shell: Shell, file: Path) -> None:
    """At the user's wish, and without them the models stay; without a name or a wish nothing is."""
    found = pulled(shell, file)
    part = Path(json.loads(shell.run("models", "where", "--json").stdout)["folder"]) / "blobs"
    part /= "sha256-" + "a" * 64 + ".part"
    part.write_bytes(b"x" * 100_000)
    nothing = shell.run("models", "remove", "--yes")
    told = shell.run("models", "remove", "--unfinished", "--yes")

    assert (nothing.returncode, told.returncode) == (1, 0)
    assert "--unfinished" in nothing.stderr
    assert told.stdout.startswith("unfinished downloads: ")
    assert not part.exists()
    assert shell.run("models", "verify").stdout == f"{found['name']}  whole\n"


def test_a_wrong_name_among_several_removes_nothing(shell: Shell, file: Path) -> None:
    """All names are looked up before the first is deleted, and whether they are ours to delete."""
    found = pulled(shell, file)
    theirs = shell.folder / ".lmstudio" / "models" / "a" / "b" / "theirs.gguf"
    theirs.parent.mkdir(parents=True)
    tiny_llama(theirs)
    wrong = shell.run("models", "remove", "--yes", found["name"], "nonsense")
    foreign = shell.run("models", "remove", "--yes", found["name"], "theirs.gguf")

    assert (wrong.returncode, foreign.returncode) == (1, 1)
    assert "nonsense" in wrong.stderr
    assert "another program" in foreign.stderr
    assert shell.run("models", "verify").stdout == f"{found['name']}  whole\n"


def test_where_models_are(shell: Shell, file: Path) -> None:
    """The folder and what it takes."""
    before = json.loads(shell.run("models", "where", "--json").stdout)
    found = pulled(shell, file)
    after = json.loads(shell.run("models", "where", "--json").stdout)

    assert before["usage"]["modelsBytes"] == 0
    assert after["usage"]["modelsBytes"] == found["sizeBytes"]
    assert found["path"].startswith(after["folder"])


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ("/no/such.gguf", "no such file"),
        ("hf:nothing", "owner/name"),
        ("qwen2.5-codr-7b", "Did you mean"),
        ("", "names no model"),
    ],
)
def test_a_reference_that_is_none(shell: Shell, reference: str, words: str) -> None:
    """One sentence, exit code 1, no folder is made."""
    told = shell.run("models", "pull", reference)

    assert (told.returncode, told.stdout) == (1, "")
    assert words.lower() in told.stderr.lower()
    assert "Traceback" not in told.stderr


def test_a_file_that_is_no_model(shell: Shell) -> None:
    """It is refused with what it seems to be, and leaves nothing in the store."""
    (shell.folder / "page.gguf").write_text("<!doctype html>", encoding="utf-8")
    told = shell.run("models", "pull", str(shell.folder / "page.gguf"), "--json")

    assert told.returncode == 1
    assert json.loads(told.stdout)["error"]["kind"] == "ModelRefused"
    assert "a web page" in json.loads(told.stdout)["error"]["message"]
    assert json.loads(shell.run("models", "where", "--json").stdout)["usage"]["modelsBytes"] == 0


def test_a_list_for_a_program(shell: Shell) -> None:
    """The embedded model stands first and is the configured one."""
    listed = json.loads(shell.run("models", "list", "--json").stdout)

    assert listed["models"][0]["embedded"] is True
    assert listed["models"][0]["configured"] is True
    assert (listed["hasMore"], listed["downloads"]) == (False, [])


def test_a_model_of_the_catalog(shell: Shell) -> None:
    """`info` of an id tells its licence, its figures with their addresses, and how it is fetched."""
    told = shell.run("models", "info", "qwen2.5-coder-7b-instruct")

    assert told.returncode == 0
    assert "botframework models pull qwen2.5-coder-7b-instruct" in told.stdout
    assert "https://" in told.stdout


def test_recommendations(shell: Shell) -> None:
    """For ghost text and chat, best first, with reasons and the command that fetches the first."""
    told = shell.run("models", "recommend")
    found = json.loads(shell.run("models", "recommend", "--json", "--role", "fim").stdout)

    assert told.returncode == 0
    assert "Ghost text" in told.stdout
    assert "Chat and edits" in told.stdout
    assert "botframework models pull hf:" in told.stdout
    best = found["recommendations"][0]
    assert (best["role"], best["placement"] == "none") == ("fim", False)
    assert best["reasons"]
    assert found["hardware"]["ramTotal"] > 0
