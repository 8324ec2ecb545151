"""Train the model within a wall-clock budget; stop and resume at any time.

    python train.py --work DIR --decay-at 13:00 --stop-at 13:30
    python train.py --work DIR --from model.gguf --seed 2 --decay-at 13:00 --stop-at 13:30

Documents grow in four stages and the learning rate warms up, stays, and falls linearly to a twentieth; both are decided
by the share of the wall clock that has passed, so that a slower machine trains less and not worse. SIGUSR1 pauses
between two steps until SIGUSR2; SIGTERM saves and ends; started again with the same ``--work``, training goes on where
it stopped. A pause does not move the stop. The second form begins with the weights of a trained file.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import random
import signal
import time
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from convert import read_gguf
from documents import IGNORED, KINDS, STAGES, Document, Maker
from model import Config, Model
from tokenizer import EOT
from torch import Tensor
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Iterator

STEP_TOKENS = 16_384
MICRO_TOKENS = 4_096
SHARD_DOCUMENT_TOKENS = 600_000
STAGE_ENDS = (0.45, 0.65, 0.82, 1.0)
"""Share of the wall clock at which each stage of document lengths ends."""
LATER_STAGE_ENDS = (0.0, 0.4, 0.85, 1.0)
"""The same for a run that begins with a trained file."""
MIDDLE_WEIGHT = 2.0
WARM_UP = 40
MUON_RATE, ADAM_RATE, WEIGHT_DECAY = 0.02, 3e-3, 0.01
FINAL_RATE = 0.05
SAVE_SECONDS, LOG_STEPS, HELDOUT_SECONDS = 240, 20, 900

Batch = tuple[Tensor, Tensor, Tensor, Tensor]
"""Ids, targets, kind of each row, position from which the middle is predicted (-1 for none)."""
Micro = tuple[int, Batch]

MAKERS: dict[Path, Maker] = {}


def make_shard(work: Path, seed: int, number: int, stage: int) -> list[list[Document]]:
    """Documents of one shard grouped into micro-batches of similar length, in random order; runs beside training."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    if work not in MAKERS:
        MAKERS[work] = Maker(work)
    maker = MAKERS[work]
    rng = random.Random(seed * 1_000_003 + number)
    pending: list[Document] = []
    total, part = 0, 0
    while total < SHARD_DOCUMENT_TOKENS:
        made = maker.documents((seed, number, part), STAGES[stage], 500)
        total += sum(len(d.ids) for d in made)
        pending += made
        part += 1
    return group(pending, rng)


def group(documents: list[Document], rng: random.Random) -> list[list[Document]]:
    """Sort by length, fill micro-batches to their token count, shuffle them."""
    documents = sorted(documents, key=lambda d: len(d.ids))
    batches: list[list[Document]] = []
    current: list[Document] = []
    for document in documents:
        if current and len(document.ids) * (len(current) + 1) > MICRO_TOKENS:
            batches.append(current)
            current = []
        current.append(document)
    if batches and len(current) == 1:  # torch.compile would make code of its own for batches of one
        batches[-1] += current
    else:
        batches.append(current)
    rng.shuffle(batches)
    return batches


def to_batch(documents: list[Document]) -> Batch:
    """Pad to the longest; padding predicts nothing."""
    length = max(len(d.ids) for d in documents)
    ids = np.full((len(documents), length), EOT, dtype=np.int64)
    targets = np.full((len(documents), length), IGNORED, dtype=np.int64)
    for row, document in enumerate(documents):
        ids[row, : len(document.ids)] = document.ids
        targets[row, : len(document.ids)] = document.targets
    kinds = torch.tensor([d.kind for d in documents])
    middles = torch.tensor([d.middle for d in documents])
    return torch.from_numpy(ids), torch.from_numpy(targets), kinds, middles


def token_losses(model: Model, batch: Batch) -> tuple[Tensor, Tensor]:
    """Loss of each position and its weight."""
    ids, targets, _, middles = batch
    with torch.autocast("cpu", dtype=torch.bfloat16, cache_enabled=False):
        logits = model(ids)
    rows = logits.flatten(0, 1).float()
    flat = functional.cross_entropy(rows, targets.flatten(), ignore_index=IGNORED, reduction="none")
    positions = torch.arange(ids.shape[1])[None]
    in_middle = (middles[:, None] >= 0) & (positions >= middles[:, None])
    weights = (targets != IGNORED) * (1.0 + (MIDDLE_WEIGHT - 1.0) * in_middle)
    return flat.view_as(targets), weights


Losses = Callable[[Model, Batch], tuple[Tensor, Tensor]]


def compiled() -> Losses:
    """``token_losses`` with everything between the matrix products fused, for single-threaded workers."""
    torch._inductor.config.cpp.threads = 1  # noqa: SLF001
    torch._dynamo.config.recompile_limit = 64  # noqa: SLF001
    return torch.compile(token_losses, dynamic=True)


def backward(model: Model, batch: Batch, compute: Losses) -> tuple[Tensor, float]:
    """Add one micro-batch's gradients; returns its losses and the sum of its weights.

    Micro-batches are computed by single-threaded workers side by side, and not one after the other by several threads
    in each operation: on a machine with other work the latter runs at the speed of the slowest core.
    """
    losses, weights = compute(model, batch)
    (losses * weights).sum().backward()
    return losses.detach(), float(weights.sum())


class Tally:
    """Mean losses by kind, with the first token of the middle, the rest of it and the text around it apart."""

    def __init__(self) -> None:
        self.sums: dict[str, list[float]] = {}

    def add(self, losses: Tensor, batch: Batch) -> None:
        """Count one batch."""
        _, targets, kinds, middles = batch
        positions = torch.arange(targets.shape[1])[None]
        valid = targets != IGNORED
        at = middles[:, None]
        parts = {"first": positions == at, "rest": (at >= 0) & (positions > at), "text": (at < 0) | (positions < at)}
        for kind, name in enumerate(KINDS):
            for part, mask in parts.items():
                chosen = valid & mask & (kinds == kind)[:, None]
                if (count := int(chosen.sum())) > 0:
                    entry = self.sums.setdefault(f"{name}.{part}", [0.0, 0.0])
                    entry[0] += float(losses[chosen].sum())
                    entry[1] += count

    def means(self) -> dict[str, float]:
        """The means."""
        return {key: round(total / count, 3) for key, (total, count) in sorted(self.sums.items())}


def orthogonal(matrices: Tensor) -> Tensor:
    """The nearest orthogonal matrices, roughly: five Newton-Schulz steps with the coefficients Muon uses."""
    a, b, c = 3.4445, -4.7750, 2.0315
    x = matrices.bfloat16()
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    transposed = x.shape[1] > x.shape[2]
    if transposed:
        x = x.mT
    for _ in range(5):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return (x.mT if transposed else x).float()


class Muon(torch.optim.Optimizer):
    """Momentum, then an orthogonalised step: for the matrices between embedding and output, all of one shape."""

    def __init__(self, parameters: list[Tensor], rate: float, momentum: float = 0.95) -> None:
        super().__init__(parameters, {"lr": rate, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]  # noqa: ARG002
        """One update."""
        for group_ in self.param_groups:
            parameters, momentum = group_["params"], group_["momentum"]
            blends = []
            for parameter in parameters:
                state = self.state[parameter]
                if "momentum" not in state:
                    state["momentum"] = torch.zeros_like(parameter)
                buffer = state["momentum"].lerp_(parameter.grad, 1 - momentum)
                blends.append(parameter.grad.lerp(buffer, momentum))
            for parameter, update in zip(parameters, orthogonal(torch.stack(blends)), strict=True):
                scale = max(1.0, parameter.shape[0] / parameter.shape[1]) ** 0.5
                parameter.mul_(1 - group_["lr"] * WEIGHT_DECAY)
                parameter.add_(update, alpha=-group_["lr"] * scale)


def optimizers(model: Model) -> list[torch.optim.Optimizer]:
    """Muon for the inner matrices, by name, and AdamW for embedding, output and norms."""
    inner: dict[str, list[Tensor]] = {}
    outer: list[Tensor] = []
    for name, parameter in model.named_parameters():
        if parameter.ndim == 2 and name.startswith("layers."):
            inner.setdefault(name.split(".", 2)[2], []).append(parameter)
        else:
            outer.append(parameter)
    adam = torch.optim.AdamW(outer, ADAM_RATE, betas=(0.9, 0.95), weight_decay=0.0)
    return [*(Muon(matrices, MUON_RATE) for matrices in inner.values()), adam]


class Clock:
    """What the time of day says about stage and learning rate."""

    def __init__(self, begin: float, decay: float, stop: float, stage_ends: tuple[float, ...]) -> None:
        self.begin, self.decay, self.stop, self.stage_ends = begin, decay, stop, stage_ends

    def stage(self, now: float) -> int:
        """The stage of document lengths."""
        share = (now - self.begin) / (self.stop - self.begin)
        return next((i for i, end in enumerate(self.stage_ends) if share < end), len(self.stage_ends) - 1)

    def rate(self, step: int, now: float) -> float:
        """The factor on the learning rates."""
        warm = min(1.0, (step + 1) / WARM_UP)
        left = (self.stop - now) / max(1.0, self.stop - self.decay)
        return warm * (FINAL_RATE + (1 - FINAL_RATE) * min(1.0, max(0.0, left)))


def time_of_day(text: str) -> float:
    """HH:MM as seconds since the epoch: the next such time."""
    now = datetime.now(UTC).astimezone()
    hour, minute = map(int, text.split(":"))
    then = now.replace(hour=hour, minute=minute, second=0, microsecond=0)
    return (then if then > now else then + timedelta(days=1)).timestamp()


def micro_batches(work: Path, seed: int, first: int, clock: Clock, pool: ProcessPoolExecutor) -> Iterator[Micro]:
    """Shard number and batch, without end; the next shard is made while this one is trained on."""
    number = first
    future: Future[list[list[Document]]] = pool.submit(make_shard, work, seed, number, clock.stage(time.time()))
    while True:
        groups = future.result()
        future = pool.submit(make_shard, work, seed, number + 1, clock.stage(time.time() + 30))
        for documents in groups:
            yield number, to_batch(documents)
        number += 1


@torch.no_grad()
def forward(model: Model, batch: Batch) -> Tensor:
    """Loss of each position of a held-out micro-batch."""
    return token_losses(model, batch)[0]


def give_back_memory() -> None:
    """Return freed pages to the system: batches of ever new shapes leave glibc's heap full of holes."""
    if hasattr(libc := ctypes.CDLL(None), "malloc_trim"):
        libc.malloc_trim(0)


class Control:
    """Signals, looked at between two steps."""

    def __init__(self) -> None:
        self.paused = self.ended = False
        signal.signal(signal.SIGUSR1, lambda *_: setattr(self, "paused", True))
        signal.signal(signal.SIGUSR2, lambda *_: setattr(self, "paused", False))
        signal.signal(signal.SIGTERM, lambda *_: setattr(self, "ended", True))

    def wait(self) -> None:
        """Sleep while paused."""
        while self.paused and not self.ended:
            time.sleep(0.5)


@dataclass(slots=True)
class Progress:
    """How far training has come; kept in the checkpoint."""

    begin: float
    step: int = 0
    tokens: int = 0
    shard: int = 0
    stages: list[list[int]] | None = None
    """Stage, step and tokens at which each stage of document lengths began."""


class Run:
    """Model, optimizers and progress: what a checkpoint holds, and the step that moves them on."""

    def __init__(self, path: Path, workers: ThreadPoolExecutor, compute: Losses) -> None:
        self.path, self.workers, self.compute = path, workers, compute
        self.model = Model(Config())
        self.optimizers = optimizers(self.model)
        self.groups = [group_ for optimizer in self.optimizers for group_ in optimizer.param_groups]
        self.rates = [group_["lr"] for group_ in self.groups]
        self.parameters = [p for group_ in self.groups for p in group_["params"]]
        self.progress = Progress(time.time())
        self.tally = Tally()

    def load(self) -> bool:
        """Go on where the last run stopped, if there is one; the rest of the shard under way is given up."""
        if not self.path.exists():
            return False
        state = torch.load(self.path, weights_only=True)
        self.model.load_state_dict(state["model"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self.progress = Progress(**state["progress"])
        self.progress.shard += 1
        return True

    def warm_start(self, path: Path) -> None:
        """Begin with the weights and the token count of a shipped file; optimizer state and warm-up are new."""
        names = [name for name, _ in self.model.named_parameters()]
        weights, self.progress.tokens = read_gguf(path, names)
        self.model.load_state_dict(weights)

    def save(self) -> None:
        """Write the checkpoint whole or not at all."""
        state = {
            "model": self.model.state_dict(),
            "config": asdict(self.model.config),
            "progress": asdict(self.progress),
            "optimizers": [o.state_dict() for o in self.optimizers],
        }
        torch.save(state, self.path.with_suffix(".tmp"))
        self.path.with_suffix(".tmp").replace(self.path)

    def step(self, batches: Iterator[Micro], rate: float, stage: int) -> int:
        """One update; returns the tokens it learnt from."""
        progress = self.progress
        chosen = [next(batches) for _ in range(STEP_TOKENS // MICRO_TOKENS)]
        computed = self.workers.map(lambda c: backward(self.model, c[1], self.compute), chosen)
        denominator, learnt = 0.0, 0
        for (number, batch), (losses, weight) in zip(chosen, computed, strict=True):
            denominator += weight
            progress.shard = number
            learnt += int((batch[1] != IGNORED).sum())
            if progress.step % 4 == 0:
                self.tally.add(losses, batch)
        for parameter in self.parameters:
            parameter.grad.div_(denominator)
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        for group_, initial in zip(self.groups, self.rates, strict=True):
            group_["lr"] = initial * rate
        for _ in self.workers.map(lambda o: o.step(), self.optimizers):
            pass
        self.model.zero_grad(set_to_none=True)
        progress.step += 1
        progress.tokens += learnt
        progress.stages = progress.stages or []
        if not progress.stages or progress.stages[-1][0] != stage:
            progress.stages.append([stage, progress.step, progress.tokens])
        return learnt

    def heldout_loss(self, batches: list[Batch]) -> dict[str, float]:
        """Means over fixed held-out documents."""
        tally = Tally()
        for batch, losses in zip(batches, self.workers.map(lambda b: forward(self.model, b), batches), strict=True):
            tally.add(losses, batch)
        return tally.means()

    def train(self, batches: Iterator[Micro], heldout: list[Batch], clock: Clock, control: Control) -> None:
        """The loop, with its logging and saving."""
        saved = tested = logged = time.time()
        since = 0
        while time.time() < clock.stop and not control.ended:
            control.wait()
            now = time.time()
            rate, stage = clock.rate(self.progress.step, now), clock.stage(now)
            since += self.step(batches, rate, stage)
            now = time.time()
            if self.progress.step % LOG_STEPS == 0:
                self.log({"per_s": round(since / (now - logged)), "rate": round(rate, 3), "stage": stage})
                logged, since = now, 0
                give_back_memory()
            if now - tested > HELDOUT_SECONDS:
                report({"heldout": self.progress.tokens, **self.heldout_loss(heldout)})
                tested = time.time()
            if now - saved > SAVE_SECONDS:
                self.save()
                saved = now
        self.save()
        course = asdict(self.progress) | {"minutes": round((time.time() - clock.begin) / 60)}
        (self.path.parent / "training.json").write_text(json.dumps(course))
        if not control.ended:
            report({"done": self.progress.tokens, **self.heldout_loss(heldout)})

    def log(self, facts: dict[str, Any]) -> None:
        """One line about the last steps."""
        head = {"time": time.strftime("%H:%M:%S"), "step": self.progress.step, "tokens": self.progress.tokens}
        report(head | facts | self.tally.means())
        self.tally = Tally()


def report(facts: dict[str, Any]) -> None:
    """One JSON line on the standard output."""
    print(json.dumps(facts), flush=True)


def main() -> None:
    """Train until the clock says stop."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--decay-at", required=True, help="HH:MM at which the learning rate begins to fall")
    parser.add_argument("--stop-at", required=True, help="HH:MM at which training ends")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--from", dest="start", type=Path, help="GGUF file to begin with; give another --seed, too")
    parser.add_argument("--eager", action="store_true", help="do without torch.compile, which needs a C++ compiler")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--name", default="checkpoint", help="of the file in the working folder, without its ending")
    arguments = parser.parse_args()
    work: Path = arguments.work
    torch.set_num_threads(1)  # else the small operations of this thread wait for a core that other work has
    torch.manual_seed(arguments.seed)
    control = Control()
    held = group(Maker(work, "heldout").documents((0,), STAGES[1], 1_200), random.Random(0))
    with (
        ProcessPoolExecutor(1) as pool,
        ThreadPoolExecutor(arguments.threads, initializer=torch.set_num_threads, initargs=(1,)) as workers,
    ):
        run = Run(work / f"{arguments.name}.pt", workers, token_losses if arguments.eager else compiled())
        if not run.load() and arguments.start:
            run.warm_start(arguments.start)
        ends = LATER_STAGE_ENDS if arguments.start else STAGE_ENDS
        decay, stop = time_of_day(arguments.decay_at), time_of_day(arguments.stop_at)
        if decay > stop:  # It has passed already: a run that goes on must not go back to the full rate.
            decay -= timedelta(days=1).total_seconds()
        clock = Clock(run.progress.begin, decay, stop, ends)
        batches = micro_batches(work, arguments.seed, run.progress.shard, clock, pool)
        run.train(batches, [to_batch(documents) for documents in held], clock, control)


if __name__ == "__main__":
    main()
