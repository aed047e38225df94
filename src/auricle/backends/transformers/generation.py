"""One answer of `generate`, as a stream of chunks that can be given up.

`generate` returns when it is done, and calls a stopping criterion behind every token. So it runs in a thread of its
own; the criterion puts what has become final into a queue, and stops when the reader has gone, time is up, or a stop
string was met. The reader waits for that thread before it goes: none is left behind.

The token itself is picked by our own sampler, as a logits processor that leaves only its pick: the settings, seeds and
constraints mean here what they mean with a native model, and no global random state is touched.
"""

from __future__ import annotations

import copy
import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from auricle.backends.transformers.base import overdue
from auricle.backends.transformers.library import one_line
from auricle.engine.sampling import Sampler
from auricle.engine.writer import Writer
from auricle.errors import AuricleError, CancelledError
from auricle.models.text import Detokenizer
from auricle.types import Answer, Ask, Chunk, Segment, Timings

if TYPE_CHECKING:
    from auricle.engine.constraint import Held

PATIENCE_S = 0.05  # how often a request that waits for its turn looks whether it was given up


@dataclass(frozen=True)
class Job:
    """What `generate` is called with, and what its answer says of it."""

    inputs: dict[str, Any]
    budget: int  # new tokens that fit
    prompt_ids: list[int]  # of the decoder, as far as we make them
    segments: tuple[Segment, ...]
    notes: tuple[str, ...] = ()
    held: Held | None = None
    options: dict[str, Any] = field(default_factory=dict)  # of the model's own `generate`
    mel_s: float = 0.0  # spent in the processor


class Decoding:
    """Text of ids, as `models.text.TextCodec` gives it, by a tokenizer of transformers."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer

    def decode(self, ids: list[int], *, with_control: bool = False) -> str:
        text: str = self._tokenizer.decode(ids, skip_special_tokens=not with_control)
        return text


class Generator:
    """A model's `generate`, for one request at a time; the others wait for their turn."""

    def __init__(self, model: Any, tokenizer: Any, device: torch.device) -> None:
        self.model, self.device = model, device
        self._codec: Any = Decoding(tokenizer)
        self._turn = threading.Lock()
        ends = model.generation_config.eos_token_id
        self.stop_ids = frozenset([ends] if isinstance(ends, int) else ends or ())

    def stream(self, ask: Ask, prepare: Callable[[], Job]) -> Iterator[Chunk]:
        """Chunks of text as it becomes final; the last one carries the answer.

        Raises:
            DeadlineError: the request's `timeout_s` is over.
            AuricleError: transformers failed.
            What `prepare` raises, which makes the inputs when its turn has come.
        """
        run = _Run(self, ask, prepare, Writer(Detokenizer(self._codec), ask.sampling.stop, None))
        worker = threading.Thread(target=run.work, name="auricle-generate", daemon=True)
        worker.start()
        try:
            while (chunk := run.chunks.get()) is not None:
                yield chunk
        finally:
            run.given_up.set()
            worker.join()
        if run.error is not None:
            raise run.error

    @contextmanager
    def turn(self, check: Callable[[], None]) -> Iterator[None]:
        """Waits until no other request is under way; `check` raises when it should wait no longer."""
        while not self._turn.acquire(timeout=PATIENCE_S):
            check()
        try:
            yield
        finally:
            self._turn.release()

    def config(self, budget: int) -> Any:
        """The checkpoint's generation settings, but what the sampler does: it picks every token."""
        config = copy.deepcopy(self.model.generation_config)
        config.update(do_sample=False, num_beams=1, max_new_tokens=budget, max_length=None, min_length=0)
        config.update(repetition_penalty=1.0, temperature=None, top_k=None, top_p=None, min_p=None, typical_p=None)
        config.update(return_dict_in_generate=False, output_scores=False, num_return_sequences=1)
        return config


def refuse_overdue(ask: Ask, started: float) -> None:
    """A request's time counts from when it was handed in, waiting included."""
    if ask.timeout_s is not None and time.perf_counter() - started >= ask.timeout_s:
        raise overdue(ask.timeout_s)


class _Run:
    """One request under way. `work` runs in the thread; the reader takes `chunks` up to None, then looks at `error`."""

    def __init__(self, generator: Generator, ask: Ask, prepare: Callable[[], Job], writer: Writer) -> None:
        self.chunks: queue.SimpleQueue[Chunk | None] = queue.SimpleQueue()
        self.given_up = threading.Event()
        self.error: BaseException | None = None
        self._generator, self._ask, self._prepare, self._writer = generator, ask, prepare, writer
        self._tokens: list[int] = []
        self._started = time.perf_counter()
        self._begun = self._started
        self._first: float | None = None
        self._ended = False  # by a stop token or a stop string

    def work(self) -> None:
        try:
            with self._generator.turn(self._check):
                self._begun = time.perf_counter()
                job = self._prepare()
                self._generate(job)
            self._finish(job)
        except AuricleError as error:
            self.error = error
        except Exception as error:  # whatever a model of the library raises
            self.error = AuricleError(f"transformers failed on this request ({one_line(error)})")
            self.error.__cause__ = error
        except BaseException as error:
            self.error = error
        finally:
            self.chunks.put(None)

    def _check(self) -> None:
        """Raises when the request is to go no further."""
        if self.given_up.is_set():
            raise CancelledError("the request was given up before it was done")
        refuse_overdue(self._ask, self._started)

    def _generate(self, job: Job) -> None:
        self._check()
        sampler = Sampler(self._ask.sampling, job.prompt_ids, job.held)

        def pick(_: Tensor, scores: Tensor) -> Tensor:
            """`(1, vocabulary)` logits with all but the sampler's choice at -inf."""
            token = sampler.pick(scores[0])
            picked = torch.full_like(scores, -torch.inf)
            picked[0, token] = 0
            return picked

        def watch(ids: Tensor, *_: Any, **__: Any) -> Tensor:
            return torch.tensor([self._take(int(ids[0, -1]))], device=ids.device)

        with torch.inference_mode():
            self._generator.model.generate(
                **job.inputs,
                **job.options,
                generation_config=self._generator.config(job.budget),
                logits_processor=[pick],
                stopping_criteria=[watch],
            )

    def _take(self, token: int) -> bool:
        """Writes down what has become final with a token; whether that was the last."""
        self._check()
        self._first = self._first or time.perf_counter()
        self._tokens.append(token)
        if token in self._generator.stop_ids:
            self._ended = True
            return True
        text = self._writer.add(token)
        if text:
            self.chunks.put(Chunk(text))
        self._ended = self._writer.stopped
        return self._ended

    def _finish(self, job: Job) -> None:
        rest = self._writer.finish()
        if rest:
            self.chunks.put(Chunk(rest))
        self._ended = self._ended or self._writer.stopped
        answer = Answer(
            text=self._writer.text.strip(),
            tokens=tuple(self._tokens),
            finish_reason="stop" if self._ended else "length",
            prompt_tokens=len(job.prompt_ids),
            segments=job.segments,
            timings=self._timings(job),
            notes=(*self._ask.notes, *job.notes, *self._remarks(job)),
        )
        self.chunks.put(Chunk("", answer))

    def _remarks(self, job: Job) -> Iterator[str]:
        unfit = "does not fulfil the constraint" if job.held is not None and not job.held.complete else ""
        if self._ended:
            if unfit:
                yield f"the answer was ended by a stop string and {unfit}"
            return
        reason = "max_tokens" if job.budget == self._ask.sampling.max_tokens else "the model's context is full"
        yield f"the answer was cut after {len(self._tokens)} tokens ({reason}){'; it ' + unfit if unfit else ''}"

    def _timings(self, job: Job) -> Timings:
        """Encoder and prefill are one call of `generate`: both count as prefill."""
        now = time.perf_counter()
        first = self._first or now
        tokens = len(self._tokens)
        return Timings(
            queued_s=self._begun - self._started,
            mel_s=job.mel_s,
            prefill_s=first - self._begun - job.mel_s,
            ttft_s=first - self._started,
            decode_s=now - first,
            decode_tokens_per_s=(tokens - 1) / (now - first) if tokens > 1 else 0.0,
            total_s=now - self._started,
        )
