"""The command line as a process: how fast it answers, and every way it can end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from auricle.cli.app import COMMANDS, command
from auricle.cli.main import run
from tests.cli.conftest import Run

AURICLE = [sys.executable, "-c", "from auricle.cli.main import main; main()"]
posix = pytest.mark.skipif(os.name != "posix", reason="signals and pipes as POSIX has them")


def process(*arguments: object, **settings: object) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "AURICLE_DEBUG": ""}
    return subprocess.Popen(  # type: ignore[call-overload,no-any-return]
        [*AURICLE, *map(str, arguments)],
        env=environment,
        **{"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **settings},
    )


@posix
def test_help_takes_at_most_300_ms() -> None:
    """Of processor time, which on an idle machine is how long one waits; what else this one does is not counted."""
    took = []
    for _ in range(3):
        before = _processor_s()
        with process("--help") as running:
            running.communicate()
        assert running.returncode == 0
        took.append(_processor_s() - before)
    assert min(took) < 0.3, took


def _processor_s() -> float:
    """Of all processes started so far that have ended."""
    import resource

    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], [], *([name, "--help"] for name in COMMANDS)])
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    code = (
        "import sys; from auricle.cli.main import run; status = run(sys.argv[1:]); "
        "heavy = {'torch', 'transformers', 'huggingface_hub', 'tokenizers'}; "
        "heavy |= {'numpy', 'av'} if len(sys.argv) < 3 else set(); "
        "print(*sorted(heavy & sys.modules.keys()), file=sys.stderr); sys.exit(status)"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == ""


def test_the_list_of_commands_says_what_each_command_says() -> None:
    context = command().make_context("auricle", ["--version"])
    for name, (_, summary) in COMMANDS.items():
        found = command().get_command(context, name)
        assert found.help.splitlines()[0] == summary, name


def test_version_and_bare_call(auricle: Run) -> None:
    import auricle as library

    assert auricle("--version").out == f"auricle {library.__version__}\n"
    assert auricle().out == auricle("--help").out == auricle("-h").out
    assert auricle().status == 0


class TestFaults:
    @pytest.fixture
    def fault(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(*arguments: object, **settings: object) -> None:
            raise KeyError("two\nlines")

        monkeypatch.setattr("auricle.cli.models.cached_models", fail)

    @pytest.mark.usefixtures("fault")
    def test_a_fault_of_ours_is_one_line_and_status_1(self, auricle: Run) -> None:
        done = auricle("models")
        assert (done.status, done.out) == (1, "")
        assert done.err.startswith("auricle: this is a fault of ours: KeyError:")
        assert "AURICLE_DEBUG=1" in done.err
        assert done.err.count("\n") == 1

    @pytest.mark.usefixtures("fault")
    def test_debugging_shows_the_traceback(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AURICLE_DEBUG", "1")
        with pytest.raises(KeyError):
            run(["models"])

    def test_debugging_shows_that_of_bad_input_too(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from auricle.errors import SoundError

        monkeypatch.setenv("AURICLE_DEBUG", "1")
        with pytest.raises(SoundError):
            run(["ask", "missing.wav"])


@posix
class TestInterruption:
    def test_ctrl_c_while_an_answer_streams(self, e2b: Path, sounds: Path) -> None:
        """Also shows that the answer streams: its beginning is read while the rest is still to come."""
        with process("ask", sounds / "tone.wav", "--model", e2b, "--max-tokens", 3900) as running:
            assert running.stdout is not None
            assert running.stderr is not None
            begun = running.stdout.read(1)
            assert running.poll() is None, "all at once"
            running.send_signal(signal.SIGINT)
            rest, err = running.stdout.read(), running.stderr.read()
        assert running.returncode == 130
        assert (begun + rest).endswith(b"\n")
        assert (begun + rest).count(b"\n\n") == 0
        assert err == b""

    def test_ctrl_c_before_anything_is_printed(self, sounds: Path) -> None:
        with process("ask", "-", stdin=subprocess.PIPE) as running:
            time.sleep(1.0)  # by now it waits for the sound
            running.send_signal(signal.SIGINT)
            out, err = running.communicate()
        assert (running.returncode, out, err) == (130, b"", b"")

    def test_ctrl_c_at_the_prompt_of_a_chat(self, e2b: Path, sounds: Path) -> None:
        with process("chat", sounds / "tone.wav", "--model", e2b, "--max-tokens", 2, stdin=subprocess.PIPE) as running:
            assert running.stdin is not None
            assert running.stdout is not None
            running.stdin.write(b"What?\n")
            running.stdin.flush()
            running.stdout.readline()
            time.sleep(0.3)
            running.send_signal(signal.SIGINT)
            _, err = running.communicate()
        assert running.returncode == 130
        assert b"Traceback" not in err


@posix
def test_a_reader_that_goes_away_is_no_error(e2b: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with process("inspect", e2b, stdout=writing) as running:
        os.close(writing)
        _, err = running.communicate()
    assert (running.returncode, err) == (141, b"")


@posix
def test_a_reader_that_goes_away_ends_a_stream(e2b: Path, sounds: Path) -> None:
    with process("ask", sounds / "tone.wav", "--model", e2b, "--max-tokens", 3900) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        running.stdout.read(1)
        running.stdout.close()
        assert running.stderr.read() == b""
    assert running.returncode == 141


def test_output_in_a_narrow_encoding_does_not_break(e2b: Path, sounds: Path) -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(
        [*AURICLE, "ask", str(sounds / "tone.wav"), "--model", str(e2b), "--max-tokens", "8"],
        env=environment,
        capture_output=True,
        check=True,
    )
    done.stdout.decode("ascii")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_an_output_without_space() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([*AURICLE, "--version"], stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1
    assert done.stderr == "auricle: there is no space left to write to (the output): free some\n"
