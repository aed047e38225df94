"""One connection of `/v1/realtime`: what a client says, taken event by event, and what it is told."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from fastapi import WebSocket, WebSocketDisconnect

from auricle.server.failures import ApiError
from auricle.server.realtime.hearing import Happening, Hearing, Started
from auricle.server.realtime.replies import TRANSCRIPTION, Response, Transcription, failure_of
from auricle.server.realtime.session import Config, Kind, read_update
from auricle.server.realtime.turns import Partial, Turn
from auricle.server.realtime.wire import Wire, check_event, new_id, read_event, read_samples
from auricle.server.service import Service

GOODBYE_S = 2.0  # for the last words to a client that may not read them
GOING_AWAY, POLICY = 1001, 1008  # codes of RFC 6455


class Connection:
    """An open connection. Its events are taken one by one; what it answers comes in between."""

    def __init__(self, service: Service, socket: WebSocket) -> None:
        self._service, self._wire, self._id = service, Wire(socket), new_id("sess")
        kind: Kind = "transcription" if socket.query_params.get("intent") == "transcription" else "realtime"
        self._config = Config(kind)
        self._turns = self._errors = 0
        self._hearing = self._new_hearing(0.0)
        self._expires = int(time.time() + service.settings.session_s)
        self._turn: Turn | None = None  # the last that was committed, until it is answered
        self._last_item: str | None = None
        self._response: Response | None = None  # under way
        self._tasks: dict[str, asyncio.Task[None]] = {}  # "response" and "transcription", as long as they run

    async def run(self) -> None:
        """Until one of the sides leaves."""
        limit_s = self._service.settings.session_s
        tasks = {asyncio.create_task(work()) for work in (self._wire.read_ahead, self._take_all, self._leave)}
        try:
            done, _ = await asyncio.wait(tasks, timeout=limit_s, return_when=asyncio.FIRST_COMPLETED)
            if not done:
                text = f"the session has lasted {limit_s:g} s, which is the limit: open another"
                await self._say_goodbye(POLICY, ApiError(408, text, code="session_expired"))
            for task in done:
                await task  # raises what it has raised
        except WebSocketDisconnect:
            pass
        finally:
            self._let_go()
            for task in tasks:
                task.cancel()

    async def fail(self, failure: ApiError, event: str | None = None) -> None:
        """Tells an error; the connection goes on. `event`: the id of the client's event that has caused it."""
        self._errors += 1
        await self._wire.send("error", error={**failure.body()["error"], "event_id": event})

    def account(self) -> dict[str, Any]:
        """For the log: what came of it, and nothing of what was said."""
        return {"audio_s": round(self._hearing.seconds, 3), "turns": self._turns, "errors": self._errors}

    # --- the life of a connection

    async def _take_all(self) -> None:
        await self._wire.send("session.created", session=self._session())
        while True:
            message, event_id = await self._wire.next(), None
            try:
                event = read_event(message)
                event_id = event.get("event_id")
                await self._take(event)
            except WebSocketDisconnect:
                raise
            except Exception as error:
                failure = failure_of(error)
                if failure.status >= 500:  # the turn may be broken
                    self._hearing.clear()
                await self.fail(failure, event_id)

    async def _leave(self) -> None:
        """When the server stops: finishes what is being answered and closes."""
        await self._service.stopping.wait()
        while self._tasks:
            await asyncio.wait(self._tasks.values())
        await self._say_goodbye(GOING_AWAY)

    async def _say_goodbye(self, code: int, failure: ApiError | None = None) -> None:
        reason = "the server is stopping" if failure is None else failure.message
        try:
            async with asyncio.timeout(GOODBYE_S):
                if failure is not None:
                    await self.fail(failure)
                await self._wire.close(code, reason)
        except (TimeoutError, WebSocketDisconnect):
            return  # it has left, or doesn't read

    def _let_go(self) -> None:
        self._hearing.stop()
        if self._response is not None:
            self._response.give_up("client_cancelled")
        for task in self._tasks.values():
            task.cancel()

    def _begin(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        async def run() -> None:
            try:
                await work()
            finally:
                self._tasks.pop(name, None)
                self._response = None if name == "response" else self._response

        self._tasks[name] = asyncio.create_task(run())

    async def _done(self, name: str) -> None:
        """Waits for an answer under way; so none but one of a kind is."""
        if name in self._tasks:
            await asyncio.wait([self._tasks[name]])

    # --- what clients say

    async def _take(self, event: dict[str, Any]) -> None:
        check_event(event)
        takers: dict[str, Callable[[dict[str, Any]], Awaitable[None]]] = {
            "session.update": self._update,
            "input_audio_buffer.append": self._append,
            "input_audio_buffer.commit": self._commit,
            "input_audio_buffer.clear": self._clear,
            "response.create": self._create,
            "response.cancel": self._cancel,
        }
        await takers[event["type"]](event)

    async def _update(self, event: dict[str, Any]) -> None:
        changed = read_update(event.get("session"), self._config, self._service.settings)
        if changed != self._config:
            if self._hearing.turn is not None:
                raise ApiError(400, "sound is being heard: commit or clear it before the session is changed")
            await self._service.live(partial(_try_out, self._service, changed))
            self._config = changed
            self._hearing = self._new_hearing(self._hearing.seconds)
        await self._wire.send("session.updated", session=self._session())

    async def _append(self, event: dict[str, Any]) -> None:
        samples = read_samples(event.get("audio"), self._config.rate)
        happening = await self._service.live(partial(self._hearing.take, samples))
        while happening is not None:
            await self._tell(happening)
            happening = await self._service.live(self._hearing.go_on)

    async def _commit(self, event: dict[str, Any]) -> None:
        await self._end_turn(asked=True)

    async def _clear(self, event: dict[str, Any]) -> None:
        self._hearing.clear()
        await self._wire.send("input_audio_buffer.cleared")

    async def _create(self, event: dict[str, Any]) -> None:
        given = event.get("response")
        if given is not None and given not in ({}, {"output_modalities": ["text"]}):
            raise ApiError(
                400,
                "response says how to answer, which is read before the sound: send it as session.update before that",
                param="response",
            )
        if not self._config.answers:
            raise ApiError(400, "a transcription session gives no answers: a commit gives the transcript")
        if self._response is not None:
            text = "an answer is under way: wait for response.done, or send response.cancel"
            raise ApiError(400, text, code="conversation_already_has_active_response")
        await self._respond()

    async def _cancel(self, event: dict[str, Any]) -> None:
        response, wanted = self._response, event.get("response_id")
        if response is None or wanted not in (None, response.id):
            raise ApiError(400, "there is no such answer under way", code="response_cancel_not_active")
        response.give_up("client_cancelled")

    # --- what is said to them

    async def _tell(self, happening: Happening) -> None:
        turn, detection = self._hearing.turn, self._config.detection
        assert turn is not None, "what happens, happens in a turn"
        if isinstance(happening, Partial):
            values = {"delta": happening.delta, "auricle": {"partial": happening.text}}
            await self._wire.send(f"{TRANSCRIPTION}.delta", item_id=turn.item, content_index=0, **values)
            return
        assert detection is not None, "nothing else happens without"
        at_ms = round(1000 * happening.at_s)
        if isinstance(happening, Started):
            await self._wire.send("input_audio_buffer.speech_started", audio_start_ms=at_ms, item_id=turn.item)
            if self._response is not None and detection.interrupts:
                self._response.give_up("turn_detected")
            return
        await self._wire.send("input_audio_buffer.speech_stopped", audio_end_ms=at_ms, item_id=turn.item)
        if happening.full is not None:
            await self.fail(happening.full)
        await self._end_turn(asked=False)
        if self._config.answers and detection.answers:
            await self._done("response")
            await self._respond()

    async def _end_turn(self, *, asked: bool) -> None:
        if self._service.stopping.is_set():
            raise ApiError(503, "the server is stopping: connect again in a moment")
        turn = await self._service.live(partial(self._hearing.end_turn, asked=asked))
        self._turns += 1
        item = {
            "id": turn.item,
            "object": "realtime.item",
            "type": "message",
            "role": "user",
            "status": "completed",
            "content": [{"type": "input_audio"}],
        }
        await self._wire.send("input_audio_buffer.committed", item_id=turn.item, previous_item_id=self._last_item)
        for kind in ("added", "done"):
            await self._wire.send(f"conversation.item.{kind}", item=item, previous_item_id=self._last_item)
        self._last_item, self._turn = turn.item, turn if turn.heard is not None else None
        if turn.written is not None:
            await self._done("transcription")
            self._begin("transcription", Transcription(self._service, self._wire.send, turn).run)

    async def _respond(self) -> None:
        turn, self._turn = self._turn, None
        if turn is None:
            raise ApiError(
                400, "there is no turn to be answered, or it was: append sound, then send input_audio_buffer.commit"
            )
        self._response = Response(self._service, self._wire.send, turn, self._config.max_tokens)
        self._last_item = self._response.item
        self._begin("response", self._response.run)

    # --- small things

    def _new_hearing(self, start_s: float) -> Hearing:
        return Hearing(self._service.model, self._config, self._service.settings, start_s)

    def _session(self) -> dict[str, Any]:
        return {"id": self._id, "expires_at": self._expires, **self._config.shown(self._service.settings.model)}


def _try_out(service: Service, config: Config) -> None:
    """Reads the instructions, so that what is too long is refused now, and the first turn finds them read."""
    Turn(service.model, config, service.settings).close()
