"""What holds unless something else is asked for; the command line shows it without loading torch."""

from __future__ import annotations

MODEL = "tiny-audiolm"
SECONDS = 10.0
FADE_S = 0.03
MOST_S = 600.0  # that are made
DAY_S = 86_400.0  # to which that can be raised: whoever says more has mistyped it
MOST_VARIANTS = 64  # in one batch, which is in memory as a whole
TRIES = 16  # of a gap, the one kept that what follows fits best; twice as many gain 0.1 dB, and take twice as long
MOST_TRIES = 64
STYLE_S = 2.0  # of the sound that is followed: as much as training shows
