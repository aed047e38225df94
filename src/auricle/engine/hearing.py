"""Short clips of many requests, heard in one padded batch before their turn comes: half the time of one by one.

A batch gives what each clip gives alone, but for the rounding of products in float32.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial

from auricle.engine.request import Given, Request, Sound
from auricle.engine.scheduler import Making, Scheduler

REQUESTS = 32  # made at a time
SECONDS = 60.0  # of sound in these, or the last of them has more
SHORT_S = 5.0  # a longer clip gains nothing by company
BATCH = 16  # clips; more gain nothing on a CPU


def heard_together(scheduler: Scheduler, makings: Iterable[Making]) -> Iterator[Making]:
    """The same requests, a group of which is made whenever the next is asked for; an error is raised in its place."""
    for group in _groups(makings):
        _hear(scheduler, [one for one in group if isinstance(one, Request)])
        yield from (partial(_made, one) for one in group)


def _groups(makings: Iterable[Making]) -> Iterator[list[Request | Exception]]:
    group: list[Request | Exception] = []
    seconds = 0.0
    for making in makings:
        try:
            request = making()
        except Exception as error:  # whatever it is, it concerns this request alone
            group.append(error)
        else:
            group.append(request)
            seconds += sum(sound.audio.seconds for sound in request.sounds)
        if len(group) >= REQUESTS or seconds >= SECONDS:
            yield group
            group, seconds = [], 0.0
    if group:
        yield group


def _made(one: Request | Exception) -> Request:
    if isinstance(one, Exception):
        raise one
    return one


def _hear(scheduler: Scheduler, requests: Sequence[Request]) -> None:
    """Gives each request the tokens of its short clips; of a clip that several have, it is the first that hears it."""
    store = scheduler.prefixes.store
    wanting: dict[bytes, list[Request]] = {}
    sounds: dict[bytes, Sound] = {}
    for request in requests:
        for sound in request.sounds:
            if sound.audio.seconds <= SHORT_S and store.get("audio", sound.clip.digest) is None:
                wanting.setdefault(sound.clip.digest, []).append(request)
                sounds[sound.clip.digest] = sound
    order = sorted(sounds, key=lambda digest: len(sounds[digest].audio.samples))
    for start in range(0, len(order), BATCH):
        digests = order[start : start + BATCH]
        if len(digests) == 1:
            continue  # it is heard when its turn comes
        try:
            given = _batch(scheduler, requests[0], [sounds[digest] for digest in digests])
        except Exception:  # each is heard by itself then, so that only the one at fault fails, and says why
            continue
        for digest, one in zip(digests, given, strict=True):
            for place, request in enumerate(wanting[digest]):
                request.given.setdefault(digest, one if place == 0 else replace(one, first=False))


def _batch(scheduler: Scheduler, request: Request, sounds: Sequence[Sound]) -> list[Given]:
    family, mark = scheduler.family, request.clock.mark
    begun = mark()
    with scheduler.threads():
        features = [family.features(sound.audio.samples) for sound in sounds]
    featured = mark()
    with scheduler.alone(), scheduler.threads():
        waited = mark()
        # Copies: a part of the batch would keep all of it in memory.
        tokens = [one[0].clone() for one in family.hear_layers(features, "projector", (0,))]
    mel_s, encoder_s = (featured - begun) / len(sounds), (mark() - waited) / len(sounds)
    for sound, one in zip(sounds, tokens, strict=True):
        assert len(one) == sound.clip.tokens, f"{len(one)} tokens where {sound.clip.tokens} were promised"
    return [Given(one, True, mel_s, encoder_s) for one in tokens]
