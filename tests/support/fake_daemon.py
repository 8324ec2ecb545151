r"""The real daemon process, with a router that makes its answers up instead of asking a model.

Everything but the manager and the worker is real: arguments, threads, pipes, signals. What the router does is said by
words in the request itself (the last chat message, or the text before the cursor):

    tokens=5        how many tokens to answer with (each is ``<n> ``)
    pause_ms=10     wait before each token
    text=abc        answer with this text, as one token; ``\n`` is a line end and ``\s`` a blank in it
    piece=2         ... as tokens of two characters each
    fail=ServerBusy raise that error when asked
    fits=900        raise ContextOverflow, as the worker does, if all messages have more characters than that together

and for the whole process by the environment variable ``FAKE_ROUTER``, a JSON object: ``load_ms``, ``exchange_ms`` (of
another model), ``pull_ms``, ``name`` (of the model), ``answers`` (to requests that hold a text), ``thoughts`` (answers
begin with them), ``state``, ``noise`` (print in every way there is),
``stick_in_shutdown``, ``stop_s`` and ``journal``, the path of a file to which what the router saw is written, one JSON
object a line with the time of `time.monotonic`.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
import time
import types
import weakref
from importlib.abc import MetaPathFinder
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from botframework import errors
from botframework.wire.messages import Device, Done, FimRequest, Inspection, Loaded, ModelInfo, Timings, Token, Usage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from botframework.manager.advice import Advice
    from botframework.manager.entry import ModelEntry
    from botframework.manager.status import Snapshot
    from botframework.wire.messages import ChatRequest, FinishReason, SessionInfo

OPTIONS: dict[str, Any] = json.loads(os.environ.get("FAKE_ROUTER", "{}"))
_WORD = re.compile(r"(\w+)=(\S+)")
GIB = 1 << 30


def note(**what: Any) -> None:
    """Write into the journal."""
    if "journal" in OPTIONS:
        with Path(OPTIONS["journal"]).open("a") as file:
            file.write(json.dumps(what | {"at": time.monotonic()}) + "\n")


class FakeGeneration:
    """Makes tokens as the request's words say, and waits while the router is paused."""

    def __init__(self, router: FakeRouter, request: FimRequest | ChatRequest, words: dict[str, str]) -> None:
        self.id = next(router.ids)
        self.session = request.session
        self._router = router
        self._request = request
        self._words = words
        self._cancelled = False
        self._made = 0
        self._tokens: asyncio.Queue[Token | None] = asyncio.Queue(maxsize=64)
        self._task = asyncio.create_task(self._make())

    async def _make(self) -> Done:
        whole: list[str] = []
        reason: FinishReason = "stop"
        try:
            async for token in self._compute():
                if self._request.stream:
                    await self._tokens.put(token)
                else:
                    whole.append(token.text)
                self._made += 1
            note(event="done", id=self.id, tokens=self._made)
        except asyncio.CancelledError:
            if not self._cancelled:
                raise
            reason = "cancelled"
            while not self._tokens.empty():
                self._tokens.get_nowait()
        finally:
            if self._request.stream:
                await self._tokens.put(None)
        return Done(
            id=self.id,
            text="".join(whole),
            finish_reason=reason,
            usage=Usage(prompt_tokens=7, cached_tokens=3, evaluated_tokens=4, completion_tokens=self._made),
            timings=Timings(queue_ms=0.0, first_token_ms=1.0, prompt_ms=1.0, decode_ms=2.0),
        )

    async def _compute(self) -> AsyncIterator[Token]:
        pause_s = float(self._words.get("pause_ms", "0")) / 1000
        chars = 0 if isinstance(self._request, FimRequest) else sum(len(m.content) for m in self._request.messages)
        if (fits := int(self._words.get("fits", "0"))) and chars > fits:
            raise errors.ContextOverflow("too long", promptTokens=chars // 4, contextTokens=fits // 4)
        for index, text in enumerate(self._texts()):
            if pause_s:
                await asyncio.sleep(pause_s)
            await self._router.flowing.wait()
            if index % 100 == 0:
                await asyncio.sleep(0)
            yield Token(id=self.id, text=text, index=index)

    def _texts(self) -> Iterator[str]:
        """The texts of all tokens."""
        told = self._words.get("text")
        if told is None:
            yield from (f"{index} " for index in range(int(self._words.get("tokens", "3"))))
            return
        told = told.replace("\\n", "\n").replace("\\s", " ")
        size = int(self._words.get("piece", len(told)))
        yield from (told[at : at + size] for at in range(0, len(told), size))

    async def __aiter__(self) -> AsyncIterator[Token]:
        while (token := await self._tokens.get()) is not None:
            yield token

    async def result(self) -> Done:
        """The end."""
        return await asyncio.shield(self._task)

    def cancel(self) -> None:
        """Stop: the answer ends where it is."""
        if not self._cancelled and not self._task.done():
            self._cancelled = True
            note(event="cancel", id=self.id)
            self._task.cancel()


class FakeRouter:
    """What `manager.router.Router` looks like from above."""

    def __init__(
        self,
        settings: Any,
        *,
        on_change: Callable[[], None],
        on_ready: Callable[[Loaded], None],
        on_progress: Callable[[float], None],
        root_uri: str,
    ) -> None:
        from botframework.manager.status import Snapshot

        self.settings = settings
        self.ids = iter(range(1, 1 << 60))
        self.flowing = asyncio.Event()
        self.flowing.set()
        self._on_change, self._on_ready, self._on_progress = on_change, on_ready, on_progress
        self._snapshot = Snapshot(state=OPTIONS.get("state", "starting"), model_name=OPTIONS.get("name", "fake"))
        self._sessions: dict[str, SessionInfo] = {}
        self._generations: weakref.WeakSet[FakeGeneration] = weakref.WeakSet()
        if OPTIONS.get("noise"):
            make_noise("the router was made")
        note(
            event="settings",
            pid=os.getpid(),
            model=settings.model,
            apart=(settings.models.fim, settings.models.chat),
            max_tokens=settings.completion.max_tokens,
            root_uri=root_uri,
            trusted=settings.workspace_trusted,
        )

    def _set(self, **fields: Any) -> None:
        self._snapshot = msgspec.structs.replace(self._snapshot, **fields)
        self._on_change()

    async def start(self) -> None:
        """Load, as long as the options say."""
        if "state" in OPTIONS:
            self._on_change()
            return
        load_ms = OPTIONS.get("load_ms", 0)
        if load_ms:
            self._set(state="loading")
            for step in range(10):
                # Seen at the next heartbeat.
                self._snapshot = msgspec.structs.replace(self._snapshot, load_percent=10 * step)
                self._on_progress(step / 10)
                await asyncio.sleep(load_ms / 10_000)
        self._set(state="ready")
        self._on_ready(loaded())

    async def stop(self) -> None:
        """Stop, or be stuck."""
        note(event="stop")
        if OPTIONS.get("stick_in_shutdown"):
            time.sleep(60)  # noqa: ASYNC251 - the loop is stuck: that is the point
        await asyncio.sleep(OPTIONS.get("stop_s", 0))

    async def restart(self) -> None:
        """Change the state there and back."""
        self._set(state="restarting")
        self._set(state="ready")

    def complete(self, request: FimRequest) -> FakeGeneration:
        """The words are in the last line."""
        return self._generate(request, request.prefix.splitlines()[-1] if request.prefix.strip() else "")

    def chat(self, request: ChatRequest) -> FakeGeneration:
        """The words are in the last message."""
        return self._generate(request, request.messages[-1].content)

    def _generate(self, request: FimRequest | ChatRequest, text: str) -> FakeGeneration:
        if self._snapshot.state != "ready":
            raise errors.ModelLoading("the model is loading", fraction=0.5)
        words = dict(_WORD.findall(text))
        for asked, answer in OPTIONS.get("answers", {}).items():
            if asked in text:
                words = {"text": answer, "piece": "4", "pause_ms": "5"}
        if "fail" in words:
            raise getattr(errors, words["fail"])("as asked")
        note(event="request", request=msgspec.to_builtins(request) if len(text) < 10_000 else None)
        if OPTIONS.get("noise"):
            make_noise("a request came")
        if words.get("stick"):
            time.sleep(float(words["stick"]))
        generation = FakeGeneration(self, request, words)
        self._generations.add(generation)
        return generation

    async def snapshot(self) -> Snapshot:
        """The state and nothing else."""
        return self._snapshot

    async def sessions(self) -> tuple[SessionInfo, ...]:
        """None."""
        return tuple(self._sessions.values())

    async def close_session(self, name: str) -> tuple[SessionInfo, ...]:
        """Write it down, and end what runs in it."""
        note(event="close", session=name)
        for generation in self._generations:
            if generation.session == name:
                generation.cancel()
        return await self.sessions()

    async def clear_sessions(self) -> tuple[SessionInfo, ...]:
        """Write it down."""
        note(event="clear")
        return ()

    async def inspect(self, name: str) -> Inspection:
        """The name is the prompt; without a model there is none."""
        if self._snapshot.state != "ready":
            raise errors.ModelLoading("the model is loading", fraction=0.5)
        return Inspection(id=0, found=True, prompt=name, prompt_tokens=7, evaluated_tokens=2)

    async def update(self, settings: Any) -> None:
        """Write it down."""
        note(event="update", snapshots=settings.sessions.snapshots)

    @property
    def begins_with_thoughts(self) -> bool:
        """As the options say."""
        return bool(OPTIONS.get("thoughts"))

    async def models(self) -> Any:
        """None, in a folder that is not there."""
        from botframework.manager.shelf import Listing

        return Listing((), "/models", has_more=False)

    async def load_model(self, path: str, roles: tuple[str, ...] = ()) -> None:
        """Load as at the start; what has ``missing`` in its path is."""
        note(event="load", path=path, roles=roles)
        for step in range(10):
            self._on_progress(step / 10)
            await asyncio.sleep(OPTIONS.get("exchange_ms", 0) / 10_000)
        if "missing" in path:
            raise errors.ModelNotFound(f"{path}: no such file", path=path)
        self._set(state="ready", model_path=path)
        self._on_ready(loaded())

    async def unload_model(self) -> None:
        """Be without a model."""
        self._set(state="stopped", model_name="", model_path="")

    async def wake(self, role: str) -> None:
        """Load what sleeps."""
        note(event="wake", role=role)
        if self._snapshot.state == "sleeping":
            await asyncio.sleep(OPTIONS.get("load_ms", 0) / 1_000)
            self._set(state="ready")

    async def advice(self, roles: tuple[str, ...]) -> Advice:
        """One model for a machine of paper."""
        note(event="advice", roles=roles)
        return advice()

    async def pull(self, reference: str, on_progress: Callable[[int, int | None], None]) -> ModelEntry:
        """Pull a made-up gibibyte; ``fail=ModelGated`` in the reference raises that error, ``endless`` has no size."""
        note(event="pull", reference=reference)
        try:
            for step in range(10):
                on_progress(step * GIB // 10, None if "endless" in reference else GIB)
                await asyncio.sleep(OPTIONS.get("pull_ms", 0) / 10_000)
        except asyncio.CancelledError:
            note(event="pull stopped", reference=reference)
            raise
        if (failing := _WORD.search(reference)) is not None:
            raise getattr(errors, failing[2])("as asked", url="https://example.org/licence")
        return entry("/models/pulled.gguf")

    async def remove_model(self, path: str) -> None:
        """Write it down; what has ``loaded`` in its path is."""
        note(event="remove", path=path)
        if "loaded" in path:
            raise errors.ModelError(f"{path} is loaded: load another model first")

    def pause_reading(self) -> None:
        """Generations wait."""
        note(event="pause")
        self.flowing.clear()

    def resume_reading(self) -> None:
        """Generations go on."""
        note(event="resume")
        self.flowing.set()


def loaded() -> Loaded:
    """What a worker tells about a model."""
    return Loaded(
        model=ModelInfo(
            name="fake",
            architecture="llama",
            description="",
            path="/fake.gguf",
            size_bytes=1,
            n_params=1,
            n_vocab=2_048,
            n_ctx_train=2_048,
            n_layers=1,
            n_embd=64,
            can_infill=True,
            fim_order="psm",
            has_chat_template=True,
            can_cut_tail=True,
        ),
        devices=(Device(name="CPU", description="cpu", kind="cpu", total_bytes=1, free_bytes=1),),
        n_threads=1,
        n_ctx_fim=2_048,
        n_ctx_chat=2_048,
        load_ms=1.0,
        prefill_tokens_per_s=1.0,
        decode_tokens_per_s=1.0,
        llama_build="fake",
    )


def entry(path: str) -> ModelEntry:
    """A model file that is not there."""
    from botframework.manager.entry import ModelEntry

    return ModelEntry(
        name="pulled",
        path=path,
        size_bytes=GIB,
        architecture="llama",
        quantization="Q4_K_M",
        parameters=1_500_000_000,
        n_ctx_train=2_048,
        can_infill=True,
        has_chat_template=True,
        fits=True,
        loaded=False,
        embedded=False,
        configured=False,
        source="pulled",
        problem=None,
    )


def advice() -> Advice:
    """A machine of paper, and the one model for it."""
    from botframework.manager.advice import Advice, HardwareSummary
    from botframework.models.recommendation import Recommendation, Scores

    return Advice(
        hardware=HardwareSummary(
            cpu="paper",
            physical_cores=4,
            logical_cores=8,
            instruction_sets=("AVX2",),
            ram_total=16 * GIB,
            ram_available=12 * GIB,
            memory_bandwidth_gb_s=None,
            unified_memory=False,
            gpus=(),
            battery=None,
        ),
        recommendations=(
            Recommendation(
                model_id="fake-1.5b",
                name="Fake 1.5B",
                role="fim",
                repository="maker/fake-GGUF",
                quantization="Q4_K_M",
                reference="hf:maker/fake-GGUF:Q4_K_M",
                parameters=1_500_000_000,
                licence="apache-2.0",
                estimated_bytes=GIB,
                placement="cpu",
                context_tokens=8_192,
                scores=Scores(size=100.0, precision=100.0, kv=100.0, performance=None, density=None),
                total=100.0,
                reasons=("It fits.",),
                installed_path=None,
            ),
        ),
    )


def make_noise(text: str) -> None:
    """Write to standard output in every way there is."""
    import ctypes

    print(f"print: {text}")  # noqa: T201 - the point
    sys.stdout.flush()
    os.write(1, f"os.write: {text}\n".encode())
    libc = ctypes.CDLL(None)
    libc.puts(f"puts: {text}".encode())
    libc.fflush(None)
    subprocess.run(["/bin/echo", f"echo: {text}"], check=True)


class _NoisyImport(MetaPathFinder):
    """Prints while a module is imported, as some packages do."""

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> None:  # noqa: ARG002
        if fullname == "pygls":
            make_noise("pygls is imported")


def main() -> int:
    """Be a daemon."""
    from botframework import cli

    router_module = types.ModuleType("botframework.manager.router")
    router_module.Router = FakeRouter  # type: ignore[attr-defined]
    sys.modules["botframework.manager.router"] = router_module
    if OPTIONS.get("noise"):
        sys.meta_path.insert(0, _NoisyImport())
    return cli.main(sys.argv[1:])


if __name__ == "__main__":
    raise SystemExit(main())
