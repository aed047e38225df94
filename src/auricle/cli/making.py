"""What `auricle continue`, `infill` and `restyle` do alike: a sound is read, made, played, written and told of."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from auricle.audiolm.making.picture import draw
from auricle.cli import show
from auricle.cli.making_options import Output, Tokens, Windowing
from auricle.cli.options import Hardware, Reading
from auricle.cli.sounds import STDIN, read_sound
from auricle.errors import OptionError
from auricle.sound.decode import decode
from auricle.sound.limiter import Limiter
from auricle.sound.pcm import PcmWriter
from auricle.sound.speaker import Speaker, open_speaker
from auricle.types import Audio

if TYPE_CHECKING:
    from auricle.audiolm.loading import Loaded
    from auricle.audiolm.making import Made, Making, MakingOptions, Options, Piece

Begin: TypeAlias = "Callable[[Audio, Loaded, MakingOptions], Making]"


@dataclass(frozen=True)
class Call:
    """One call of one of the commands."""

    sound: str
    ending: str  # of the name of the file that is written unless one is named
    model: str
    hardware: Hardware
    tokens: Tokens
    windowing: Windowing
    output: Output
    reading: Reading
    json: bool
    timings: bool | None

    def run(self, begin: Begin, check: Callable[[Options], None]) -> None:
        """What can be checked is, before the model is loaded; files are written whole or not at all.

        Args:
            begin: what is made, of the sound.
            check: of what else was asked for.
        """
        self._check_stdout()
        files, pictures = self.output.files(self.sound, self.ending), self.output.pictures()
        check_sound(self.sound)
        options = self.windowing.options(self.tokens)
        options["all_threads"] = self.hardware.threads is not None
        from auricle.audiolm.making import Options  # brings torch with it

        check(Options(**options))
        loaded = self._load()
        audio = self.read(self.sound, loaded)
        with ExitStack() as opened:
            try:
                with show.progress(f"{Path(audio.source).name}: making frames") as progress:
                    making = begin(audio, loaded, {**options, "model": loaded, "progress": progress})
                    sinks = self._sinks(making, opened)
                    made = self._made(making, sinks)
            except KeyboardInterrupt:
                _tell_stopped([file for file in files if file is not None])
                raise
            for one, file, picture in zip(made, files, pictures, strict=True):
                notes = list(one.notes)
                if file is not None:
                    notes += one.write(file, bits=self.output.bits, only_new=self.output.only_new)
                if picture is not None:
                    draw(one, picture)
                for sink in sinks:
                    notes += sink.finish()
                self._tell(one, file, notes)

    def read(self, name: str, loaded: Loaded) -> Audio:
        """A sound at the codec's rate."""
        return read_sound(name, self.reading, loaded.codec.rate)

    def _check_stdout(self) -> None:
        if self.json and self.output.streams:
            raise OptionError("--json and --out - both write to stdout: leave one out")
        if self.output.streams and show.is_terminal(sys.stdout):
            raise OptionError("--out - writes sound to stdout, which is a terminal: pipe it on, or name a file")

    def _load(self) -> Loaded:
        from auricle.audiolm.loading import load_audiolm

        with show.waiting(f"loading {self.model}"):
            return load_audiolm(self.model, **asdict(self.hardware))

    def _sinks(self, making: Making, opened: ExitStack) -> list[_Sink]:
        """Those that take the sound while it is made."""
        sinks: list[_Sink] = []
        if self.output.play:
            speaker = opened.enter_context(open_speaker(making.rate, self.output.output_device))
            sinks.append(_Played(speaker, making.rate))
        if self.output.streams:
            writer = PcmWriter(sys.stdout.buffer, making.rate, self.output.bits, header=not self.output.raw)
            sinks.append(_Streamed(writer))
        return sinks

    def _made(self, making: Making, sinks: list[_Sink]) -> list[Made]:
        if self.output.count > 1:
            return making.variants(self.output.count)
        for piece in making:
            samples = self._wanted(piece, making)
            for sink in sinks:
                sink.write(samples)
        return [making.made]

    def _wanted(self, piece: Piece, making: Making) -> NDArray[np.float32]:
        if not self.output.only_new:
            return piece.samples
        first, end = (at - round(piece.start_s * making.rate) for at in making.new)
        return piece.samples[max(0, first) : max(0, end)]

    def _tell(self, made: Made, file: Path | None, notes: list[str]) -> None:
        if self.json:
            show.as_json(self._record(made, file, notes))
        else:
            first, end = made.new_s
            where = "played" if self.output.play and file is None else file or "stdout"
            length = end - first if self.output.only_new else made.audio.seconds
            words = f"{where}: {length:.3f} s, new from {first:.3f} to {end:.3f} s of the whole, seed {made.seed}"
            (show.note if self.output.streams else show.line)(words)
        for note in notes:
            show.note(note)
        if show.wants_timings(self.timings):
            show.note(_spent(made))

    def _record(self, made: Made, file: Path | None, notes: list[str]) -> dict[str, Any]:
        return {
            "sound": made.audio.source,
            "model": self.model,
            "out": None if file is None else str(file),
            "seconds": made.audio.seconds,
            "rate": made.audio.rate,
            "new_s": made.new_s,
            "seams_s": made.seams_s,
            "seed": made.seed,
            "speed": made.speed,
            "timings": asdict(made.times),
            "notes": notes,
        }


def _tell_stopped(files: list[Path]) -> None:
    if len(files) == 1:
        show.note(f"{files[0]} is not written: stopped before it was whole")
    elif files:
        show.note(f"{files[0]} to {files[-1]} are not written: stopped before they were whole")


def check_sound(name: str) -> None:
    """Before a model is loaded in vain.

    Raises:
        SoundError: there is no such file.
    """
    if name != STDIN and not Path(name).is_file():
        decode(name)  # says what is wrong with it, or reads a pipe in vain


class _Played:
    """To a loudspeaker."""

    def __init__(self, speaker: Speaker, rate: int) -> None:
        self._speaker, self._limiter = speaker, Limiter(rate)

    def write(self, samples: NDArray[np.float32]) -> None:
        self._speaker.play(self._limiter.push(samples))

    def finish(self) -> tuple[str, ...]:
        """Waits until it has been heard; gives what the user should know."""
        self._speaker.play(self._limiter.finish())
        self._speaker.wait()
        return (*self._limiter.notes("what is played"), *self._speaker.notes)


class _Streamed:
    """To stdout."""

    def __init__(self, writer: PcmWriter) -> None:
        self._writer = writer

    def write(self, samples: NDArray[np.float32]) -> None:
        self._writer.write(samples)

    def finish(self) -> tuple[str, ...]:
        self._writer.finish()
        return self._writer.limiter.notes("the sound")


_Sink = _Played | _Streamed


def _spent(made: Made) -> str:
    times = made.times
    return (
        f"encoder {times.encode_s:.2f} s, model {times.generate_s:.2f} s, decoder {times.decode_s:.2f} s, "
        f"first new sound after {times.first_s:.2f} s; {made.speed:.1f} times real time"
    )
