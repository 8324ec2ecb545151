"""Train the model within a wall-clock budget; stop and resume at any time.

    python train.py --work DIR --decay-at 13:00 --stop-at 13:30

Documents grow in four stages and the learning rate warms up, stays, and falls linearly to a twentieth; both are decided
by the share of the wall clock that has passed, so that a slower machine trains less and not worse. SIGUSR1 pauses
between two steps until SIGUSR2; SIGTERM saves and ends; started again with the same ``--work``, training goes on where
it stopped. A pause does not move the stop.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import random
import signal
import time
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import asdict
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import torch
from documents import IGNORED, KINDS, STAGES, Document, Maker
from model import Config, Model
from tokenizer import EOT
from torch import Tensor
from torch.nn import functional

STEP_TOKENS = 16_384
MICRO_TOKENS = 4_096
SHARD_DOCUMENT_TOKENS = 600_000
STAGE_ENDS = (0.45, 0.65, 0.82, 1.0)
"""Share of the wall clock at which each stage of document lengths ends."""
MIDDLE_WEIGHT = 2.0
WARM_UP = 40
MUON_RATE, ADAM_RATE, WEIGHT_DECAY = 0.02, 3e-3, 0.01
FINAL_RATE = 0.05
SAVE_SECONDS, LOG_STEPS, HELDOUT_SECONDS = 240, 20, 420

Batch = tuple[Tensor, Tensor, Tensor, Tensor]
"""Ids, targets, kind of each row, position from which the middle is predicted (-1 for none)."""

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
    flat = functional.cross_entropy(logits.flatten(0, 1).float(), targets.flatten(), ignore_index=IGNORED, reduction="none")
    positions = torch.arange(ids.shape[1])[None]
    in_middle = (middles[:, None] >= 0) & (positions >= middles[:, None])
    weights = (targets != IGNORED) * (1.0 + (MIDDLE_WEIGHT - 1.0) * in_middle)
    return flat.view_as(targets), weights


def backward(model: Model, batch: Batch) -> tuple[Tensor, float]:
    """Add one micro-batch's gradients; returns its losses and the sum of its weights.

    Micro-batches are computed by single-threaded workers side by side, and not one after the other by several threads
    in each operation: on a machine with other work the latter runs at the speed of the slowest core.
    """
    losses, weights = token_losses(model, batch)
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


def orthogonal(matrix: Tensor) -> Tensor:
    """The nearest orthogonal matrix, roughly: five Newton-Schulz steps with the coefficients Muon uses."""
    a, b, c = 3.4445, -4.7750, 2.0315
    x = matrix.bfloat16()
    x = x / (x.norm() + 1e-7)
    transposed = x.shape[0] > x.shape[1]
    if transposed:
        x = x.T
    for _ in range(5):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return (x.T if transposed else x).float()


class Muon(torch.optim.Optimizer):
    """Momentum, then an orthogonalised step: for the matrices between embedding and output."""

    def __init__(self, parameters: list[Tensor], rate: float, momentum: float = 0.95) -> None:
        super().__init__(parameters, {"lr": rate, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One update."""
        for group_ in self.param_groups:
            for parameter in group_["params"]:
                state = self.state[parameter]
                buffer = state.setdefault("momentum", torch.zeros_like(parameter))
                buffer.lerp_(parameter.grad, 1 - group_["momentum"])
                update = orthogonal(parameter.grad.lerp(buffer, group_["momentum"]))
                scale = max(1.0, parameter.shape[0] / parameter.shape[1]) ** 0.5
                parameter.mul_(1 - group_["lr"] * WEIGHT_DECAY)
                parameter.add_(update, alpha=-group_["lr"] * scale)


def optimizers(model: Model) -> list[torch.optim.Optimizer]:
    """Muon for the inner matrices, AdamW for embedding, output and norms."""
    inner = [p for name, p in model.named_parameters() if p.ndim == 2 and name.startswith("layers.")]
    ids = {id(p) for p in inner}
    outer = [p for p in model.parameters() if id(p) not in ids]
    return [Muon(inner, MUON_RATE), torch.optim.AdamW(outer, ADAM_RATE, betas=(0.9, 0.95), weight_decay=0.0)]


class Clock:
    """What the time of day says about stage and learning rate."""

    def __init__(self, begin: float, decay: float, stop: float) -> None:
        self.begin, self.decay, self.stop = begin, decay, stop

    def stage(self, now: float) -> int:
        """The stage of document lengths."""
        share = (now - self.begin) / (self.stop - self.begin)
        return next((i for i, end in enumerate(STAGE_ENDS) if share < end), len(STAGE_ENDS) - 1)

    def rate(self, step: int, now: float) -> float:
        """The factor on the learning rates."""
        warm = min(1.0, (step + 1) / WARM_UP)
        left = (self.stop - now) / max(1.0, self.stop - self.decay)
        return warm * (FINAL_RATE + (1 - FINAL_RATE) * min(1.0, max(0.0, left)))


def time_of_day(text: str) -> float:
    """HH:MM as seconds since the epoch: the next such time."""
    now = datetime.now()
    hour, minute = map(int, text.split(":"))
    then = now.replace(hour=hour, minute=minute, second=0, microsecond=0)
    return (then if then > now else then + timedelta(days=1)).timestamp()


def micro_batches(pool: ProcessPoolExecutor, work: Path, seed: int, first: int, clock: Clock) -> Iterator[tuple[int, Batch]]:
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
def heldout_loss(model: Model, batches: list[Batch]) -> dict[str, float]:
    """Means over fixed held-out documents."""
    tally = Tally()
    for batch in batches:
        losses, _ = token_losses(model, batch)
        tally.add(losses, batch)
    return tally.means()


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


def save(path: Path, model: Model, optimizers_: list[torch.optim.Optimizer], progress: dict[str, object]) -> None:
    """Write the checkpoint whole or not at all."""
    state = {"model": model.state_dict(), "config": asdict(model.config), "progress": progress,
             "optimizers": [o.state_dict() for o in optimizers_]}
    torch.save(state, path.with_suffix(".tmp"))
    path.with_suffix(".tmp").replace(path)


def main() -> None:
    """Train until the clock says stop."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--decay-at", required=True, help="HH:MM at which the learning rate begins to fall")
    parser.add_argument("--stop-at", required=True, help="HH:MM at which training ends")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--name", default="checkpoint")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)
    path = arguments.work / f"{arguments.name}.pt"
    model = Model(Config())
    optimizers_ = optimizers(model)
    progress: dict[str, object] = {"step": 0, "tokens": 0, "shard": 0, "begin": time.time(), "stages": []}
    if path.exists():
        state = torch.load(path, weights_only=False)
        model.load_state_dict(state["model"])
        for optimizer, saved in zip(optimizers_, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        progress = state["progress"]
        progress["shard"] += 1  # type: ignore[operator]  # the rest of the shard under way is given up
    clock = Clock(float(progress["begin"]), time_of_day(arguments.decay_at), time_of_day(arguments.stop_at))  # type: ignore[arg-type]
    base = [[g["initial_lr"] if "initial_lr" in g else g.setdefault("initial_lr", g["lr"]) for g in o.param_groups]
            for o in optimizers_]
    parameters = [p for o in optimizers_ for g in o.param_groups for p in g["params"]]
    print(f"{sum(p.numel() for p in parameters)} parameters", flush=True)
    control = Control()
    with ProcessPoolExecutor(1) as pool:
        heldout = [to_batch(g) for g in group(Maker(arguments.work, "heldout").documents((0,), STAGES[1], 1_200),
                                              random.Random(0))]
        batches = micro_batches(pool, arguments.work, arguments.seed, int(progress["shard"]), clock)  # type: ignore[call-overload]
        with ThreadPoolExecutor(arguments.threads, initializer=torch.set_num_threads, initargs=(1,)) as workers:
            run(model, optimizers_, base, parameters, batches, workers, heldout, clock, control, progress, path)


def run(
    model: Model,
    optimizers_: list[torch.optim.Optimizer],
    base: list[list[float]],
    parameters: list[Tensor],
    batches: Iterator[tuple[int, Batch]],
    workers: ThreadPoolExecutor,
    heldout: list[Batch],
    clock: Clock,
    control: Control,
    progress: dict[str, object],
    path: Path,
) -> None:
    """The loop."""
    tally, saved, tested, logged, since = Tally(), time.time(), time.time(), time.time(), 0
    step, tokens, rate = int(progress["step"]), int(progress["tokens"]), 0.0  # type: ignore[call-overload]
    while time.time() < clock.stop and not control.ended:
        control.wait()
        rate = clock.rate(step, time.time())
        chosen = [next(batches) for _ in range(STEP_TOKENS // MICRO_TOKENS)]
        denominator = 0.0
        for (number, batch), (losses, weight) in zip(chosen, workers.map(lambda c: backward(model, c[1]), chosen), strict=True):
            denominator += weight
            progress["shard"] = number
            counted = int((batch[1] != IGNORED).sum())
            tokens, since = tokens + counted, since + counted
            if step % 4 == 0:
                tally.add(losses, batch)
        for parameter in parameters:
            parameter.grad.div_(denominator)  # type: ignore[union-attr]
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        for optimizer, rates in zip(optimizers_, base, strict=True):
            for group_, initial in zip(optimizer.param_groups, rates, strict=True):
                group_["lr"] = initial * rate
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        step += 1
        now = time.time()
        stage = clock.stage(now)
        stages: list[list[int]] = progress["stages"]  # type: ignore[assignment]
        if not stages or stages[-1][0] != stage:
            stages.append([stage, step, tokens])
        progress.update(step=step, tokens=tokens)
        if step % LOG_STEPS == 0:
            speed = since / (now - logged)
            line = {"time": time.strftime("%H:%M:%S"), "step": step, "tokens": tokens, "per_s": round(speed),
                    "rate": round(rate, 3), "stage": stage, **tally.means()}
            print(json.dumps(line), flush=True)
            tally, logged, since = Tally(), now, 0
            give_back_memory()
        if now - tested > HELDOUT_SECONDS:
            print(json.dumps({"heldout": tokens, **heldout_loss(model, heldout)}), flush=True)
            tested = time.time()
        if now - saved > SAVE_SECONDS:
            save(path, model, optimizers_, progress)
            saved = now
    save(path, model, optimizers_, progress)
    course = {"minutes": round((time.time() - clock.begin) / 60), "stages": progress["stages"], "step": step, "tokens": tokens}
    (path.parent / "training.json").write_text(json.dumps(course))
    if not control.ended:
        print(json.dumps({"done": tokens, "step": step, "rate": rate, **heldout_loss(model, heldout)}), flush=True)


if __name__ == "__main__":
    main()
