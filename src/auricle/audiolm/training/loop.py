"""The loop: step after step, and between steps what is due. Every random choice follows from the seed and the step.

No generator's state is carried from step to step: dropout, the NAR stage that is drawn and the order of the data are
seeded anew by where the run is. So a run that was killed goes on with the very same losses.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, nullcontext
from dataclasses import dataclass
from enum import Enum
from typing import Any

import torch

from auricle.audiolm.data.loader import Loader
from auricle.audiolm.model.batch import Batch
from auricle.audiolm.training.objective import with_prompt
from auricle.audiolm.training.place import Place, Window
from auricle.audiolm.training.schedule import rate, warmup_steps
from auricle.audiolm.training.settings import Every, Settings
from auricle.audiolm.training.stopping import ENDING, Stop
from auricle.audiolm.training.workers import Workers
from auricle.jobs.parts import digest

Saying = Callable[[int, int, str], None]  # steps done, steps in all, and a few words


class Ending(Enum):
    """Why the loop ended."""

    DONE = "done"
    TIME = "time"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True)
class Keeping:
    """What the loop hands over, with what is behind it: a folder, a log. Every process calls each."""

    validate: Callable[[Place], bool]  # false: interrupted
    save: Callable[[Place, Window], None]
    log: Callable[[dict[str, Any]], None]
    say: Saying


@dataclass
class Loop:
    """One run from where it is to its end."""

    settings: Settings
    workers: Workers
    data: Loader
    model: torch.nn.Module  # an `Objective`, as it is trained by all processes
    optimizer: torch.optim.Optimizer
    place: Place
    window: Window
    keeping: Keeping
    stop: Stop
    steps: int  # of the whole run
    frame_rate: float

    def __post_init__(self) -> None:
        self._warmup = warmup_steps(self.settings.optimising.warmup, self.steps)
        self._saved = self._checked = time.monotonic()
        self._last_saved: dict[str, Any] = {}
        self._words = ""

    def run(self) -> Ending:
        """Trains until the steps are done, the time is up or somebody stops it; saves in each case."""
        self.model.train()
        while True:
            if self.place.due and not self._validated():
                return self._ended(Ending.INTERRUPTED)
            if self.place.step >= self.steps:
                self.place.finished = True
                return self._ended(Ending.DONE)
            ending = self._epoch()
            if ending is not None:
                return self._ended(ending)

    def _epoch(self) -> Ending | None:
        """From where the epoch is to its end; None where nothing ends the run before."""
        place = self.place
        count = self.data.count(place.epoch)
        with closing(self._groups()) as groups:
            for batches in groups:
                totals = self.workers.summed([*_frames(batches), *self._wishes()])
                frames, heard, asked, late, save, check = totals
                self._step(batches, frames, heard)
                place.batch += len(batches)
                over = place.batch >= count
                if over:
                    place.epoch, place.batch = place.epoch + 1, 0
                done = place.step >= self.steps
                place.due = bool(check or late or done) or self._is_checked(over)
                # A wish of this very step; of several processes, the others don't know of it yet.
                asked = asked or float(self.stop.asked and self.workers.count == 1)
                if asked or (place.due and not self._validated()):
                    return Ending.INTERRUPTED
                if late and not done:
                    return Ending.TIME
                if save or _at(self.settings.run.save_every, place.step):
                    self._save()
                if over or done:
                    return None
        return None

    def _groups(self) -> Generator[list[Batch]]:
        """The batches of each step, from where the epoch is on."""
        group: list[Batch] = []
        with closing(self.data.batches(self.place.epoch, self.place.batch)) as batches:  # type: ignore[type-var]
            for batch in batches:
                group.append(batch)
                if len(group) == self.settings.optimising.accumulate:
                    yield group
                    group = []
        if group:
            yield group

    def _wishes(self) -> tuple[float, float, float, float]:
        """Interrupted, late, and what the clock says is due: the main process's clock, for all."""
        now = time.monotonic()
        saves, checks = self.settings.run.save_every.seconds, (self.settings.run.valid_every or Every()).seconds
        main = self.workers.main
        return (
            float(self.stop.asked),
            float(main and self.stop.time_is_up),
            float(main and bool(saves) and now - self._saved >= saves),
            float(main and bool(checks) and now - self._checked >= checks),
        )

    def _step(self, batches: list[Batch], frames: float, heard: float) -> None:
        """One step down the mean over all target frames of all batches and processes, however they are shared out."""
        place, optimising = self.place, self.settings.optimising
        lr = rate(place.step, self.steps, optimising.base_lr, self._warmup)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        for number, batch in enumerate(batches):
            torch.manual_seed(_seed(optimising.seed, "dropout", place.step, number, self.workers.rank))
            own = float(batch.target_lens.sum())
            last = number == len(batches) - 1
            with nullcontext() if last else self.workers.alone(self.model):
                given = (with_prompt(batch) if self.workers.count > 1 else batch).to(self.workers.device)
                loss, counted = self.model(given, _seed(optimising.seed, "stage", place.step, number))
                # DDP takes the mean over processes, which undoes the factor.
                self.workers.backward(loss * (own * self.workers.count / frames))
            self.window.add_batch(loss, int(own), counted)
        norm = self.workers.clipped(self.model, optimising.clip_grad)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        place.step += 1
        self.window.add_step(norm, frames, heard)
        if place.step % self.settings.run.log_every == 0 or place.step >= self.steps:
            self._log(lr)
        self.keeping.say(place.step, self.steps, ENDING if self.stop.asked else self._words)

    def _log(self, lr: float) -> None:
        line = self.window.line(self.frame_rate)
        if line is None:
            return
        place = self.place
        place.seconds += line["seconds"]
        self._words = f"epoch {place.epoch}, loss {line['loss']:.3f}"
        self.keeping.log({"kind": "step", "step": place.step, "epoch": place.epoch, "lr": lr, **line})

    def _validated(self) -> bool:
        """Measures the model where it is, and saves; false where that was interrupted."""
        began, place = time.perf_counter(), self.place
        if place.validated < place.step:
            if not self.keeping.validate(place):
                return False
            place.validated = place.step
        place.due = False
        self._checked = time.monotonic()
        self.window.pause(time.perf_counter() - began)
        self._save()
        return True

    def _save(self) -> None:
        if self.place.record() == self._last_saved:
            return
        began = time.perf_counter()
        self.keeping.save(self.place, self.window)
        self._saved, self._last_saved = time.monotonic(), self.place.record()
        self.window.pause(time.perf_counter() - began)

    def _ended(self, ending: Ending) -> Ending:
        self._save()
        return ending

    def _is_checked(self, over: bool) -> bool:
        every = self.settings.run.valid_every
        return over if every is None else _at(every, self.place.step)


def _at(every: Every, step: int) -> bool:
    return bool(every.steps) and step % every.steps == 0


def steps_of(settings: Settings, data: Loader) -> int:
    """Steps of the whole run."""
    optimising = settings.optimising
    if optimising.max_steps:
        return optimising.max_steps
    epochs = range(optimising.start_epoch, optimising.num_epochs + 1)
    return sum(-(-data.count(epoch) // optimising.accumulate) for epoch in epochs)


def remarks(settings: Settings, data: Loader, steps: int) -> Iterator[str]:
    """What of the settings can't come to what was meant."""
    warmup, accumulate = settings.optimising.warmup, settings.optimising.accumulate
    if warmup is not None and warmup > steps:
        yield f"warmup is {warmup} steps, and the run has {steps}: the rate never comes to base_lr"
    count = data.count(settings.optimising.start_epoch)
    if accumulate > count:
        yield f"accumulate is {accumulate} batches a step, and an epoch has {count}: each step has those alone"


def _frames(batches: list[Batch]) -> tuple[float, float]:
    """Frames of the targets, and of prompts and targets."""
    targets = sum(int(batch.target_lens.sum()) for batch in batches)
    return float(targets), float(targets + sum(int(batch.prompt_lens.sum()) for batch in batches))


def _seed(*words: object) -> int:
    return int(digest(*words)[:15], 16)
