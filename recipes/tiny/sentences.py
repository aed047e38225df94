"""What the tiny model is taught to hear: sentences over the vocabulary of `words.txt`.

Two in three come from the grammar in `grammar.txt`, so that ordinary English is at home; the rest are random words,
so that the model must listen and cannot guess. Random words favour those that the grammar seldom says, which
evens out the vocabulary. Sentences of two words and more are held out by a hash of their text, and those of
`heldout.txt` always: neither is ever trained on.

    python -m recipes.tiny.sentences    # proves that no two words sound alike, shows the coverage and some examples
"""

from __future__ import annotations

import functools
import hashlib
from collections import Counter
from pathlib import Path

import numpy as np

from .espeak import speak

HERE = Path(__file__).parent
RANDOM_SHARE = 0.35  # of sentences that are random words
HELD_OUT_SHARE = 0.05
VOWELS = "aeiou"

# How many words, and what share of the clips: (low, high, share).
LENGTHS = ((1, 1, 0.20), (2, 2, 0.15), (3, 4, 0.15), (4, 14, 0.50))

Grammar = dict[str, list[list[str]]]


def _lines(name: str) -> list[str]:
    lines = (line.strip() for line in (HERE / name).read_text().splitlines())
    return [line for line in lines if line and not line.startswith("#")]


@functools.cache
def vocabulary() -> tuple[str, ...]:
    """The words, in the order of `words.txt`."""
    return tuple(_lines("words.txt"))


@functools.cache
def heldout_list() -> tuple[str, ...]:
    """Natural sentences written by hand, never trained on."""
    return tuple(_lines("heldout.txt"))


@functools.cache
def grammar() -> Grammar:
    """Symbol to its expansions, each a list of symbols and words.

    Raises:
        ValueError: a word of the grammar is not in the vocabulary, or a symbol is not defined.
    """
    rules: Grammar = {}
    for line in _lines("grammar.txt"):
        symbol, expansions = line.split(":", 1)
        rules.setdefault(symbol, []).extend(expansion.split() for expansion in expansions.split("|"))
    known = set(vocabulary()) | set(rules)
    for expansions_of_one in rules.values():
        for expansion in expansions_of_one:
            if unknown := set(expansion) - known:
                raise ValueError(f"grammar.txt uses {sorted(unknown)}, which is neither a word nor a symbol")
    return rules


def _expand(symbol: str, rng: np.random.Generator) -> list[str]:
    expansions = grammar().get(symbol)
    if expansions is None:
        return [symbol]
    chosen = expansions[int(rng.random() * len(expansions))]
    return [word for part in chosen for word in _expand(part, rng)]


def _articles(words: list[str]) -> list[str]:
    """Turn "a" into "an" before a vowel."""
    followers = [*words[1:], ""]
    return ["an" if word == "a" and next_[:1] in VOWELS else word for word, next_ in zip(words, followers, strict=True)]


def grammatical(rng: np.random.Generator, low: int, high: int) -> list[str]:
    """Words of a sentence (or, for two to four words, often a phrase) of `low` to `high` words."""
    while True:
        words = _articles(_expand("P" if high <= 4 and rng.random() < 0.7 else "S", rng))
        if low <= len(words) <= high:
            return words


@functools.cache
def random_word_weights() -> np.ndarray:
    """How likely each word is among random words, (words,) float64: the less the grammar says it, the more."""
    rng = np.random.default_rng(0)
    said: Counter[str] = Counter()
    for _ in range(8000):
        low, high, _share = LENGTHS[1 + rng.choice(3, p=np.array([0.15, 0.15, 0.5]) / 0.8)]
        said.update(grammatical(rng, low, high))
    counts = np.array([said[word] for word in vocabulary()], dtype=np.float64)
    weights = np.clip(counts.mean() - counts, 0.2 * counts.mean(), None)
    result: np.ndarray = weights / weights.sum()
    return result


def held_out(text: str) -> bool:
    """Whether a sentence is kept from training. One word alone never is: its voice is."""
    if text in heldout_list():
        return True
    if " " not in text:
        return False
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") < HELD_OUT_SHARE * 2**64


def sentence(rng: np.random.Generator, split: str = "train") -> str:
    """A sentence of one to fourteen words: "train" or "heldout" (two words and more).

    Returns:
        Words joined by one space, lower case, no punctuation.
    """
    shares = np.array([share for _, _, share in LENGTHS])
    if split == "heldout":
        shares[0] = 0
    low, high, _share = LENGTHS[rng.choice(len(LENGTHS), p=shares / shares.sum())]
    while True:
        if high == 1 or rng.random() < RANDOM_SHARE:
            count = int(rng.integers(low, high + 1))
            words = list(rng.choice(vocabulary(), size=count, p=random_word_weights()))
        else:
            words = grammatical(rng, low, high)
        text = " ".join(words)
        if held_out(text) == (split == "heldout"):
            return text


def homophones(voice: str) -> list[list[str]]:
    """Groups of words that a voice pronounces the same, by espeak's own phonemes."""
    sounds: dict[tuple[str, ...], list[str]] = {}
    for word in vocabulary():
        # ";" marks a palatal glide between phonemes, "_" a pause: neither tells words apart.
        names = tuple(name for name, _ in speak(word, voice).phonemes if name != ";" and not name.startswith("_"))
        sounds.setdefault(names, []).append(word)
    return [words for words in sounds.values() if len(words) > 1]


def main() -> None:
    """Check the vocabulary and show what comes out."""
    print(f"{len(vocabulary())} words")
    for voice in ("en-us", "en"):
        print(f"homophones in {voice}: {homophones(voice) or 'none'}")
    for text in heldout_list():
        if unknown := set(text.split()) - set(vocabulary()):
            print(f"heldout.txt: {text!r} uses {sorted(unknown)}")
    rng = np.random.default_rng(1)
    texts = [sentence(rng) for _ in range(20000)]
    counts = Counter(word for text in texts for word in text.split())
    mean = sum(counts.values()) / len(vocabulary())
    rarest = sorted(vocabulary(), key=lambda word: counts[word])[:10]
    print(f"{mean:.0f} times a word in {len(texts)} sentences; rarest {[(word, counts[word]) for word in rarest]}")
    print(f"most frequent {counts.most_common(10)}; {len(set(texts))} different sentences")
    print("\n".join(texts[:25]))


if __name__ == "__main__":
    main()
