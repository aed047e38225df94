"""What holds unless something else is asked for; the command line shows it without loading torch."""

from __future__ import annotations

MODEL = "tiny-audiolm"
SECONDS = 10.0
FADE_S = 0.03
MOST_S = 600.0  # that are made
STYLE_S = 2.0  # of the sound that is followed: as much as training shows
