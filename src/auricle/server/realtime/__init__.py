"""`/v1/realtime`: sound comes in while somebody speaks, answers and transcripts go out as text.

In the events of https://platform.openai.com/docs/api-reference/realtime. A turn is a live session of the library
(`Model.listen`): what is appended is heard at once, so that an answer begins when the speaker stops. Each turn stands
for itself: the model is not told the turns before it.

A connection is let in by `route.py` and lives in `connection.py`, which takes its events one by one (`wire.py`,
`session.py`). Its sound is cut into turns (`hearing.py`, `turns.py`), which are answered (`replies.py`).
"""

from auricle.server.realtime.route import router

__all__ = ["router"]
