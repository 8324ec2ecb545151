"""``botframework/edit``: what the model is asked, what comes back, and what happens when the document changes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from botframework import config
from botframework.lsp.editprompt import CHANGE, INSERT, Around, edit_request
from botframework.lsp.messages import EditParams, read_params
from support.lsp_client import LspClient, LspError

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from botframework.wire.messages import ChatRequest

    Fake = Callable[..., AbstractAsyncContextManager[LspClient]]

URI = "file:///work/a.py"
TEXT = "def f():\n    a = 1\n    return a\n\nf()\n"
BODY = ((1, 0), (3, 0))
"""The two lines of the function's body."""


def area(start: tuple[int, int], end: tuple[int, int]) -> dict[str, Any]:
    """A range."""
    return {name: {"line": line, "character": char} for name, (line, char) in (("start", start), ("end", end))}


def edit(instruction: str, place: tuple[tuple[int, int], tuple[int, int]] = BODY, **more: Any) -> dict[str, Any]:
    """Parameters of a request."""
    return {"textDocument": {"uri": URI}, "range": area(*place), "instruction": instruction, **more}


async def ready(client: LspClient, text: str = TEXT) -> None:
    """Initialize, wait for the made-up model and open the document."""
    await client.initialize()
    await client.notification("$/botframework/modelReady")
    await client.open(URI, text)


async def type_text(client: LspClient, start: tuple[int, int], text: str, version: int = 2) -> None:
    """Insert something into the document."""
    document = {"uri": URI, "version": version}
    change = {"range": area(start, start), "text": text}
    await client.notify("textDocument/didChange", {"textDocument": document, "contentChanges": [change]})


def asked(before: str, old: str, after: str, *, context_chars: int = 6_000, **raw: Any) -> ChatRequest:
    """The worker's request for a range between two texts."""
    params: EditParams = read_params(edit("Do it.") | raw, EditParams)
    around = Around.made_of("file:///work/a%20b.py", before, old, after, line_end="\n")
    return edit_request(params, config.Edit(), around, context_chars)[0]


# --- the prompt -------------------------------------------------------------------------------------------------------


def test_the_model_is_shown_the_part_in_its_file() -> None:
    """Name, text before and after, the part with its indentation, and the instruction at the end."""
    request = asked("def f():\n    ", "a = 1\n    return a\n", "\nf()\n")

    assert [message.role for message in request.messages] == ["system", "user"]
    assert request.messages[0].content == CHANGE
    assert request.messages[1].content == (
        "File: a b.py\n\n"
        "Before the part:\n```\ndef f():\n```\n\n"
        "After the part:\n```\nf()\n```\n\n"
        "The part:\n```\n    a = 1\n    return a\n```\n\n"
        "Instruction: Do it."
    )
    assert (request.priority, request.trim, request.stream) == ("edit", False, True)


def test_a_part_of_a_line_is_shown_between_the_rest_of_it() -> None:
    """What stands on the line beside the part belongs to the text around it."""
    request = asked("x = 1\ny = f(", "a, b", ")\nz = 2")

    assert "Before the part:\n```\nx = 1\ny = f(\n```" in request.messages[1].content
    assert "After the part:\n```\n)\nz = 2\n```" in request.messages[1].content
    assert "The part:\n```\na, b\n```" in request.messages[1].content


def test_an_empty_range_asks_for_new_text() -> None:
    """With words of its own, and without a part."""
    request = asked("x = 1\n", "", "\ny = 2")

    assert request.messages[0].content == INSERT
    assert "Before the place:\n```\nx = 1\n```" in request.messages[1].content
    assert "The part" not in request.messages[1].content


def test_a_text_with_fences_stands_between_longer_ones() -> None:
    """Or the model could not tell where it ends."""
    assert "The part:\n`````\n````sh\nls\n````\n`````\n" in asked("", "````sh\nls\n````\n", "").messages[1].content


def test_the_file_is_cut_at_whole_lines() -> None:
    """The nearest lines are shown, half of the characters before the part, and what one side does not need after it."""
    lines = "".join(f"line {number}\n" for number in range(100))
    both = asked(lines, "old\n", lines, context_chars=40).messages[1].content
    only_after = asked("", "old\n", lines, context_chars=40).messages[1].content

    assert "Before the part:\n```\nline 98\nline 99\n```" in both
    assert "After the part:\n```\nline 0\nline 1\n```" in both
    assert "After the part:\n```\nline 0\nline 1\nline 2\nline 3\nline 4\n```" in only_after
    assert "line" not in asked(lines, "old\n", lines, context_chars=0).messages[1].content


def test_the_settings_stand_in_for_what_is_left_out() -> None:
    """Defaults come from the settings of edits, the client's own values win."""
    defaults, own = asked("", "a", ""), asked("", "a", "", maxTokens=7, sampling={"seed": 4}, session="s")

    assert (defaults.max_tokens, defaults.sampling.temperature, defaults.deadline_ms) == (2_048, 0.0, 300_000)
    assert (own.max_tokens, own.sampling.seed, own.session) == (7, 4, "s")


# --- the answer -------------------------------------------------------------------------------------------------------


async def test_an_edit_at_once(fake: Fake) -> None:
    """Without a token to stream by, the new text comes as a whole, as an edit of the document's version and as text."""
    async with fake() as client:
        await ready(client)
        result = await client.request("botframework/edit", edit("text=```python\\nreturn\\s1\\n```\\nDone."))

    new = "    return 1\n"
    change = {"textDocument": {"uri": URI, "version": 1}, "edits": [{"range": area(*BODY), "newText": new}]}
    assert result["edit"] == {"documentChanges": [change]}
    assert (result["text"], result["finishReason"]) == (new, "stop")
    assert set(result) == {"text", "finishReason", "usage", "timings", "edit"}


async def test_a_streamed_edit(fake: Fake) -> None:
    """What is streamed is the new text, without fences and with its indentation; the result's edit holds it again."""
    async with fake() as client:
        await ready(client)
        wanted = "text=Sure:\\n```python\\nb\\s=\\s2\\n\\nreturn\\sb\\n```\\nDone. piece=2 pause_ms=1"
        params = edit(wanted, partialResultToken="p", workDoneToken="w")
        result = await client.request("botframework/edit", params)

        pieces = client.progress["p"]
        new = "    b = 2\n\n    return b\n"
        assert "".join(piece["text"] for piece in pieces) == new
        assert len(pieces) > 4
        indices = [piece["index"] for piece in pieces]
        assert indices == sorted(set(indices))
        assert result["text"] == ""
        assert result["edit"]["documentChanges"][0]["edits"] == [{"range": area(*BODY), "newText": new}]
        assert [value["kind"] for value in client.progress["w"]] == ["begin", "end"]


async def test_the_model_is_stopped_at_the_end_of_the_block(fake: Fake, journal: Any) -> None:
    """An explanation after the new text is not waited for."""
    async with fake() as client:
        await ready(client)
        endless = "word\\s" * 2_000
        params = edit(f"text=```\\nreturn\\n```\\n{endless} piece=3 pause_ms=5")
        result = await client.request("botframework/edit", params)

        assert result["text"] == "    return\n"
        assert result["finishReason"] == "stop"
        assert [entry["event"] for entry in journal()][-2:] == ["request", "cancel"]


async def test_nothing_is_changed(fake: Fake) -> None:
    """A model that repeats the part gives no edit."""
    async with fake() as client:
        await ready(client)
        result = await client.request("botframework/edit", edit("text=```\\na\\s=\\s1\\nreturn\\sa\\n```"))

        assert result["edit"] == {"documentChanges": []}


async def test_a_model_that_says_nothing(fake: Fake) -> None:
    """No text is no order to delete the selection; an empty code block is one."""
    async with fake() as client:
        await ready(client)
        for answer in ("\\n", "```", "<think>hm"):
            result = await client.request("botframework/edit", edit(f"text={answer}"))
            assert (result["edit"], result["text"]) == ({"documentChanges": []}, "")
        (change,) = (await client.request("botframework/edit", edit("text=```\\n```")))["edit"]["documentChanges"]

        assert change["edits"] == [{"range": area(*BODY), "newText": ""}]


async def test_a_model_that_thinks_aloud(fake: Fake) -> None:
    """Its thoughts are no part of the new text, also when its template has begun them."""
    async with fake(thoughts=True) as client:
        await ready(client)
        result = await client.request("botframework/edit", edit("text=a\\nb\\nc\\nd\\n</think>\\nx piece=1"))

        assert result["text"] == "    x\n"


async def test_an_insertion_in_a_document_of_another_platform(fake: Fake) -> None:
    """New text has the document's line ends and the indentation of its place."""
    async with fake() as client:
        await ready(client, "if x:\r\n    \r\n")
        result = await client.request("botframework/edit", edit("text=a\\n\\s\\sb", ((1, 4), (1, 4))))

        assert result["text"] == "a\r\n      b"


async def test_a_prompt_that_does_not_fit_gets_less_of_the_file(fake: Fake, journal: Any) -> None:
    """The text around the part is shortened until the rest fits."""
    async with fake() as client:
        lines = "".join(f"line {number}\n" for number in range(500))
        await ready(client, lines + "old\n" + lines)
        place = ((500, 0), (501, 0))
        result = await client.request("botframework/edit", edit("text=new fits=2000", place))

        asked = [entry["request"] for entry in journal() if entry["event"] == "request"]
        sizes = [sum(len(message["content"]) for message in request["messages"]) for request in asked]
        assert result["text"] == "new\n"
        assert len(sizes) == 2
        assert 1_000 < sizes[1] <= 2_000 < sizes[0]


# --- what goes wrong --------------------------------------------------------------------------------------------------


async def test_a_selection_that_does_not_fit(fake: Fake) -> None:
    """When even the part alone is too long, the error says how long, and what to do."""
    async with fake() as client:
        await ready(client)
        with pytest.raises(LspError, match="select less") as error:
            await client.request("botframework/edit", edit("fits=100"))

        assert (error.value.code, error.value.data["kind"]) == (-33003, "ContextOverflow")
        assert error.value.data["promptTokens"] > error.value.data["contextTokens"] == 25


REFUSED: dict[str, tuple[dict[str, Any], int, str]] = {
    "another document": ({"textDocument": {"uri": "file:///other"}}, -32602, "/textDocument/uri"),
    "behind the last line": ({"range": area((9, 0), (9, 0))}, -32602, "/range/start/line"),
    "the wrong way round": ({"range": area((2, 0), (1, 0))}, -32602, "/range/end"),
    "no instruction": ({"instruction": ""}, -32602, "/instruction"),
    "a long instruction": ({"instruction": "x" * 32_769}, -32602, "/instruction"),
    "an unknown field": ({"rage": 1}, -32602, "/rage"),
}


async def test_what_is_refused(fake: Fake) -> None:
    """No such document, a range that is none of it, an instruction beyond its limits: each names its field."""
    async with fake() as client:
        await ready(client)
        for params, code, pointer in REFUSED.values():
            with pytest.raises(LspError) as error:
                await client.request("botframework/edit", edit("text=x") | params)
            assert (error.value.code, error.value.data["pointer"]) == (code, pointer)


async def test_a_selection_beyond_the_limit(fake: Fake) -> None:
    """A whole file of megabytes is no selection that a model could read; the message says how many characters are."""
    async with fake() as client:
        await ready(client, "word\n" * 400_000)
        with pytest.raises(LspError, match=r"1,048,576") as error:
            await client.request("botframework/edit", edit("text=x", ((0, 0), (400_000, 0))))

        assert (error.value.code, error.value.data["pointer"]) == (-32602, "/range")


async def test_another_version_of_the_document(fake: Fake) -> None:
    """A range of a version that the daemon does not know is not guessed at."""
    async with fake() as client:
        await ready(client)
        assert (await client.request("botframework/edit", edit("text=x", version=1)))["text"] == "    x\n"
        with pytest.raises(LspError) as error:
            await client.request("botframework/edit", edit("text=x", version=2))

        assert error.value.code == -32801
        assert error.value.data == {"kind": "ContentModified", "retryable": False, "version": 1}


async def test_typing_elsewhere_moves_the_range(fake: Fake) -> None:
    """The edit is of the version that the document has at the end, at the place where the text is then."""
    async with fake() as client:
        await ready(client)
        number = await client.post("botframework/edit", edit("text=x\\ny\\nz\\nw\\nv piece=1 pause_ms=20"))
        await type_text(client, (0, 0), "import a\n\n", version=7)
        (change,) = (await client.result(number))["edit"]["documentChanges"]

        assert change["textDocument"] == {"uri": URI, "version": 7}
        assert change["edits"][0]["range"] == area((3, 0), (5, 0))


async def test_typing_inside_the_range_ends_the_edit(fake: Fake, journal: Any) -> None:
    """The user's own text is never overwritten: the request fails at once, and the model stops."""
    async with fake() as client:
        await ready(client)
        params = edit("tokens=100000 pause_ms=5", partialResultToken="p")
        number = await client.post("botframework/edit", params)
        await client.until(lambda: len(client.progress["p"]) > 0)
        await type_text(client, (1, 6), "b")
        with pytest.raises(LspError) as error:
            await client.result(number)

        assert (error.value.code, error.value.data["kind"]) == (-32801, "ContentModified")
        assert journal()[-1]["event"] == "cancel"


async def test_a_change_right_behind_the_request_counts(fake: Fake) -> None:
    """Also one that is read together with the request."""
    async with fake() as client:
        await ready(client)
        number = await client.post("botframework/edit", edit("text=x"))
        await type_text(client, (1, 6), "b")
        with pytest.raises(LspError) as error:
            await client.result(number)

        assert error.value.code == -32801


@pytest.mark.parametrize("is_opened_again", [False, True])
async def test_closing_the_document_ends_the_edit(fake: Fake, is_opened_again: bool) -> None:
    """There is nothing left that the new text could go into; nor is there when another text is opened by the name."""
    async with fake() as client:
        await ready(client)
        number = await client.post("botframework/edit", edit("tokens=100000 pause_ms=5", partialResultToken="p"))
        await client.until(lambda: len(client.progress["p"]) > 0)
        if is_opened_again:
            await client.open(URI, "other\n" * 9)
        else:
            await client.notify("textDocument/didClose", {"textDocument": {"uri": URI}})
        with pytest.raises(LspError) as error:
            await client.result(number)

        assert (error.value.code, error.value.data["kind"]) == (-32801, "ContentModified")


async def test_a_cancelled_edit(fake: Fake, journal: Any) -> None:
    """The request gets its one answer, the progress its end, and the model stops."""
    async with fake() as client:
        await ready(client)
        params = edit("tokens=100000 pause_ms=5", partialResultToken="p", workDoneToken="w")
        number = await client.post("botframework/edit", params)
        await client.until(lambda: len(client.progress["p"]) > 0)
        await client.notify("$/cancelRequest", {"id": number})
        with pytest.raises(LspError, match="-32800"):
            await client.result(number)

        assert [value["kind"] for value in client.progress["w"]] == ["begin", "end"]
        assert journal()[-1]["event"] == "cancel"


async def test_an_edit_whose_session_is_closed(fake: Fake) -> None:
    """What is there is given, and marked as not complete."""
    async with fake() as client:
        await ready(client)
        params = edit("tokens=100000 pause_ms=5", partialResultToken="p", session="s")
        number = await client.post("botframework/edit", params)
        await client.until(lambda: len(client.progress["p"]) > 0)
        await client.request("botframework/sessions/close", {"session": "s"})

        assert (await client.result(number))["finishReason"] == "cancelled"


async def test_while_the_model_loads(fake: Fake) -> None:
    """The same clear, retryable error as for chat, and no progress bar is left behind."""
    async with fake(load_ms=60_000) as client:
        await client.initialize()
        await client.open(URI, TEXT)
        with pytest.raises(LspError) as error:
            await client.request("botframework/edit", edit("text=x", workDoneToken="w"))

        assert error.value.data["kind"] == "ModelLoading"
        assert [value["kind"] for value in client.progress["w"]] == ["begin", "end"]


async def test_edits_of_one_document_do_not_mix(fake: Fake) -> None:
    """Several ranges may be edited at once."""
    async with fake() as client:
        await ready(client)
        numbers = [
            await client.post("botframework/edit", edit(f"text={name}\\n{name} piece=1 pause_ms=2", place))
            for name, place in (("one", BODY), ("two", ((4, 0), (4, 3))))
        ]
        texts = [(await client.result(number))["text"] for number in numbers]

        assert texts == ["    one\n    one\n", "two\ntwo"]
