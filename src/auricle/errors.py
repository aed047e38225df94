"""What can go wrong, as one tree.

AuricleError                 anything Auricle says about itself        (exit status 1)
├── BusyError                too many requests wait already
├── DeadlineError            a request took longer than it was allowed to
├── CancelledError           a request was given up before it was done
└── InputError               what was given can't be used              (exit status 2)
    ├── SoundError           a file or samples that can't be heard
    │   └── TooLongError     a sound past a limit of seconds or bytes
    ├── CheckpointError      a model folder that is missing, damaged or not understood
    ├── HubError             a model name that can't be found or fetched
    ├── DeviceError          a device or dtype this machine doesn't have
    ├── PromptError          a prompt that doesn't fit the model
    ├── OptionError          an option outside its range
    └── UnsupportedError     something that this model, or its backend, can't do

Every message is one line: what was wrong, with the number, and what to do.
"""


class AuricleError(Exception):
    """The root of all errors Auricle raises on purpose; `exit_status` is what the command line exits with."""

    exit_status = 1


class BusyError(AuricleError):
    """The queue is full; nothing was begun."""


class DeadlineError(AuricleError):
    """A request's time was up before its answer was done."""


class CancelledError(AuricleError):
    """A request was cancelled; whoever still waits for its answer gets this."""


class InputError(AuricleError):
    """Something the user gave can't be used; the message says what to do instead."""

    exit_status = 2


class SoundError(InputError):
    """A sound that can't be decoded, is empty, too short, too long, or not finite."""


class TooLongError(SoundError):
    """A sound that is longer, or whose file is larger, than a limit; the message says both."""


class CheckpointError(InputError):
    """A checkpoint folder that is missing, damaged, incomplete, or of an unknown model type."""


class HubError(InputError):
    """A model name that is neither built in, nor a folder, nor to be had from the hub."""


class DeviceError(InputError):
    """A device or dtype that this machine or this build of torch doesn't offer."""


class PromptError(InputError):
    """A prompt that doesn't fit: longer than the context, or audio the tokenizer has no tokens for."""


class OptionError(InputError):
    """An option outside its range; the message names the option and the range."""


class UnsupportedError(InputError):
    """A call that this model or its backend can't answer; the message says which can."""
