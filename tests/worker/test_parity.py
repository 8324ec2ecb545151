"""What the worker generates is what llama.cpp generates."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import botframework
from support import bare_llama
from support.worker_process import load_model, worker_process

CHUNK = 64
COUNT = 48

PROMPTS = [
    ("def add(a, b):\n    return ", "\n\n\ndef sub(a, b):\n    return a - b\n"),
    (
        "import os\nimport sys\n\n\ndef main():\n    for name in os.lis",
        "\n\n\nif __name__ == '__main__':\n    main()\n",
    ),
    ("class Stack:\n    def __init__(self):\n        self._items = []\n\n    def push(self, item):\n        ", "\n"),
    ("x = [\n" + "    1, 2, 3,\n" * 60, "\n]\n"),
    ("", "print('hello')\n"),
]


@pytest.fixture
def embedded_model() -> Path:
    """The model that ships with the package."""
    return Path(botframework.__file__).with_name("embedded") / "model.gguf"


async def test_greedy_equals_bare_llama_cpp(runtime_dir: Path, embedded_model: Path) -> None:
    """Greedy completions of the embedded model equal those of a bare llama.cpp loop with the same chunks.

    The prompts are asked one after the other in one session and once more without a session, so that kept KV cells
    are compared too. The last kept token can differ in its chunk, which moves logits by rounding only: the session's
    answers are compared with the ones that were computed from nothing.
    """
    async with worker_process(runtime_dir) as worker:
        client = worker.first
        loaded = await client.greet(load_model(embedded_model, n_ubatch_fim=CHUNK))
        command = [sys.executable, bare_llama.__file__, "infill", str(embedded_model), str(CHUNK), str(COUNT)]
        bare = subprocess.run(
            [*command, loaded.model.fim_order, "after"],
            input=json.dumps(PROMPTS).encode(),
            stdout=subprocess.PIPE,
            check=True,
            timeout=100,
        )
        expected = json.loads(bare.stdout)
        fresh, kept = [], []
        for prefix, suffix in PROMPTS:
            done = await client.done(client.ask(prefix, suffix=suffix, max_tokens=COUNT, stream=False))
            fresh.append(done.text)
        for prefix, suffix in PROMPTS * 2:
            number = client.ask(prefix, suffix=suffix, max_tokens=COUNT, session="doc")
            await client.done(number)
            kept.append(client.text(number))

    assert fresh == expected
    assert kept == expected * 2
