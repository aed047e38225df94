"""Labels of any number of sounds, from a model with a head or one that is asked; several sounds at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache, partial
from itertools import islice
from typing import TYPE_CHECKING

from auricle.api.labelling.forms import Form, shares
from auricle.api.outcomes import chosen
from auricle.api.requests import ask_of, bare
from auricle.api.sounds import Sound, read_sound, user_message
from auricle.backends import Backend, Scoring
from auricle.errors import AuricleError
from auricle.types import Ask, Asked, AskOptions, Audio, Label, Labels, Order, Scores, Timings

if TYPE_CHECKING:
    from auricle.api.labelling.template import Template


def own_labels(
    backend: Backend, sounds: Iterable[Sound], labels: Sequence[str] | None, options: AskOptions
) -> Iterator[Labels | AuricleError]:
    """Of a model with a head, one sound after the other."""
    for sound in sounds:
        try:
            found = backend.classify(bare(backend, read_sound(sound, backend.rate), options))
            assert found is not None, "it has labels of its own"
            outcome: Labels | AuricleError = found if labels is None else chosen(found, labels)
        except AuricleError as error:
            outcome = error
        yield outcome


def asked_labels(
    backend: Backend,
    sounds: Iterable[Sound],
    labels: Sequence[str],
    template: Template,
    forms: Sequence[Form],
    order: Order | None,
    options: AskOptions,
) -> Iterator[Labels | AuricleError]:
    """Of a model that is asked, with every form about every sound. A sound is decoded and encoded once."""

    def scorings() -> Iterator[Scoring]:
        for sound in sounds:
            read = cache(partial(read_sound, sound, backend.rate))
            for form in forms:
                yield partial(_ask, backend, read, form, order or backend.order, options), form.choices

    found = backend.score_many(scorings())
    while outcomes := list(islice(found, len(forms))):
        wrong = next((one for one in outcomes if isinstance(one, AuricleError)), None)
        yield wrong or _labels(labels, template, forms, [one for one in outcomes if isinstance(one, Scores)])


def _ask(backend: Backend, read: Callable[[], Audio], form: Form, order: Order, options: AskOptions) -> Ask:
    return ask_of(backend, [user_message(read(), form.prompt, order)], options)


def _labels(labels: Sequence[str], template: Template, forms: Sequence[Form], scores: Sequence[Scores]) -> Labels:
    orders = tuple(form.read(one, labels) for form, one in zip(forms, scores, strict=True))
    found = sorted(map(Label, labels, shares(orders)), key=lambda label: -label.probability)
    segments = scores[0].segments
    notes: tuple[str, ...] = ()
    if len(segments) > 1:
        notes = (f"{segments[0].source} was cut at pauses into {len(segments)} clips, heard together",)
    asked = Asked(template.id, tuple(labels), orders)
    return Labels(tuple(found), segments, _together([one.timings for one in scores]), notes=notes, asked=asked)


def _together(timings: Sequence[Timings]) -> Timings:
    """Of requests that ran side by side: work adds up, waiting doesn't."""
    return Timings(
        queued_s=min(one.queued_s for one in timings),
        mel_s=sum(one.mel_s for one in timings),
        encoder_s=sum(one.encoder_s for one in timings),
        prefill_s=sum(one.prefill_s for one in timings),
        ttft_s=max(one.ttft_s for one in timings),
        decode_s=max(one.decode_s for one in timings),
        total_s=max(one.total_s for one in timings),
    )
