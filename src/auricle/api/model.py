"""A loaded model, and all that it can be asked to do."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, cast

from auricle.api.instructions import TRANSCRIBE_TOKENS, live_instruction, transcription_prompt
from auricle.api.labelling import Orders, asked_labels, check_labels, forms_of, own_labels
from auricle.api.outcomes import as_chunks, segment_of, transcript_of, transcripts_of
from auricle.api.requests import ask_of, bare
from auricle.api.sounds import Sound, pieces_of, read_sound, user_message
from auricle.errors import AuricleError, OptionError, SoundError, UnsupportedError
from auricle.types import (
    DEFAULT_QUESTION,
    Answer,
    Ask,
    AskOptions,
    Audio,
    CacheUse,
    Chunk,
    Embedding,
    Extraction,
    ExtractionOptions,
    HiddenStates,
    Labels,
    Layers,
    Listening,
    Message,
    Order,
    Sampling,
    SamplingOptions,
    Scores,
    StageShape,
    TermOptions,
    Transcript,
    TranscriptPart,
    TranscriptSegment,
    Vad,
)

if TYPE_CHECKING:
    from typing import Unpack

    from auricle.backends import Backend
    from auricle.engine.live import Session


class Model:
    """A loaded model. Made by `load`; may be used from several threads, whose requests then share every pass."""

    def __init__(self, name: str, backend: Backend) -> None:
        self.name = name
        self.backend = backend

    def ask(
        self,
        audio: Sound | Sequence[Sound],
        question: str = DEFAULT_QUESTION,
        *,
        order: Order | None = None,
        **options: Unpack[AskOptions],
    ) -> Answer:
        """Answers a question about one or several sounds. See `stream` for arguments and errors."""
        last = None
        for chunk in self.stream(audio, question, order=order, **options):
            last = chunk.answer
        assert last is not None, "a stream ends with its answer"
        return last

    def stream(
        self,
        audio: Sound | Sequence[Sound],
        question: str = DEFAULT_QUESTION,
        *,
        order: Order | None = None,
        **options: Unpack[AskOptions],
    ) -> Iterator[Chunk]:
        """Answers a question, yielding text as it comes; the last chunk carries the `Answer`.

        Closing the iterator cancels the request.

        Args:
            audio: one sound or several: paths, bytes, or `Audio` of any rate. A sound longer than the model takes as
                one clip (30 s) is cut at pauses; the answer's `segments` and `notes` say so.
            question: what to ask.
            order: what stands first in the prompt, the text or the audio; None is as the model was trained. With the
                audio first, a second question about it needs nothing of it to be read again.
            options: the fields of `Sampling` (max_tokens, temperature, top_k, choices, ...) and of `Ask`: zero_audio,
                trace, priority, timeout_s.

        Raises:
            SoundError: a sound can't be read, is empty, too short, too long, or not finite.
            PromptError: the prompt does not fit the model's context.
            OptionError: an option is outside its range, or a constraint can't be met.
            BusyError: too many requests wait already.
            DeadlineError: `timeout_s` is over.
        """
        return self.chat([self._turn(audio, question, order)], **options)

    def chat(self, messages: Sequence[Message], **options: Unpack[AskOptions]) -> Iterator[Chunk]:
        """Answers the last message of a conversation; arguments and errors as for `stream`.

        What an earlier turn has read is not read again.
        """
        return self.backend.stream(ask_of(self.backend, messages, options))

    def ask_many(
        self,
        asks: Iterable[tuple[Sound | Sequence[Sound], str]],
        *,
        order: Order | None = None,
        **options: Unpack[AskOptions],
    ) -> Iterator[Answer | AuricleError]:
        """Answers any number of questions, several at a time: a model reads its weights once for all of them.

        Args:
            asks: `(audio, question)` pairs; taken and decoded as their turn comes, some before it.
            options: as for `stream`, the same for all. `timeout_s` counts from there: also while nobody asks for the
                next answer, and so nothing is computed.

        Yields:
            For each, in order, its answer; or the error that it met, which keeps none of the others from being
            answered.
        """

        def asking(audio: Sound | Sequence[Sound], question: str) -> Ask:
            return ask_of(self.backend, [self._turn(audio, question, order)], options)

        return self.backend.many(partial(asking, audio, question) for audio, question in asks)

    def score(
        self,
        audio: Sound | Sequence[Sound],
        choices: Sequence[str],
        question: str = DEFAULT_QUESTION,
        *,
        order: Order | None = None,
        **options: Unpack[TermOptions],
    ) -> Scores:
        """How likely the model is to answer each of some choices, as a whole: `scores.best`, `scores.probabilities`.

        Sound and prompt are read once for all of them.

        Args:
            choices: answers, each once.
            options: zero_audio, priority, timeout_s.

        Raises:
            The errors of `stream`; OptionError also for choices that are empty, repeated, or none.
        """
        if others := options.keys() - TermOptions.__annotations__:
            known = ", ".join(TermOptions.__annotations__)
            raise OptionError(f"score takes {known}, and not {min(others)}: leave it out")
        ask = ask_of(self.backend, [self._turn(audio, question, order)], cast("AskOptions", options))
        return self.backend.score(ask, choices)

    def score_many(
        self,
        asks: Iterable[tuple[Sound | Sequence[Sound], str]],
        choices: Sequence[str],
        *,
        order: Order | None = None,
        **options: Unpack[TermOptions],
    ) -> Iterator[Scores | AuricleError]:
        """As `score`, of any number of `(audio, question)` pairs, several at a time; yields as `ask_many` does."""

        def asking(audio: Sound | Sequence[Sound], question: str) -> Ask:
            return ask_of(self.backend, [self._turn(audio, question, order)], cast("AskOptions", options))

        return self.backend.score_many((partial(asking, audio, question), choices) for audio, question in asks)

    def classify(
        self,
        audio: Sound,
        labels: Sequence[str] | None = None,
        question: str | None = None,
        *,
        prompt: str | Path | None = None,
        orders: Orders = "both",
        order: Order | None = None,
        **options: Unpack[TermOptions],
    ) -> Labels:
        """How probable each of some labels is for a sound: `labels.best`, `labels.probabilities`.

        A model with a classification head has labels of its own. Any other is asked, and all answers that say a label
        are scored (`score`). Their probabilities are shares among the labels, and say nothing of what is not among
        them: a softmax over each label's mean log-likelihood in both orders of the labels, which `labels.asked` keeps.

        Args:
            audio: one sound. Of one that is longer than a clip, a head gives the mean over its pieces.
            labels: to choose from; None takes the model's own. With a head, those of its own that are wanted.
            question: what to ask a model without a head, where the prompt has a place for it.
            prompt: "plain", "options", "yesno", or the path of a file of your own (docs/classify.md). None is
                "options" for a label and its negation when there is no question, and otherwise "plain".
            orders: "both" asks with the labels as given and turned round; "given" as given, in half the time.
            order: what stands first in the prompt, the text or the audio; None is as the model was trained.
            options: zero_audio, priority, timeout_s.

        Raises:
            The errors of `score`; OptionError also for a label that the head does not have, and for a prompt that is
            none.
            UnsupportedError: the model has no labels, and none are given; or it can't be asked.
        """
        found = self.classify_many([audio], labels, question, prompt=prompt, orders=orders, order=order, **options)
        outcome = next(found)
        if isinstance(outcome, AuricleError):
            raise outcome
        return outcome

    def classify_many(
        self,
        sounds: Iterable[Sound],
        labels: Sequence[str] | None = None,
        question: str | None = None,
        *,
        prompt: str | Path | None = None,
        orders: Orders = "both",
        order: Order | None = None,
        **options: Unpack[TermOptions],
    ) -> Iterator[Labels | AuricleError]:
        """As `classify`, of any number of sounds, several at a time; yields as `ask_many` does.

        What concerns labels, prompt and model is raised at once, before any sound is read.
        """
        if labels is not None:
            check_labels(labels)
        terms = cast("AskOptions", options)
        if self.backend.own_labels is not None:
            if prompt is not None:
                raise OptionError(f"{self.name} has labels of its own and is not asked: leave the prompt out")
            return own_labels(self.backend, sounds, labels, terms)
        if labels is None:
            raise UnsupportedError(
                f"{self.name} has no labels of its own: give some (labels), or use a model with a classification head"
            )
        template, forms = forms_of(self.backend, labels, question, prompt, orders)
        return asked_labels(self.backend, sounds, labels, template, forms, order, terms)

    def listen(
        self,
        instruction: str | None = None,
        *,
        rate: int | None = None,
        step: float = Listening.step,
        pause: float | None = None,
        vad: Vad = Listening.vad,
        language: str = "English",
        source: str = Listening.source,
        **options: Unpack[SamplingOptions],
    ) -> Session:
        """A live session: sound is heard while it comes in, so that the answer can begin when the speaker stops.

        with model.listen("What is asked for?", pause=0.8) as session:
            for block in microphone:
                session.feed(block)
                if session.stopped:
                    break
            print(session.answer().text)

        Args:
            instruction: what to do with what is said. None writes it down, clip by clip, for as long as sound comes.
            rate: samples per second of what is fed; None is the model's own.
            step: seconds of sound that are heard at a time.
            pause: seconds of silence after speech that mean the speaker has stopped; None leaves that to the caller.
            vad: what tells speech from silence: "silero", "energy", or "auto", which is Silero where it is installed.
            language: spoken, when there is no instruction.
            source: what to call the sound in messages.
            options: the fields of `Sampling`; of a transcript, `max_tokens` counts for each clip (440).

        Raises:
            OptionError: an option is outside its range, or the model's encoder can't hear a clip piece by piece.
            PromptError: the instruction doesn't fit the context.
        """
        listening = Listening(rate, step, pause, vad, source)
        text = live_instruction(instruction, language)
        if instruction is None:
            options.setdefault("max_tokens", TRANSCRIBE_TOKENS)
        return self.backend.listen(text, listening, Sampling(**options), each_clip=instruction is None)

    def transcribe(
        self,
        audio: Sound,
        *,
        language: str = "English",
        translate: bool = False,
        longest_s: float | None = None,
        **options: Unpack[AskOptions],
    ) -> Transcript:
        """Writes down what is said.

        Args:
            audio: one sound; what is longer than the model takes as one clip is cut at pauses and read piece by piece,
                several pieces at a time.
            language: the language spoken, in English ("English", "German", ...).
            translate: write it down in English, whatever language is spoken; only models that are asked can.
            longest_s: seconds that a piece has at most, for shorter segments; None is what the model takes.
            options: as for `stream`; `max_tokens` counts for each piece and is 440 unless given.

        Raises:
            The errors of `stream`.
        """
        found = self.stream_transcript(audio, language=language, translate=translate, longest_s=longest_s, **options)
        return transcript_of(found)

    def stream_transcript(
        self,
        audio: Sound,
        *,
        language: str = "English",
        translate: bool = False,
        longest_s: float | None = None,
        **options: Unpack[AskOptions],
    ) -> Iterator[TranscriptSegment]:
        """As `transcribe`, yielding each piece as soon as it and those before it are written down."""
        options.setdefault("max_tokens", TRANSCRIBE_TOKENS)
        pieces = self._pieces(audio, longest_s)
        answers = self._written(pieces, language, options, translate=translate)
        for piece, answer in zip(pieces, answers, strict=True):
            if isinstance(answer, AuricleError):
                raise answer
            yield segment_of(piece, answer)

    def transcribe_many(
        self, sounds: Iterable[Sound], *, language: str = "English", **options: Unpack[AskOptions]
    ) -> Iterator[Transcript | AuricleError]:
        """As `transcribe`, of any number of sounds, several at a time; yields as `ask_many` does.

        Sounds are decoded as their turn comes; pieces of one and of the next are read together.
        """
        options.setdefault("max_tokens", TRANSCRIBE_TOKENS)
        cut: deque[list[Audio] | SoundError] = deque()  # each sound whose answers are not all there yet

        def pieces() -> Iterator[Audio]:
            for sound in sounds:
                try:
                    found = self._pieces(sound)
                except SoundError as error:
                    cut.append(error)
                else:
                    cut.append(found)
                    yield from found

        return transcripts_of(cut, self._written(pieces(), language, options))

    def write_down(
        self, audio: Sound, *, language: str = "English", **options: Unpack[AskOptions]
    ) -> Iterator[TranscriptPart]:
        """As `transcribe`, word by word: one piece after the other, which is later to the end, but sooner to begin."""
        options.setdefault("max_tokens", TRANSCRIBE_TOKENS)
        prompt, gap = transcription_prompt(language), ""
        for piece in self._pieces(audio):
            own = self.backend.transcribe_many(self._asked_bare([piece], options), language)
            chunks = self.stream(piece, prompt, **options) if own is None else as_chunks(own)
            written = False
            for chunk in chunks:
                text = chunk.text if written else chunk.text.lstrip()
                if text:
                    yield TranscriptPart(text if written else gap + text)
                    written, gap = True, " "
                if chunk.answer is not None:
                    yield TranscriptPart("", segment_of(piece, chunk.answer))

    @property
    def stages(self) -> dict[str, StageShape]:
        """Where vectors can be taken from, and what comes of it: see `embed`."""
        return dict(self.backend.stages)

    def embed(self, audio: Sound, **options: Unpack[ExtractionOptions]) -> Embedding:
        """What a sound looks like inside the model: vectors, each with its start and end in seconds.

        Args:
            audio: a path, bytes, or `Audio` of any rate and length. What is longer than the model takes as one clip
                (30 s) is heard in overlapping chunks, joined on the time axis.
            options: the fields of `Extraction`: stage ("encoder", "tower", "projector", "llm"; `stages` has their
                shapes), layers ("-1", "0,4,-1", "8:24:4", "all"), tokens ("audio", "text", "last", "all"), pooling
                ("none", "mean", "max", "last", "window=SECONDS"), prompt and order (of stage "llm"), overlap, dtype.

        Raises:
            SoundError: the sound can't be read, is too short, or not finite.
            OptionError: an option is outside its range; a stage or layer that doesn't exist names those that do.
            PromptError: the prompt does not fit the model's context.
            UnsupportedError: the backend can't look inside its model.
        """
        return self.embed_many([audio], **options)[0]

    def embed_many(self, audios: Sequence[Sound], **options: Unpack[ExtractionOptions]) -> list[Embedding]:
        """As `embed`, of several sounds computed together. The same list gives the same bits."""
        extraction = Extraction(**options)
        return self.backend.embed([read_sound(audio, self.backend.rate) for audio in audios], extraction)

    def read(self, audio: Sound) -> Audio:
        """A sound as the model takes it, decoded and checked: what `embed` gets so, it does not refuse."""
        read = read_sound(audio, self.backend.rate)
        self.backend.check(read)
        return read

    def hidden_states(
        self,
        audio: Sound | Sequence[Sound],
        question: str = DEFAULT_QUESTION,
        *,
        layers: Layers = "all",
        order: Order | None = None,
    ) -> HiddenStates:
        """What the decoder's layers give for every position of a prompt, in one forward pass, each position labelled.

        Args:
            audio, question, order: as for `stream`; a sound longer than a clip is cut at pauses.
            layers: as for `embed`: 0 is the embeddings, n what block n gives, the last comes after the final norm.

        Raises:
            The errors of `embed`.
        """
        return self.backend.hidden_states(ask_of(self.backend, [self._turn(audio, question, order)], {}), layers)

    def provenance(self) -> dict[str, str | None]:
        """What made the numbers: "model", "revision", "backend", "device", "dtype", and "auricle", its version."""
        return {"model": self.name, **self.backend.provenance(), "auricle": version("auricle")}

    @property
    def revision(self) -> str | None:
        """Which weights these are: the hub's commit, or `sha256:` and a fingerprint of the folder."""
        return self.backend.provenance()["revision"]

    @property
    def cache(self) -> CacheUse:
        """What is kept of earlier requests, and how often it was of use."""
        return self.backend.cache_use()

    def _pieces(self, audio: Sound, longest_s: float | None = None) -> list[Audio]:
        return pieces_of(read_sound(audio, self.backend.rate), self.backend.max_clip_seconds, longest_s)

    def _turn(self, audio: Sound | Sequence[Sound], question: str, order: Order | None) -> Message:
        return user_message(audio, question, order or self.backend.order)

    def _written(
        self, pieces: Iterable[Audio], language: str, options: AskOptions, *, translate: bool = False
    ) -> Iterator[Answer | AuricleError]:
        """What is said in each: in the model's own way to transcribe, or by asking for it, as for a translation."""
        own = None if translate else self.backend.transcribe_many(self._asked_bare(pieces, options), language)
        prompt = transcription_prompt(language, translate=translate)
        return own or self.ask_many(((piece, prompt) for piece in pieces), **options)

    def _asked_bare(self, pieces: Iterable[Audio], options: AskOptions) -> Iterator[Callable[[], Ask]]:
        return (partial(bare, self.backend, piece, options) for piece in pieces)
