"""The library: `load` a model, then ask it, stream from it, chat with it, let it transcribe, score and listen.

import auricle

model = auricle.load("tiny")
print(model.ask("clip.wav", "What does the speaker say?").text)
"""

from auricle.api.chat import Chat
from auricle.api.instructions import TRANSCRIBE_TOKENS, live_instruction, transcription_prompt
from auricle.api.labelling import Orders
from auricle.api.loading import CACHE_MB, load
from auricle.api.model import Model
from auricle.api.sounds import Sound, read_sound, user_message

__all__ = [
    "CACHE_MB",
    "TRANSCRIBE_TOKENS",
    "Chat",
    "Model",
    "Orders",
    "Sound",
    "live_instruction",
    "load",
    "read_sound",
    "transcription_prompt",
    "user_message",
]
