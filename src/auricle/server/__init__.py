"""`auricle serve`: one loaded model behind the OpenAI API, and a page to try it on. Needs the `serve` extra.

A request passes `gate.py` (key, size, time), is read by its route (`chat.py`, `transcripts.py`, `vectors.py`,
`realtime/`) into what `auricle.Model` takes, and is answered in a thread of its own (`service.py`). Many at a time
share every pass of the model, as they do in the library.

`run.py` listens and starts one process (`process.py`, which stops without losing what is `underway.py`) or several
(`workers.py` starts, watches and stops them; each is a `worker.py`).
"""
