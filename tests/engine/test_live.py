"""Live sessions: the answer is that of the whole recording, however it comes; and what goes wrong is told.

Most of it on tiny random checkpoints, whose answers change with everything that goes into them; where words matter, on
the built-in model.
"""

from __future__ import annotations

import contextlib
import gc
import resource
import threading
import time
import weakref
from collections.abc import Iterator
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from auricle.api import Model, load, transcription_prompt
from auricle.engine.answer import AnswerGoal
from auricle.engine.live import Session
from auricle.engine.scheduler import Scheduler
from auricle.engine.store import Store
from auricle.errors import OptionError, PromptError, SoundError
from auricle.models.family import Part
from auricle.sound.decode import decode, from_samples
from auricle.types import Answer, Audio, Listening, Message, Sampling, Scheduling
from tests.checkpoints import make_checkpoint
from tests.engine.scripted import ScriptedFamily
from tests.models.gemma4.test_ear import _numbers
from tests.parity.sounds import RATE, Samples, babble, noise, silence

BOUND = 1e-4
TOKENS = 8  # of an answer: enough to differ
QUESTION = (
    "What does the speaker say, in the end, and which of the sounds is louder?"  # long enough to be worth keeping
)
SENTENCE = Path("examples/sentence.wav")
LONGEST = 480_000  # samples of a clip
FAMILIES = ("e2b", "e4b")

FEEDING = pytest.mark.parametrize("instruction", [QUESTION, None], ids=["instruction", "transcript"])


@pytest.fixture(scope="module", params=FAMILIES)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Model:
    """That keeps nothing, so that an answer owes nothing to one before."""
    return made(tmp_path_factory.mktemp(request.param), family=request.param)


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """A single family, for what does not depend on it."""
    return made(tmp_path_factory.mktemp("one"))


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """With clips of 2 s, so that a few seconds are many clips."""
    return made(tmp_path_factory.mktemp("short"), max_seconds=2)


def made(folder: Path, *, cache_mb: float = 0, max_seconds: float | None = None, **settings: Any) -> Model:
    make_checkpoint(folder, **settings)
    if max_seconds is not None:
        (folder / "preprocessor_config.json").write_text(f'{{"max_seconds": {max_seconds}}}')
    return load(str(folder), cache_mb=cache_mb)


def listen(model: Model, instruction: str | None = QUESTION, **options: Any) -> Session:
    return model.listen(instruction, **{"vad": "energy", "max_tokens": TOKENS, **options})


def pieces(sound: NDArray[Any], seed: int) -> Iterator[NDArray[Any]]:
    """From one sample to 30 s and over, sizes drawn evenly over their order of magnitude."""
    random, at = np.random.default_rng(seed), 0
    while at < sound.shape[-1]:
        size = int(np.exp(random.uniform(0, np.log(600_000))))
        yield sound[..., at : at + size]
        at += size


def spoken(samples: int, seed: int = 0) -> Samples:
    """Something like speech, with pauses of 0.1 to 2 s."""
    random, sound, at = np.random.default_rng(seed), babble(samples, seed), 0
    while at < samples:
        at += int(random.uniform(1, 9) * RATE)
        pause = int(random.uniform(0.1, 2) * RATE)
        sound[at : at + pause] = noise(len(sound[at : at + pause]), seed, 1e-4)
        at += pause
    return sound


def heard(model: Model, sound: NDArray[Any], instruction: str | None, *, sizes: int = 0, **options: Any) -> Answer:
    """The answer of a session that is fed in random pieces; `sizes` is their seed."""
    with listen(model, instruction, **options) as session:
        for piece in pieces(sound, sizes):
            session.feed(piece)
        return session.answer()


def cut(sound: Samples, answer: Answer) -> list[Audio]:
    """The clips of an answer: nothing is missing between two of them, and only what the answer says after the last."""
    edges = [round(segment.start_s * RATE) for segment in answer.segments]
    ends = [round(segment.end_s * RATE) for segment in answer.segments]
    assert edges == [0, *ends[:-1]]
    assert ends[-1] == len(sound) or any("too short to be heard" in note for note in answer.notes)
    assert len(sound) - ends[-1] <= 160
    return [Audio(sound[start:end], RATE) for start, end in zip(edges, ends, strict=True)]


def offline(model: Model, clips: list[Audio], instruction: str | None, **options: Any) -> list[Answer]:
    """The answers to whole clips: one for all of them, or of a transcript one for each."""
    options = {"max_tokens": TOKENS, **options}
    if instruction is None:
        return [model.ask(clip, transcription_prompt("English"), **options) for clip in clips]
    *_, last = model.chat([Message("user", (instruction, *clips))], **options)
    assert last.answer is not None
    return [last.answer]


def tokens(answers: list[Answer]) -> tuple[int, ...]:
    return tuple(token for answer in answers for token in answer.tokens)


@contextlib.contextmanager
def logits_of(model: Model) -> Iterator[list[torch.Tensor]]:
    """All logits that are computed meanwhile, `(vocabulary,)` each."""
    family = model.backend.family  # type: ignore[attr-defined]
    read, found = family.read, list[torch.Tensor]()

    def watched(parts: list[Part]) -> list[torch.Tensor]:
        given: list[torch.Tensor] = read(parts)
        found.extend(row for rows in given for row in rows)
        return given

    family.read = watched
    try:
        yield found
    finally:
        family.read = read


def check_as_offline(
    model: Model, sound: Samples, instruction: str | None, *, sizes: int = 0, **options: Any
) -> Answer:
    """A session's tokens, and the logits of its first, are those of its clips, asked about as wholes."""
    with logits_of(model) as live:
        answer = heard(model, sound, instruction, sizes=sizes, **options)
    clips = cut(sound, answer)
    with logits_of(model) as whole:
        answers = offline(model, clips, instruction)
    assert answer.tokens == tokens(answers)
    assert answer.prompt_tokens == sum(each.prompt_tokens for each in answers)
    assert [segment.tokens for segment in answer.segments] == [s.tokens for each in answers for s in each.segments]
    assert len(live) == len(whole) == len(answer.tokens)
    for first in np.cumsum([0, *(len(each.tokens) for each in answers[:-1])]):
        assert float((live[first] - whole[first]).abs().max()) <= BOUND
    return answer


# --- streaming equals offline


@FEEDING
@pytest.mark.parametrize("seed", range(4))
def test_the_answer_is_that_of_the_whole(model: Model, instruction: str | None, seed: int) -> None:
    """At lengths from the shortest to several clips, in pieces of any size, heard in steps of any length."""
    random = np.random.default_rng(seed)
    samples = int(np.exp(random.uniform(np.log(161), np.log(85 * RATE)))) if seed else 78 * RATE
    sound = spoken(samples, seed) if seed % 2 else noise(samples, seed)
    check_as_offline(
        model, sound, instruction, sizes=seed, step=float(np.exp(random.uniform(np.log(0.04), np.log(10))))
    )


@pytest.mark.slow
@FEEDING
@pytest.mark.parametrize("seed", range(100, 160))
def test_the_answer_is_that_of_the_whole_at_many_lengths(model: Model, instruction: str | None, seed: int) -> None:
    test_the_answer_is_that_of_the_whole(model, instruction, seed)


@FEEDING
@pytest.mark.parametrize("length", [161, 162, 320, 321, 640, 641, 801, 8000, 8001, 8160, 8161])
def test_lengths_at_which_something_begins(one: Model, instruction: str | None, length: int) -> None:
    check_as_offline(one, noise(length, length), instruction, sizes=length)


@FEEDING
@pytest.mark.parametrize("past", [-1, 0, 1, 159, 160, 161, 641, 8000, 32_000])
@pytest.mark.parametrize("step", [0.3, 0.5])
def test_lengths_around_a_full_clip(short: Model, instruction: str | None, past: int, step: float) -> None:
    """A clip is full to the sample, within a step and after one; what is left is heard, or said to be too short."""
    check_around_full(short, 32_000, past, instruction, step)


@FEEDING
@pytest.mark.parametrize("past", [0, 160, 161])
def test_lengths_around_a_full_clip_of_30_s(one: Model, instruction: str | None, past: int) -> None:
    check_around_full(one, LONGEST, past, instruction, 0.5)


def check_around_full(model: Model, longest: int, past: int, instruction: str | None, step: float) -> None:
    sound = noise(longest + past, 1)
    answer = check_as_offline(model, sound, instruction, step=step)
    full, left = divmod(len(sound), longest)
    assert len(answer.segments) == full + (left > 160)
    assert answer.segments[0].end_s == min(longest, len(sound)) / RATE
    if 0 < left <= 160:
        assert f"the last {left / 16:.1f} ms are too short to be heard" in answer.notes


@FEEDING
def test_one_sample_at_a_time(one: Model, instruction: str | None) -> None:
    sound = noise(3000)
    with listen(one, instruction, step=0.04) as session:
        for sample in sound:
            session.feed([float(sample)])
        answer = session.answer()
    assert answer.tokens == tokens(offline(one, cut(sound, answer), instruction))


def talk(samples: int) -> Samples:
    """Words of 0.3 s, a tenth of a second apart: no pause to end a clip in."""
    sound = noise(samples, 4, 0.3)
    sound[np.arange(samples) % 6400 < 1600] *= 1e-3
    return sound


def test_a_clip_ends_in_a_pause_of_its_last_third(one: Model) -> None:
    sound = talk(50 * RATE)
    for pause in (12, 26):
        sound[pause * RATE : int((pause + 0.6) * RATE)] = 0
    answer = check_as_offline(one, sound, QUESTION, step=0.1)
    assert len(answer.segments) == 2
    assert 26.2 <= answer.segments[0].end_s <= 26.5


@pytest.mark.parametrize(
    "sound", [talk(33 * RATE), noise(33 * RATE), silence(33 * RATE)], ids=["talk", "noise", "none"]
)
@pytest.mark.parametrize("step", [0.0437, 0.5, 0.51])
def test_a_clip_without_a_pause_is_full(one: Model, sound: Samples, step: float) -> None:
    """Where nobody speaks there is nothing to cut between."""
    answer = heard(one, sound, QUESTION, step=step, max_tokens=1)
    assert [segment.end_s for segment in answer.segments] == [30, 33]


@pytest.mark.parametrize("step", [0.05, 0.3, 2.3, 7.0])
def test_many_clips(short: Model, step: float) -> None:
    """With steps that are longer than a clip, that divide it, and that don't."""
    for seed, instruction in enumerate((QUESTION, None)):
        sound = spoken(13 * RATE + 77, seed)
        answer = check_as_offline(short, sound, instruction, step=step, sizes=seed)
        assert len(answer.segments) >= 7
        assert all(segment.end_s - segment.start_s <= 2 for segment in answer.segments)


def test_silence_after_every_clip(tmp_path: Path) -> None:
    """As checkpoints have it that name a word only once it has ended."""
    make_checkpoint(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text('{"trailing_silence_s": 0.3, "max_seconds": 2}')
    model = load(str(tmp_path), cache_mb=0)
    for instruction in (QUESTION, None):
        check_as_offline(model, noise(5 * RATE), instruction, step=0.3)


@pytest.mark.parametrize("rate", [8000, 22_050, 44_100, 48_000])
@pytest.mark.parametrize("kind", ["float", "int16", "stereo"])
def test_sound_of_another_rate(one: Model, rate: int, kind: str) -> None:
    sound: NDArray[Any] = noise(int(2.3 * rate))
    if kind != "float":
        sound = (32_767 * np.clip(sound, -1, 1)).astype(np.int16)
    if kind == "stereo":
        sound = np.stack([sound, -sound // 3])
    with listen(one, rate=rate) as session:
        for piece in pieces(sound, rate):
            session.feed(piece)
        assert session.seconds == pytest.approx(2.3, abs=1e-3)
        answer = session.answer()
    assert answer.tokens == one.ask(Audio(sound, rate), QUESTION, max_tokens=TOKENS).tokens
    assert answer.segments[0].end_s == pytest.approx(2.3, abs=1e-3)


def test_clips_of_sound_of_another_rate(one: Model) -> None:
    sound = noise(40 * 44_100)
    answer = heard(one, sound, QUESTION, rate=44_100)
    at_rate = from_samples(sound, 44_100, RATE).samples
    assert len(answer.segments) == 2
    assert answer.tokens == tokens(offline(one, cut(at_rate, answer), QUESTION))


def test_sampling_and_constraints_go_for_sessions_too(one: Model) -> None:
    sound = noise(2 * RATE)
    for options in ({"temperature": 1.5, "seed": 3}, {"choices": ("yes", "no", "never")}, {"repetition_penalty": 1.5}):
        answer = heard(one, sound, QUESTION, **options)
        assert answer.tokens == tokens(offline(one, [Audio(sound, RATE)], QUESTION, **options)), options
    assert heard(one, sound, None, choices=("yes", "no")).text in ("yes", "no")
    with pytest.raises(OptionError, match="choices"):
        listen(one, choices=("yes", "yes"))


def test_the_words_of_the_built_in_model() -> None:
    question = "What does the speaker say?"
    model, said = load("tiny", cache_mb=0), decode(SENTENCE, rate=RATE).samples
    assert heard(model, said, question, max_tokens=80).text == model.ask(SENTENCE, question).text
    text = model.transcribe(SENTENCE).text
    assert text
    assert heard(model, said, None, max_tokens=80).text == text
    long = np.concatenate([said, silence(21 * RATE), said, silence(21 * RATE)])
    again = heard(model, long, None, max_tokens=80)
    texts = [each.text for each in offline(model, cut(long, again), None, max_tokens=80)]
    assert again.text == " ".join(texts)
    assert texts[0] == text
    with listen(model, None, max_tokens=80) as session:
        session.feed(long)
        assert "".join(chunk.text for chunk in session.stream()) == again.text
    assert len(texts) == 3


# --- partial answers


@FEEDING
@pytest.mark.parametrize("sound", [spoken(44 * RATE, 3), noise(32 * RATE)], ids=["pauses", "none"])
def test_partial_answers_change_nothing(one: Model, instruction: str | None, sound: Samples) -> None:
    expected = heard(one, sound, instruction)
    with logits_of(one) as found, listen(one, instruction) as session:
        assert session.partial() == ""
        for number, piece in enumerate(np.split(sound, range(3000, len(sound), 80_000))):
            session.feed(piece)
            text = session.partial()
            assert text == session.partial()
            assert (text == "") == (number == 0), "the first piece is less than a step"
        found.clear()
        answer = session.answer()
    assert (answer.tokens, answer.segments) == (expected.tokens, expected.segments)
    with logits_of(one) as without:
        heard(one, sound, instruction)
    last = found[0], without[-len(found)]
    assert float((last[0] - last[1]).abs().max()) <= BOUND


@FEEDING
@pytest.mark.parametrize("clips", [1, 2])
def test_a_partial_answer_after_a_clip_has_ended(short: Model, instruction: str | None, clips: int) -> None:
    """When the last clip is full and nothing came after it, this is the answer."""
    sound = noise(clips * 32_000, clips)
    with listen(short, instruction) as session:
        session.feed(sound)
        partial = session.partial()
        answer = session.answer()
    assert len(answer.segments) == clips
    assert partial == answer.text == " ".join(each.text for each in offline(short, cut(sound, answer), instruction))


def test_a_partial_answer_knows_what_was_heard_and_no_more(one: Model) -> None:
    """All tokens that are final, of whole steps: 24 of the first second."""
    sound = noise(RATE + 7000)
    with listen(one) as session, logits_of(one) as found:
        session.feed(sound)
        session.partial()
    family = one.backend.family  # type: ignore[attr-defined]
    audio = family.encode(family.features(sound))[:24]
    ids = family.prompt([Message("user", (QUESTION, Audio(sound, RATE)))], [24]).ids
    with torch.inference_mode():
        whole = family.read([Part(family.new_cache(), ids, audio)])[0][0]
    assert float((found[0] - whole).abs().max()) <= BOUND


def test_partial_answers_keep_nothing(tmp_path: Path) -> None:
    model = made(tmp_path, cache_mb=100)
    with listen(model) as session:
        session.feed(noise(3 * RATE))
        before = model.cache
        session.partial()
        assert model.cache == before


# --- what is kept


@pytest.mark.parametrize("seconds", [2, 45], ids=["short", "long"])
@pytest.mark.parametrize("first", [QUESTION, None], ids=["instruction", "transcript"])
def test_the_next_session_reuses_the_instruction(tmp_path: Path, first: str | None, seconds: int) -> None:
    """Also after one that is too long to be gone back to its beginning."""
    model = made(tmp_path, cache_mb=100)
    expected = heard(model, noise(seconds * RATE), first)
    before = model.cache.reused_tokens
    again = heard(model, noise(seconds * RATE), first)
    instruction = len(listen(model, first)._frame.before)
    assert model.cache.reused_tokens == before + instruction
    assert again.tokens == expected.tokens


def test_a_question_about_a_clip_that_was_heard_reads_nothing_of_it_again(tmp_path: Path) -> None:
    model, sound = made(tmp_path / "kept", cache_mb=100), noise(5 * RATE)
    live = heard(model, sound, QUESTION)
    asked = model.ask(Audio(sound, RATE), QUESTION, max_tokens=TOKENS)
    assert asked.tokens == live.tokens
    assert (asked.reused_clips, asked.reused_tokens) == (1, asked.prompt_tokens - 1)
    other = model.ask(Audio(sound[1:], RATE), QUESTION, max_tokens=TOKENS)
    assert (other.reused_clips, other.reused_tokens) == (0, len(listen(model)._frame.before))


@pytest.mark.parametrize("instruction", [QUESTION, None], ids=["instruction", "transcript"])
def test_clips_that_were_heard_are_not_encoded_again(tmp_path: Path, instruction: str | None) -> None:
    """Whatever is asked about them, and wherever they stand."""
    model, sound = made(tmp_path, cache_mb=100, max_seconds=2), noise(5 * RATE)
    clips = cut(sound, heard(model, sound, instruction))
    asked = model.ask(clips, "Who?", order="audio-first", max_tokens=TOKENS)
    assert asked.reused_clips == len(clips) == 3
    other = made(tmp_path / "other", max_seconds=2)
    assert asked.tokens == other.ask(clips, "Who?", order="audio-first", max_tokens=TOKENS).tokens


def test_a_session_reuses_what_a_question_has_read(tmp_path: Path) -> None:
    model, sound = made(tmp_path, cache_mb=100), noise(5 * RATE)
    asked = model.ask(Audio(noise(RATE, 9), RATE), QUESTION, max_tokens=TOKENS)
    assert not asked.reused_tokens
    answer = heard(model, sound, QUESTION)
    assert model.cache.reused_tokens == len(listen(model)._frame.before)
    other = made(tmp_path / "other")
    assert answer.tokens == tokens(offline(other, [Audio(sound, RATE)], QUESTION))


@pytest.mark.parametrize("cache_mb", [0, 100])
def test_sessions_at_once(tmp_path: Path, cache_mb: float) -> None:
    """On one model, from one thread, in turns; two of them with the same instruction."""
    model = made(tmp_path, cache_mb=cache_mb)
    sounds = [noise(9 * RATE), spoken(33 * RATE, 5), noise(31 * RATE, 2), noise(200, 3)]
    instructions = (QUESTION, QUESTION, None, "Who?")
    sessions = [listen(model, instruction, step=1 + i) for i, instruction in enumerate(instructions)]
    for session in sessions:
        session.__enter__()
    feeds = [(session, pieces(sound, i)) for i, (session, sound) in enumerate(zip(sessions, sounds, strict=True))]
    while feeds:
        for session, rest in list(feeds):
            piece = next(rest, None)
            if piece is None:
                feeds.remove((session, rest))
            else:
                session.feed(piece)
    streams = [session.stream() for session in sessions]
    answers: dict[int, Answer] = {}
    while len(answers) < len(streams):
        for i, stream in enumerate(streams):
            for chunk in stream:
                if chunk.answer is not None:
                    answers[i] = chunk.answer
                break
    other = made(tmp_path / "other")
    for i, instruction in enumerate(instructions):
        assert answers[i].tokens == tokens(offline(other, cut(sounds[i], answers[i]), instruction)), instruction


def test_a_session_while_others_ask(tmp_path: Path) -> None:
    model = made(tmp_path, cache_mb=20)
    sound, asked = spoken(40 * RATE, 2), [noise(RATE, seed) for seed in range(4)]
    expected = heard(model, sound, QUESTION).tokens
    right = [model.ask(Audio(samples, RATE), "Who?", max_tokens=20).tokens for samples in asked]
    found: list[list[tuple[int, ...]]] = [[] for _ in asked]
    over = threading.Event()

    def ask(i: int) -> None:
        while not over.is_set() or not found[i]:
            found[i].append(model.ask(Audio(asked[i], RATE), "Who?", max_tokens=20).tokens)

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(len(asked))]
    for thread in threads:
        thread.start()
    try:
        with listen(model) as session:
            for piece in np.split(sound, range(0, len(sound), 20_000)):
                session.feed(piece)
            session.partial()
            answer = session.answer()
    finally:
        over.set()
        for thread in threads:
            thread.join()
    assert answer.tokens == expected
    for i, answers in enumerate(found):
        assert set(answers) == {right[i]}


def test_what_was_heard_is_answered_when_the_queue_is_full(tmp_path: Path) -> None:
    """Whoever asks is refused and can ask again; who has spoken can't."""
    make_checkpoint(tmp_path)
    model = load(str(tmp_path), cache_mb=0, scheduling=Scheduling(max_running=1, max_queue=0))
    for instruction in (QUESTION, None):
        sound = noise(31 * RATE)
        expected = heard(model, sound, instruction).tokens
        stream = model.stream(Audio(noise(RATE), RATE), "Who?", max_tokens=60)
        next(stream)
        with listen(model, instruction) as session:
            session.feed(sound)
            assert session.answer().tokens == expected
        for chunk in stream:
            assert chunk.answer is None or chunk.answer.tokens


# --- the end of the context


def small(folder: Path, context: int, **options: Any) -> Model:
    model = made(folder, max_position_embeddings=context, **options)
    model.backend.family.stop_ids = frozenset()  # type: ignore[attr-defined]  # so that only a limit ends an answer
    return model


@pytest.fixture(scope="module")
def cramped(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return small(tmp_path_factory.mktemp("cramped"), 300)


def feed_until_full(session: Session, sound: Samples, size: int) -> int:
    """How many samples were taken when the context was full, of which the error speaks."""
    taken, error = 0, ""
    while not error and taken < len(sound):
        try:
            session.feed(sound[taken : taken + size])
        except PromptError as full:
            error = str(full)
        taken += size
    assert error == (
        f"the model's context of 300 tokens is full after {session._heard / RATE:.1f} s of sound: ask for the answer "
        "to what was heard, or listen in shorter sessions"
    )
    return min(taken, len(sound))


@pytest.mark.parametrize("step", [0.04, 0.5, 3.0])
def test_a_full_context_is_told_and_what_was_heard_is_answered(cramped: Model, step: float) -> None:
    """After the same sound, in whatever pieces it comes; and nothing that was fed goes unmentioned."""
    sound, ends = noise(20 * RATE), set()
    for size in (7777, len(sound)):
        with listen(cramped, "What?", step=step, max_tokens=200) as session:
            taken = feed_until_full(session, sound, size)
            assert session.partial()
            with pytest.raises(SoundError, match="the session is full and takes no more sound"):
                session.feed(sound[:1])
            answer = session.answer()
        end = round(answer.segments[-1].end_s * RATE)
        note = f"the last {(taken - end) / RATE:.2f} s were not heard: the model's context was full"
        assert note in answer.notes
        assert answer.prompt_tokens + len(answer.tokens) == 300
        assert len(answer.tokens) >= 75, "a quarter of such a small context"
        assert answer.prompt_tokens + len(answer.tokens) + 25 * (step + 0.04) + 4 >= 300, "it was made use of"
        [whole] = offline(cramped, [Audio(sound[:end], RATE)], "What?", max_tokens=200)
        assert answer.tokens == whole.tokens
        ends.add(end)
    assert len(ends) == 1


@pytest.mark.parametrize("step", [0.7, 1.9])
def test_a_context_that_is_full_among_several_clips(tmp_path: Path, step: float) -> None:
    model, sound = small(tmp_path, 300, max_seconds=2), noise(20 * RATE)
    ends = set()
    for size in (7777, len(sound)):
        with listen(model, "What?", step=step) as session:
            taken = feed_until_full(session, sound, size)
            answer = session.answer()
        ends.add(end := round(answer.segments[-1].end_s * RATE))
        assert f"the last {(taken - end) / RATE:.2f} s were not heard: the model's context was full" in answer.notes
        [whole] = offline(model, cut_to(sound, answer), "What?")
        assert answer.tokens == whole.tokens
    assert len(ends) == 1
    assert len(answer.segments) >= 3
    assert answer.prompt_tokens <= 300 - 8  # the tokens asked for


def cut_to(sound: Samples, answer: Answer) -> list[Audio]:
    return cut(sound[: round(answer.segments[-1].end_s * RATE)], answer)


@pytest.mark.parametrize("seconds", [0, 5])
def test_a_last_piece_that_the_context_does_not_hold(cramped: Model, seconds: int) -> None:
    """It is less than a step, and so nobody has looked at it before."""
    with listen(cramped, "What?", step=5, max_tokens=400) as session:
        session.feed(noise(seconds * RATE + int(4.9 * RATE)))
        answer = session.answer()
    assert answer.prompt_tokens + len(answer.tokens) <= 300
    assert answer.segments[-1].end_s == (5 if seconds else 4.9)
    assert (answer.notes[0] == "the last 4.90 s were not heard: the model's context was full") == bool(seconds)


def test_partial_answers_up_to_the_end_of_the_context(cramped: Model) -> None:
    full = False
    with listen(cramped, "What?", step=1) as session:
        while not full:
            try:
                session.feed(noise(RATE))
            except PromptError:
                full = True
            assert session.partial()
        assert session.answer().text


def test_a_context_with_no_room_for_the_first_step(cramped: Model) -> None:
    with listen(cramped, "What?", step=10, max_tokens=80) as session:
        with pytest.raises(PromptError, match=r"context of 300 tokens is full after 0\.0 s"):
            session.feed(noise(11 * RATE))
        with pytest.raises(PromptError, match=r"context of 300 tokens is full after 0\.0 s"):
            session.answer()


def test_a_transcript_has_no_end_in_a_context_that_holds_a_clip(tmp_path: Path) -> None:
    """Of 30 s, with steps that divide it and others."""
    plain = made(tmp_path / "plain")
    prompt = plain.ask(Audio(noise(LONGEST), RATE), transcription_prompt("English"), max_tokens=1).prompt_tokens
    between = len(listen(plain, None)._frame.between)
    model = made(tmp_path / "small", max_position_embeddings=prompt + between + 80)
    sound = noise(70 * RATE)
    for step in (0.7, 9.0):
        answer = check_as_offline(model, sound, None, step=step)
        assert [segment.end_s for segment in answer.segments] == [30, 60, 70]


def test_an_instruction_longer_than_the_context(cramped: Model) -> None:
    session = listen(cramped, "What? " * 100)
    with pytest.raises(PromptError, match=r"the instruction has \d+ tokens and the model's context holds 300"), session:
        pass
    with pytest.raises(OptionError, match="the session is not open"):
        session.feed(noise(RATE))
    with listen(cramped, "What?") as other:
        other.feed(noise(RATE))
        assert other.answer().tokens


# --- what is refused


BAD: dict[str, Any] = {
    "NaN": np.array([0, np.nan], np.float32),
    "infinite": np.array([0, np.inf]),
    "too loud": np.array([20_000.0]),
    "text": "sound",
    "words": ["a", "b"],
    "None": None,
    "complex": np.zeros(10, complex),
    "int64": np.zeros(10, np.int64),
    "three dimensions": np.zeros((1, 2, 10), np.float32),
    "no dimension": np.float32(0),
    "no channel": np.zeros((0, 10), np.float32),
    "transposed": np.zeros((16_000, 2), np.float32),
    "ragged": [[0.0, 0.0], [0.0]],
}


@FEEDING
def test_what_is_no_sound_is_refused_and_changes_nothing(one: Model, instruction: str | None) -> None:
    sound = noise(3 * RATE)
    expected = heard(one, sound, instruction, step=0.3)
    with listen(one, instruction, step=0.3) as session:
        for i, (name, bad) in enumerate(BAD.items()):
            session.feed(sound[i * 1000 : (i + 1) * 1000])
            for given in (bad, np.concatenate([noise(9000), bad]) if name in ("NaN", "infinite", "too loud") else bad):
                with pytest.raises(SoundError, match="live") as error:
                    session.feed(given)
                assert "\n" not in str(error.value)
        session.feed(sound[len(BAD) * 1000 :])
        assert session.seconds == pytest.approx(3)
        answer = session.answer()
    assert (answer.tokens, answer.segments, answer.notes) == (expected.tokens, expected.segments, expected.notes)


def test_a_session_is_fed_inside_its_with_and_before_its_answer(one: Model) -> None:
    sound, session = noise(RATE), listen(one)
    for use in (partial(session.feed, sound), session.partial, session.answer):
        with pytest.raises(OptionError, match="the session is not open: enter it with `with`"):
            use()
    with session:
        session.feed(sound)
        assert session.answer().tokens
        for use in (partial(session.feed, sound), session.partial, session.answer):
            with pytest.raises(SoundError, match="the session has given its answer and takes no more sound"):
                use()
    for use in (partial(session.feed, sound), session.partial, session.answer):
        with pytest.raises(SoundError, match="the session is over and takes no more sound"):
            use()
    with pytest.raises(OptionError, match="entered before"), session:
        pass
    assert heard(one, sound, QUESTION).tokens


def test_a_session_that_is_full_is_over_after_its_with_too(cramped: Model) -> None:
    with listen(cramped, "What?") as session, pytest.raises(PromptError):
        session.feed(noise(20 * RATE))
    for use in (session.partial, session.answer):
        with pytest.raises(SoundError, match="the session is over"):
            use()


@FEEDING
@pytest.mark.parametrize("samples", [None, 0, 1, 160])
def test_a_session_that_heard_nothing(one: Model, instruction: str | None, samples: int | None) -> None:
    with listen(one, instruction) as session:
        if samples is not None:
            session.feed(noise(samples))
        assert session.partial() == ""
        with pytest.raises(
            SoundError, match=f"the sound has {samples or 0} samples at 16000 Hz; the model needs at le"
        ):
            session.answer()


def test_nothing_is_no_sound_and_no_harm(one: Model) -> None:
    sound, nothing = noise(2 * RATE), np.empty(0, np.float32)
    with listen(one) as session:
        for piece in np.array_split(sound, 7):
            for _ in range(100):
                session.feed(nothing)
            assert len(session._waiting) <= 2
            session.feed(piece)
        assert session.answer().tokens == heard(one, sound, QUESTION).tokens


@pytest.mark.parametrize("rate", [0, -1, 1.5, "16000", True, 999, 10**8])
def test_a_rate_that_is_none(one: Model, rate: Any) -> None:
    with pytest.raises((SoundError, OptionError), match="samples per second"):
        listen(one, rate=rate)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"step": 0.03}, "step is 0.03; it must be from 0.04"),
        ({"step": 11}, "step is 11; it must be from 0.04"),
        ({"step": float("nan")}, "step is nan"),
        ({"pause": 0.0}, "pause is 0.0; it must be at least 0.1 seconds"),
        ({"pause": float("inf")}, "pause is inf"),
        ({"pause": float("nan")}, "pause is nan"),
        ({"vad": "ears"}, "vad is 'ears'; it must be 'auto', 'silero' or 'energy'"),
        ({"max_tokens": 0}, "max_tokens is 0"),
        ({"instruction": ""}, "the instruction is empty"),
        ({"instruction": " \n"}, "the instruction is empty"),
        ({"instruction": "What is <|audio|>?"}, r"control token '<\|audio\|>'"),
        ({"instruction": "<|turn>"}, r"control token '<\|turn>'"),
        ({"instruction": None, "language": "<|audio|>"}, r"control token '<\|audio\|>'"),
    ],
)
def test_options_outside_their_range(one: Model, options: dict[str, Any], message: str) -> None:
    with pytest.raises((OptionError, PromptError), match=message):
        listen(one, **{"instruction": QUESTION, **options})


def test_a_model_that_can_not_hear_piece_by_piece(tmp_path: Path) -> None:
    family = ScriptedFamily(tmp_path)
    with pytest.raises(OptionError, match="needs the whole of a clip at once and can't listen live: use ask"):
        Session(
            Scheduler(family, Store(0)),
            "What?",
            Listening(vad="energy"),
            lambda prompt: AnswerGoal(family, Sampling(), prompt.ids),
            each_clip=False,
            max_tokens=80,
        )


@pytest.mark.parametrize(
    "sign",
    [
        "clip {{ number.of }}: ",
        "{{ message.content | length }} parts: ",
        "{{ 'one: ' if message.content | length == 2 else 'one of some: ' }}",
    ],
)
def test_a_template_that_numbers_the_clips_is_refused(tmp_path: Path, sign: str) -> None:
    """What stands between two clips must be the same for all of them."""
    make_checkpoint(tmp_path)
    (tmp_path / "chat_template.jinja").write_text(
        "{%- set number = namespace(of=0) -%}{%- for message in messages %}<|turn>user\n"
        "{%- for part in message.content %}{%- if part.type == 'audio' %}{% set number.of = number.of + 1 %}"
        + sign
        + "<|audio|>{%- else %}{{ part.text }}{%- endif %}{%- endfor %}<turn|>\n{%- endfor %}<|turn>model\n"
    )
    model = load(str(tmp_path))
    assert model.ask(Audio(noise(RATE), RATE), "What?", max_tokens=2).tokens
    with pytest.raises(PromptError, match="chat template changes with the number of clips"):
        listen(model)


# --- what breaks off


def test_an_error_inside_the_with_leaves_the_model_usable(one: Model) -> None:
    sound = noise(2 * RATE)
    expected = heard(one, sound, QUESTION).tokens
    with contextlib.suppress(ZeroDivisionError), listen(one) as session:
        session.feed(sound)
        raise ZeroDivisionError
    with pytest.raises(SoundError, match="the session is over"):
        session.answer()
    assert heard(one, sound, QUESTION).tokens == expected
    assert tokens(offline(one, [Audio(sound, RATE)], QUESTION)) == expected


@FEEDING
@pytest.mark.parametrize("broken", ["read", "ear"])
@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_a_session_that_was_interrupted_while_it_heard_says_so(
    short: Model, monkeypatch: pytest.MonkeyPatch, instruction: str | None, broken: str, error: type[BaseException]
) -> None:
    """Half of a step is lost, so there is no answer to all that was said."""

    def breaks(*_: Any, **__: Any) -> None:
        raise error

    sound = noise(5 * RATE)
    expected = heard(short, sound, instruction).tokens
    with listen(short, instruction) as session:
        session.feed(sound[:20_000])
        with monkeypatch.context() as patch:
            if broken == "read":
                patch.setattr(short.backend.family, "read", breaks)  # type: ignore[attr-defined]
            else:
                patch.setattr(session._clip.ear, "hear", breaks)
            with pytest.raises(error):
                session.feed(sound[20_000:])
        for use in (partial(session.feed, sound), session.partial, session.answer):
            with pytest.raises(SoundError, match="the session was interrupted within a step and takes no more sound"):
                use()
    assert heard(short, sound, instruction).tokens == expected


def test_a_transcript_that_an_error_broke_off_keeps_what_was_written(
    short: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(*_: Any) -> None:
        raise KeyboardInterrupt

    sound = noise(7 * RATE)
    expected = heard(short, sound[: 4 * RATE], None)
    with listen(short, None) as session:
        session.feed(sound[: 5 * RATE])
        monkeypatch.setattr(short.backend.family, "read", breaks)  # type: ignore[attr-defined]
        with pytest.raises(KeyboardInterrupt):
            session.feed(sound[5 * RATE :])
        answer = session.answer()
        with pytest.raises(SoundError, match="has given its answer"):
            session.answer()
    assert (answer.text, answer.tokens, answer.segments) == (expected.text, expected.tokens, expected.segments)
    assert answer.notes[0] == "nothing was written down from 4.0 s on: an error came in between"


@FEEDING
def test_a_stream_that_is_given_up(one: Model, instruction: str | None) -> None:
    with listen(one, instruction, max_tokens=50) as session:
        session.feed(noise(2 * RATE))
        stream = session.stream()
        next(stream)
        stream.close()  # type: ignore[attr-defined]
        scheduler = one.backend.scheduler  # type: ignore[attr-defined]
        assert (scheduler.running, scheduler.waiting) == (0, 0)
    assert heard(one, noise(RATE), instruction).tokens


@FEEDING
@pytest.mark.parametrize("entered", [True, False], ids=["left", "forgotten"])
def test_a_session_without_an_answer_frees_its_memory(one: Model, instruction: str | None, entered: bool) -> None:
    session = listen(one, instruction)
    session.__enter__()
    session.feed(noise(5 * RATE))
    held = [
        weakref.ref(session._cache),
        *([weakref.ref(session._instructed)] if session._instructed is not None else []),
    ]
    if entered:
        session.__exit__(None, None, None)
    else:
        del session
    gc.collect()
    assert [cache() for cache in held] == [None] * len(held)


# --- what it gives


def test_a_stream_gives_its_text_in_order(short: Model) -> None:
    for instruction in (QUESTION, None):
        with listen(short, instruction, max_tokens=20) as session:
            session.feed(noise(7 * RATE))
            *shown, last = session.stream()
        assert last.answer is not None
        assert not last.text
        assert all(chunk.text and chunk.answer is None for chunk in shown)
        assert "".join("".join(chunk.text for chunk in shown).split()) == "".join(last.answer.text.split())
        timings = last.answer.timings
        assert 0 < timings.ttft_s < timings.total_s


def test_clips_in_which_nothing_is_said(short: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """No text is no chunk, and no space between two."""
    monkeypatch.setattr(short.backend.family, "stop_ids", range(short.backend.family.vocabulary))  # type: ignore[attr-defined]
    with listen(short, None) as session:
        session.feed(noise(5 * RATE))
        assert session.partial() == ""
        [last] = session.stream()
    assert last.answer is not None
    assert (last.answer.text, len(last.answer.tokens)) == ("", 3)


def test_the_notes_of_a_transcript_say_of_which_clip_they_speak(short: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(short.backend.family, "stop_ids", frozenset())  # type: ignore[attr-defined]
    cut_off = "the answer was cut after 3 tokens (max_tokens)"
    notes = heard(short, noise(3 * RATE), None, max_tokens=3).notes
    assert notes == (f"from 0.0 s to 2.0 s: {cut_off}", f"from 2.0 s to 3.0 s: {cut_off}")
    assert heard(short, noise(3 * RATE), QUESTION, max_tokens=3).notes == (cut_off,)


def test_the_source_stands_in_segments_and_errors(one: Model) -> None:
    with listen(one, source="microphone 1") as session:
        session.feed(noise(RATE))
        with pytest.raises(SoundError, match="microphone 1"):
            session.feed([np.nan])
        assert [segment.source for segment in session.answer().segments] == ["microphone 1"]


# --- when the speaker stops


def said_at(session: Session, sound: Samples, block: int = 700) -> float | None:
    """When a session notices that the speaker has stopped, in seconds."""
    for end in range(block, len(sound) + 1, block):
        session.feed(sound[end - block : end])
        assert session._detector.seconds == pytest.approx(session.seconds)
        if session.stopped:
            return end / RATE
    return None


@pytest.fixture(scope="module")
def sentence() -> Samples:
    return decode(SENTENCE, rate=RATE).samples


@pytest.mark.parametrize("step", [0.1, 0.5, 10.0])
@pytest.mark.parametrize("before", [0.0, 2.0])
def test_the_end_of_speech_is_noticed(one: Model, sentence: Samples, before: float, step: float) -> None:
    """At once, however long a step; not within the sentence, and not before it."""
    sound = np.concatenate([silence(int(before * RATE)), sentence, silence(3 * RATE)])
    sound += noise(len(sound), 1, 1e-4)
    end = before + len(sentence) / RATE
    with listen(one, pause=0.6, step=step) as session:
        assert session.detector == "energy"
        at = said_at(session, sound)
    assert at is not None
    assert end + 0.3 <= at <= end + 0.8  # the sentence's own end is silent
    with listen(one, step=step) as session:
        assert said_at(session, sound) is None


def test_silence_is_no_end_of_speech(one: Model) -> None:
    with listen(one, pause=0.3) as session:
        assert said_at(session, noise(5 * RATE, 0, 1e-3)) is None


@pytest.mark.skipif(find_spec("silero_vad") is None, reason="silero-vad is not installed")
def test_the_end_of_speech_by_silero(one: Model, sentence: Samples) -> None:
    with listen(one, pause=0.6, vad="silero") as session:
        assert session.detector == "silero"
        at = said_at(session, np.concatenate([sentence, silence(3 * RATE)]))
    assert at is not None
    assert len(sentence) / RATE + 0.3 <= at <= len(sentence) / RATE + 0.9


# --- hours


def test_many_small_pieces_cost_no_more_than_they_are(one: Model) -> None:
    """Of a long step: time goes with their number, not with its square."""

    def takes(samples: int) -> float:
        with listen(one, step=10) as session:
            begun = time.perf_counter()
            for sample in noise(samples).reshape(-1, 1):
                session.feed(sample)
            return time.perf_counter() - begun

    assert takes(40_000) < 8 * min(takes(10_000) for _ in range(3))


@pytest.mark.slow
def test_an_hour_of_transcript(tmp_path: Path) -> None:
    """Nothing grows: not the ear, not the cache, not the process; and not a sample is lost."""
    model, sound = made(tmp_path, cache_mb=20), spoken(600 * RATE, 1)
    step, after_ten_minutes = RATE // 2, 0
    sizes: set[int] = set()
    with listen(model, None, max_tokens=4) as session:
        for i in range(7200):
            start = i * step % len(sound)
            session.feed(sound[start : start + step])
            ear: Any = session._clip.ear
            if ear.tokens > 50:
                sizes.add(_numbers(ear._state) + _numbers(ear._mel._rest) + _numbers(ear._frames))
            assert session._cache.length < 1000
            if i == 1200:
                after_ten_minutes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        assert max(sizes) - min(sizes) <= 321 + 4 * 128  # a window and three frames more or less
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - after_ten_minutes < 20_000  # kilobytes
        assert model.cache.bytes <= 20_000_000
        answer = session.answer()
    edges = [0.0, *(segment.end_s for segment in answer.segments)]
    assert edges[:-1] == [segment.start_s for segment in answer.segments]
    assert edges[-1] == 3600
    for number in (0, len(answer.segments) // 2, len(answer.segments) - 1):
        start, end = round(edges[number] * RATE), round(edges[number + 1] * RATE)
        clip = np.take(sound, np.arange(start, end), mode="wrap")
        [whole] = offline(model, [Audio(clip, RATE)], None, max_tokens=4)
        assert answer.tokens[4 * number : 4 * number + 4] == whole.tokens or "stop" in whole.finish_reason


@pytest.mark.slow
def test_an_instruction_until_the_context_is_full(tmp_path: Path) -> None:
    """A context of ten minutes."""
    model, sound = made(tmp_path, max_position_embeddings=15_000), spoken(700 * RATE, 2)
    full = ""
    with listen(model) as session:
        for piece in np.split(sound, range(8000, len(sound), 8000)):
            try:
                session.feed(piece)
            except PromptError as error:
                full = str(error)
                break
            assert session._cache.length <= 15_000 - TOKENS
        answer = session.answer()
    assert "context of 15000 tokens is full after 5" in full
    assert len(answer.segments) >= 20
    assert answer.tokens == tokens(offline(model, cut_to(sound, answer), QUESTION))
