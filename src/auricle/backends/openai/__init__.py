"""Models on any OpenAI-compatible server (vLLM, llama-server, ...), behind the same protocol as the native ones.

backend.py    the protocol: what such a model can do, and what it can't
exchange.py   one request: its attempts, its text, its answer
wire.py       what is sent: messages, sounds as WAV, sampling, constraints
replies.py    what comes back: text, how it ended, and how many tokens the server says it read
checks.py     whether the answer keeps to what it was to be held to; a server may ignore that
failures.py   what goes wrong, in one line, and whether trying again can help
line.py       the connection: cut when time is up, or when nobody wants the answer any more
many.py       several requests at once, answered in order
"""
