"""A whole training run in its folder: begun, gone on with, stopped, finished."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from auricle.audiolm.model.config import AudioLMConfig
from auricle.audiolm.model.weights import save
from auricle.audiolm.training.evaluate import evaluate
from auricle.audiolm.training.folder import RunFolder, open_run
from auricle.audiolm.training.log import Log, check_tensorboard
from auricle.audiolm.training.loop import Ending, Keeping, Loop, Saying, remarks, steps_of
from auricle.audiolm.training.memory import hold_memory
from auricle.audiolm.training.metrics import Baselines
from auricle.audiolm.training.objective import Objective, frozen, optimizer_of
from auricle.audiolm.training.picture import check_drawing, draw_losses
from auricle.audiolm.training.place import Place, Window
from auricle.audiolm.training.result import tested
from auricle.audiolm.training.settings import Settings
from auricle.audiolm.training.starting import begun, check_room, check_weights, rebuilt
from auricle.audiolm.training.stopping import ENDING, Stop
from auricle.audiolm.training.tokens import TRAIN, VALIDATION, Measured, Tokens, read_tokens, training_batches
from auricle.audiolm.training.workers import Workers
from auricle.errors import OptionError

# Kernels that oneDNN makes for each shape of a product in bfloat16. Each batch has shapes of its own, which don't come
# again: of the 1,024 that it would keep, a run's memory grows by gigabytes. These are enough for the layers of a step.
KERNELS = {"LRU_CACHE_CAPACITY": "64", "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "64"}


@dataclass(frozen=True)
class Outcome:
    """How far a run has come."""

    out: Path
    ending: Ending
    step: int
    steps: int
    resumed_from: int | None  # the step that this call went on from; None where it began
    best_loss: float | None  # of the validation; None before the first
    best_step: int
    result: dict[str, Any] | None  # of the best model on the test items, once the run is finished
    main: bool  # whether this is the process that talks


def train(
    settings: Settings,
    *,
    say: Saying = lambda step, steps, words: None,
    note: Callable[[str], None] = lambda message: None,
) -> Outcome:
    """Trains a model into `settings.run.out`; of a run that was begun there, does the rest.

    Args:
        say: called after every step.
        note: called with what the user should know.

    Raises:
        InputError: the tokens, the model to start from or the folder can't be used; the message says why.
        UnsupportedError: a package isn't installed.
        AuricleError: the disk is full, or the loss is no number any more.
    """
    run = settings.run
    for name, value in KERNELS.items():
        os.environ.setdefault(name, value)  # read when the first product is computed
    check_drawing()
    if run.tensorboard:
        check_tensorboard()
    workers = Workers(run.device)
    if workers.device.type == "cpu":
        hold_memory()
    try:
        if run.threads is not None:
            torch.set_num_threads(run.threads)
        talk = note if workers.main else _silent
        tokens = read_tokens(settings.data, settings.architecture.num_quantizers, talk)
        if workers.sharded and settings.optimising.optimizer == "muon":
            raise OptionError(
                "optimizer is muon, whose steps need whole matrices, and FSDP shards them: use adamw, or DDP"
            )
        with ExitStack() as stack:

            def opened() -> RunFolder:
                plan = {**settings.fixed(), **tokens.about(), "processes": workers.count}
                return stack.enter_context(open_run(run.out, plan))

            folder = workers.agreed(opened)
            return _Run(settings, workers, tokens, folder, say if workers.main else _quiet, talk).outcome()
    finally:
        workers.close()


class _Run:
    """A run while its folder is open, in one of its processes."""

    def __init__(
        self,
        settings: Settings,
        workers: Workers,
        tokens: Tokens,
        folder: RunFolder,
        say: Saying,
        note: Callable[[str], None],
    ) -> None:
        self._settings, self._workers, self._tokens, self._folder = settings, workers, tokens, folder
        self._say, self._note = say, note
        self._config = AudioLMConfig(
            **settings.architecture.fields(),
            codebook_size=tokens.size,
            codec=tokens.codec,
            frame_rate=tokens.frame_rate,
            max_frames=max(one.frames for one in tokens.items[TRAIN]),
        )
        whole = settings.optimising.train_stage == 0 and not workers.sharded
        check_room(self._config, workers.device, 12 if whole else 4)  # with gradient and a moment, or the weight alone
        self._measured = Measured.of(tokens, VALIDATION, settings.data)
        self._fitted: Baselines | None = None
        self._log: Log | None = None

    def outcome(self) -> Outcome:
        state = self._folder.state()
        place = Place(self._settings.optimising.start_epoch) if state is None else Place(**state["place"])
        resumed = None if state is None else place.step
        data = training_batches(
            self._tokens,
            self._settings.data,
            self._settings.optimising.seed,
            self._workers.rank,
            self._workers.count,
        )
        steps = steps_of(self._settings, data)
        if state is not None and not place.finished:
            self._note(f"going on from step {place.step} of {steps} in {self._folder.out}")
        ending = Ending.DONE if place.finished else self._trained(state, place, data, steps)
        self._workers.close()
        result = self._finished(place) if ending is Ending.DONE and self._workers.main else None
        best = place.best if place.best_step else None
        return Outcome(
            *(self._folder.out, ending, place.step, steps, resumed, best, place.best_step, result),
            main=self._workers.main,
        )

    def _trained(self, state: dict[str, Any] | None, place: Place, data: Any, steps: int) -> Ending:
        """Builds what is trained, as it was left, and runs the loop."""
        self._say(place.step, steps, "building the model")
        settings, workers = self._settings, self._workers
        optimising = settings.optimising
        init = settings.run.init
        if state is None and init is None:
            init = self._folder.start(optimising.start_epoch, self._note)
        lm = begun(self._config, optimising.seed, init if state is None else None, self._note)
        frozen(lm, optimising.train_stage)
        objective = Objective(lm, optimising.train_stage, bf16=optimising.dtype == "bf16")
        objective.to(workers.device)
        if state is not None:
            check_weights(state["model"], objective, self._folder.out)
        model, optimizer = workers.prepared(
            objective, optimizer_of(objective, optimising.optimizer, optimising.base_lr, optimising.weight_decay)
        )
        window = Window(self._config.num_quantizers, workers)
        if state is not None:
            workers.restore(model, optimizer, state["model"], state["optimizer"])
            window.restore(state["window"])
        if state is None:
            numbers = sum(weight.numel() for weight in lm.parameters())
            self._note(f"beginning at step 0 of {steps} in {self._folder.out}: {numbers:,} parameters")
            for remark in remarks(settings, data, steps):
                self._note(remark)
        workers.summed([0.0])  # none of them reads what stage 1 left any more
        if workers.main:
            self._folder.begin()
            self._log = Log(self._folder.out, place.step, tensorboard=settings.run.tensorboard)
        del state
        self._say(place.step, steps, "")
        with Stop(settings.run.minutes, lambda: self._say(place.step, steps, ENDING)) as stop:
            keeping = Keeping(
                validate=lambda place: self._validate(model, place, stop),
                save=lambda place, window: self._save(model, optimizer, place, window),
                log=self._logged,
                say=self._say,
            )
            frame_rate = self._tokens.frame_rate
            loop = Loop(
                *(settings, workers, data, model, optimizer, place, window, keeping, stop),
                steps=steps,
                frame_rate=frame_rate,
            )
            try:
                return loop.run()
            finally:
                if self._log is not None:
                    self._log.close()

    def _validate(self, model: torch.nn.Module, place: Place, stop: Stop) -> bool:
        """Measures, and keeps the model if it is the best so far; false where that was interrupted."""
        found = evaluate(model, self._measured, self._baselines, self._workers, lambda: stop.asked)
        if found is None:
            return False
        better = found.loss < place.best
        if better:
            place.best, place.best_step = found.loss, place.step
            weights = self._workers.weights(model)
            if self._workers.main:
                self._folder.keep_best(lambda path: save(rebuilt(self._config, weights), path))
        epoch = place.epoch - (place.batch == 0)  # the one that this step was of
        self._logged({"kind": "validation", "step": place.step, "epoch": epoch, **found.record(), "best": better})
        if self._log is not None:
            draw_losses(self._log.records, self._folder.picture)
        return True

    def _save(self, model: torch.nn.Module, optimizer: torch.optim.Optimizer, place: Place, window: Window) -> None:
        state = {
            "place": place.record(),
            "window": window.state(),
            "model": self._workers.weights(model),
            "optimizer": self._workers.moments(model, optimizer),
        }
        if self._workers.main:
            self._folder.keep_state(state)

    def _logged(self, record: dict[str, Any]) -> None:
        if self._log is not None:
            self._log.add(record)

    def _finished(self, place: Place) -> dict[str, Any]:
        """The result that the folder has, or a new one."""
        found = self._folder.result()
        if found is None:
            self._note("measuring the best model on the test items")
            found = {
                "steps": place.step,
                "seconds": place.seconds,
                "best": {"step": place.best_step, "validation_loss": place.best},
                **tested(self._settings, self._tokens, self._baselines, self._folder.best, self._workers.device),
            }
            self._folder.keep_result(found)
        return found

    @property
    def _baselines(self) -> Baselines:
        if self._fitted is None:
            self._fitted = self._tokens.baselines()
        return self._fitted


def _silent(message: str) -> None:
    pass


def _quiet(step: int, steps: int, words: str) -> None:
    pass
