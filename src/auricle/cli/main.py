"""The entry point of `auricle`: every way a command can end, as an exit status and at most one line.

    0  done                                        2    what was given can't be used
    1  a failure of ours, or a comparison failed   130  interrupted; 141 the reader of our output went away

Kept light, so that Ctrl-C in the first moments ends as cleanly as later: even typer is imported within.
"""

from __future__ import annotations

import errno
import os
import sys
import warnings

from auricle.cli import show
from auricle.errors import AuricleError

DEBUG = "AURICLE_DEBUG"  # any value but "" or 0: errors show their traceback, libraries their warnings
INTERRUPTED = 130  # as a shell reports SIGINT
READER_GONE = 141  # and SIGPIPE


def main() -> None:
    """Runs the command that `sys.argv` names, and exits."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Runs a command line; gives the exit status."""
    debugging = os.environ.get(DEBUG, "") not in ("", "0")
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # a terminal without UTF-8 must not break an answer
    if not debugging:
        warnings.simplefilter("ignore")
    try:
        status = _dispatch(arguments)
        if sys.stdout is not None:
            sys.stdout.flush()
        return status
    except KeyboardInterrupt:
        if sys.stderr is not None and sys.stderr.isatty():
            print(file=sys.stderr)  # the prompt that follows must not stand behind ^C
        return INTERRUPTED
    except BrokenPipeError:
        _silence_output()
        return READER_GONE
    except AuricleError as error:
        if debugging:
            raise
        show.complain(str(error))
        return error.exit_status
    except Exception as error:
        if debugging:
            raise
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            show.complain(f"there is no space left to write to ({error.filename or 'the output'}): free some")
            _silence_output()
            return AuricleError.exit_status
        show.complain(
            f"this is a fault of ours: {type(error).__name__}: {error}; "
            f"please report it, with the traceback that {DEBUG}=1 shows"
        )
        return AuricleError.exit_status


def _dispatch(arguments: list[str]) -> int:
    """Parses and invokes without typer's own `main`, which would turn our errors into its own endings."""
    import typer

    from auricle.cli.app import command

    try:
        with command().make_context("auricle", arguments) as context:
            context.command.invoke(context)
    except typer.Exit as ending:
        return ending.exit_code
    except typer.TyperException as error:
        context = getattr(error, "ctx", None)
        path = context.command_path if context is not None else "auricle"
        message = error.format_message().replace("Value error, ", "").rstrip(".")  # pydantic's words, within typer
        show.complain(f"{message}{'' if message.endswith('?') else ';'} see {path} --help")
        return 2
    return 0


def _silence_output() -> None:
    """Sends what is still buffered nowhere, so that Python's own flush at exit has nothing to complain about."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            os.dup2(nowhere, stream.fileno())
