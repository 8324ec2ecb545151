"""Token healing: a cut word may become one token, and no byte that the user typed ever changes."""

from __future__ import annotations

import random
import time
import tracemalloc
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import botframework
from botframework.worker import llama
from botframework.worker.healing import MAX_HELD, Healing, VocabularyIndex, held_back

if TYPE_CHECKING:
    from collections.abc import Sequence

CODE = '''def total(items, *, start=0):
    """Add up what the items cost; "naïve" prices like 5 € or 🙂 are refused.\\r

    Raises ValueError.
    """
    result = start
    for item in items:
        if item.price is None or not item.is_available():
            raise ValueError(f"no price: {item!r}")
        result += item.price * (1 + item.tax)  # ------------------------

    return result


class Basket(BaseModel):
\titems: list[Item] = field(default_factory=list)

\tdef __len__(self) -> int:
\t\treturn len(self.items)
                                                            deep = 1
'''

SPACED = [
    b"",
    b" ",
    b"  ",
    b"    ",
    b"        ",
    b"\n",
    b"\t",
    b" return",
    b" ret",
    b"return",
    b"ret",
    b"r",
    b"e",
    b"t",
]
SPACED += [
    b" self",
    b"self",
    b".",
    b".na",
    b".name",
    b"na",
    b"name",
    b"n",
    b"a",
    b"m",
    b"=",
    b" =",
    b"==",
    b"\xc3",
    b"\xa9",
]
SPACED += [b"\xc3\xa9", b"caf", b"caf\xc3\xa9", b"---", b"-", b"--------", b"-" * 32, b"", b"ret"]
"""A little vocabulary of the kind that puts a space before words; the first and the last but one are no text."""


@pytest.fixture(scope="module")
def embedded() -> llama.Vocab:
    """The vocabulary of the embedded model: a byte-level BPE trained on code."""
    llama.initialise(lambda _level, _line: None, lambda _text: None)
    path = Path(botframework.__file__).parent / "embedded" / "model.gguf"
    return llama.Model(str(path), n_gpu_layers=0, use_mmap=True, progress=lambda _: True).vocab


@pytest.fixture(scope="module")
def index(embedded: llama.Vocab) -> VocabularyIndex:
    """Its index."""
    return VocabularyIndex(embedded.pieces())


def walk(index: VocabularyIndex, held: Sequence[int], choose: random.Random) -> bytes:
    """Heal with arbitrary candidates; the bytes of all tokens that were taken."""
    healing, taken, added = Healing(index, held), b"", b""
    while not healing.is_done:
        candidates = healing.candidates()
        token = int(choose.choice(candidates))
        result = healing.take(token)
        taken += index.piece(token)
        added += result or b""
        assert (result is None) == (not healing.is_done)
    assert taken.endswith(added)
    assert taken[: len(taken) - len(added)] == b"".join(map(index.piece, held))
    return taken


@given(cut=st.integers(0, len(CODE)), seed=st.integers())
def test_no_byte_that_was_typed_changes(embedded: llama.Vocab, index: VocabularyIndex, cut: int, seed: int) -> None:
    """Wherever the cursor stands and whatever the model chooses, prompt and generated tokens begin with the text."""
    typed = CODE[:cut]
    tokens = embedded.tokenize(typed)
    held = held_back(tokens, index)
    prompt = tokens[: len(tokens) - held]

    text = b"".join(map(index.piece, prompt)) + walk(index, tokens[len(tokens) - held :], random.Random(seed))

    assert text.startswith(typed.encode())
    assert held <= MAX_HELD


PIECE = st.text("ab \t", max_size=4).map(str.encode)


@given(pieces=st.lists(PIECE, max_size=40), tokens=st.lists(st.integers(0, 43), max_size=12), seed=st.integers())
def test_no_vocabulary_makes_healing_stick(pieces: list[bytes], tokens: list[int], seed: int) -> None:
    """With any vocabulary there is always a candidate, the end is reached, and the held bytes come back first."""
    pieces = [*pieces, b"a", b"b", b" ", b"\t"]
    assume(all(token < len(pieces) for token in tokens))
    index = VocabularyIndex(pieces)
    held = held_back(tokens, index)
    assert sum(len(pieces[token]) for token in tokens[len(tokens) - held :]) <= index.longest

    walk(index, tokens[len(tokens) - held :], random.Random(seed))


@given(pieces=st.lists(st.binary(max_size=3), max_size=60), text=st.binary(max_size=3))
def test_look_ups_equal_a_search_through_everything(pieces: list[bytes], text: bytes) -> None:
    """The index finds what a scan over all tokens finds; tokens without bytes never."""
    index = VocabularyIndex(pieces)
    named = [(token, piece) for token, piece in enumerate(pieces) if piece]

    assert sorted(index.starting_with(text)) == [token for token, piece in named if piece.startswith(text)]
    assert index.has_longer(text) == any(piece.startswith(text) and piece != text for _, piece in named)
    spelling = index.spelling(text)
    assert (spelling is None) == (not any(piece == text for _, piece in named))
    assert spelling is None or pieces[spelling] == text


@pytest.mark.parametrize(
    ("typed", "held", "first"),
    [
        ([b"self", b".na"], [b".na"], {b".na", b".name"}),
        ([b" ret"], [b" ret"], {b" ret", b" return"}),
        ([b".", b"na"], [b".", b"na"], {b".", b".na", b".name"}),  # Two tokens that a longer word swallows.
        ([b"a", b"return"], [], set()),  # Nothing goes on with it.
        ([b"\n", b"    "], [b"    "], {b"    ", b"        "}),  # No token of three blanks here: the four stay together.
        ([b"\n", b"  "], [b"  "], {b"  ", b"    ", b"        ", b" "}),  # The next word takes the last blank.
        ([b"caf", b"\xc3"], [b"caf", b"\xc3"], {b"caf", b"caf\xc3\xa9"}),  # A character that is not complete.
        ([b"=", b" "], [b" "], {piece for piece in SPACED if piece.startswith(b" ")}),
        ([b"--------", b"---"], [b"--------", b"---"], {b"--------", b"-" * 32}),
        ([b"", b"n"], [b"n"], {b"n", b"na", b"name"}),  # A special token is no part of a word.
        ([], [], set()),
    ],
)
def test_what_is_held_and_what_may_come(typed: list[bytes], held: list[bytes], first: set[bytes]) -> None:
    """As many tokens are held as a longer token may swallow; the first candidates are all ways to go on."""
    index = VocabularyIndex(SPACED)
    tokens = [SPACED.index(piece) for piece in typed]

    count = held_back(tokens, index)
    healing = Healing(index, tokens[len(tokens) - count :])

    assert typed[len(typed) - count :] == held
    assert healing.is_done == (not held)
    if held:
        assert {SPACED[token] for token in healing.candidates()} == first


def test_a_run_of_blanks_gives_its_last_one_to_the_word() -> None:
    """Two blanks before a word are one blank and a word with a blank, as every common tokenizer cuts them."""
    index = VocabularyIndex(SPACED)
    healing = Healing(index, [SPACED.index(b"  ")])

    assert healing.take(SPACED.index(b" ")) is None
    assert healing.take(SPACED.index(b" return")) == b"return"
    assert healing.is_done


def test_the_words_of_the_real_tokenizer_stay_reachable(embedded: llama.Vocab, index: VocabularyIndex) -> None:
    """Cut anywhere, the tokens that the whole text would have had are nearly always among the candidates."""
    whole = embedded.tokenize(CODE)
    reached = plain = total = 0
    for cut in range(1, len(CODE) - 1):
        tokens = embedded.tokenize(CODE[:cut])
        held = held_back(tokens, index)
        prompt = tokens[: len(tokens) - held]
        healing, at = Healing(index, tokens[len(tokens) - held :]), len(prompt)
        fits = whole[:at] == prompt
        while fits and not healing.is_done:
            fits = whole[at] in healing.candidates()
            if fits:
                healing.take(whole[at])
                at += 1
        reached += fits
        plain += whole[: len(tokens)] == tokens
        total += 1

    assert reached / total > 0.9
    assert plain / total < 0.5  # Without healing: what this is for.


def test_real_code_holds_back_one_or_two_tokens(embedded: llama.Vocab, index: VocabularyIndex) -> None:
    """Each held token may cost a step of decoding: on average there are fewer than two."""
    counts = [held_back(embedded.tokenize(CODE[:cut]), index) for cut in range(1, len(CODE))]

    assert 0.5 < sum(counts) / len(counts) < 2
    assert max(counts) <= 6


def test_special_tokens_are_never_candidates(embedded: llama.Vocab, index: VocabularyIndex) -> None:
    """Control, end-of-generation and FIM tokens have no bytes, so that nothing can be healed into them."""
    special = [token for token in range(embedded.size) if embedded.is_eog(token)]
    special += [embedded.fim(name) for name in ("pre", "suf", "mid") if embedded.fim(name) >= 0]

    assert special
    assert all(index.piece(token) == b"" for token in special)
    assert not set(special) & set(index.starting_with(b"").tolist())
    assert index.starting_with(b"<").size  # The signs that their names begin with are text.


def test_a_token_that_changes_the_text_is_refused(index: VocabularyIndex) -> None:
    """Taking anything but a candidate raises, and so does a token that does not exist or comes after the end."""
    spaced = VocabularyIndex(SPACED)
    for token in (b"n", b"name", b"r", b""):
        with pytest.raises(ValueError, match="does not go with"):
            Healing(spaced, [SPACED.index(b".na")]).take(SPACED.index(token))
    with pytest.raises(ValueError, match="does not go with"):
        Healing(spaced, []).take(SPACED.index(b"n"))
    with pytest.raises(ValueError, match="outside the vocabulary"):
        Healing(spaced, [SPACED.index(b".na")]).take(len(SPACED))
    with pytest.raises(ValueError, match="outside the vocabulary"):
        index.piece(-1)


def test_the_index_is_not_written_to(index: VocabularyIndex) -> None:
    """What a look-up returns is a view of the index for all threads."""
    found = index.starting_with(b"re")

    assert found.dtype == np.int32
    with pytest.raises(ValueError, match="read-only"):
        found[0] = 1


def test_a_large_vocabulary_is_cheap() -> None:
    """152k tokens are indexed in a fraction of a second and a few megabytes; a look-up takes microseconds."""
    choose = random.Random(1)
    pieces = [bytes(choose.choices(b"abcdefgh _.(", k=choose.randint(1, 12))) for _ in range(152_000)]

    began = time.process_time()
    index = VocabularyIndex(pieces)
    took = time.process_time() - began
    tracemalloc.start()
    again = VocabularyIndex(pieces)
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    began = time.process_time()
    for piece in pieces[:2_000]:
        again.starting_with(piece[:3])
        index.has_longer(piece)
    per_look_up = (time.process_time() - began) / 4_000

    assert took < 0.6  # 0.12 s on two cores; twice that and more when they are shared.
    assert size < 4e6
    assert per_look_up < 0.000_1
