"""How the names of sound files end, videos with sound included."""

from __future__ import annotations

# Without the dot, in lower case. It only tells which files of a folder are meant, or which words of a command line:
# what is named is read whatever its name.
EXTENSIONS = frozenset(
    """
    3gp aac ac3 aif aiff amr ape au avi caf dts flac flv gsm m4a m4b m4v mka mkv mov mp2 mp3 mp4 mpeg mpg mxf oga ogg
    opus ra tta voc w64 wav wave weba webm wma wmv wv
    """.split()
)
