"""What Prometheus reads at /metrics.

With several workers, each writes its numbers to a shared folder, also those that are only looked up (`Metrics.look`,
each second): whichever worker is asked reads them all.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
    multiprocess,
)

from auricle.types import Answer

if TYPE_CHECKING:
    from auricle.server.service import Service

SHARED = "PROMETHEUS_MULTIPROC_DIR"  # the client's own name for that folder
STATUS = Path("/proc/self/status")  # Linux has it
SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
RATES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
GAUGES = (
    ("running", "auricle_requests_running", "Requests that are being answered."),
    ("queued", "auricle_requests_queued", "Requests that wait for that."),
    ("sessions", "auricle_realtime_sessions", "Open sessions of /v1/realtime."),
    ("cache", "auricle_cache_bytes", "Kept of earlier requests."),
    ("own", "auricle_memory_own_bytes", "Memory that is each process's own: caches, activations, packed weights."),
)
COUNTERS = (  # by their names in `CacheUse`
    ("clip_hits", "auricle_clip_cache_hits", "Clips that did not have to be encoded again."),
    ("clip_misses", "auricle_clip_cache_misses", "Clips that had to be encoded."),
    ("prefix_hits", "auricle_prefix_cache_hits", "Prompts whose beginning was read before."),
    ("prefix_misses", "auricle_prefix_cache_misses", "Prompts read from their first token."),
)


class Metrics:
    """The counters of one process."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        if SHARED not in os.environ:
            ProcessCollector(registry=registry)
            PlatformCollector(registry=registry)
        self.requests = Counter("auricle_requests", "Requests that ended.", ["route", "status"], registry=registry)
        self.seconds = Histogram(
            "auricle_request_seconds",
            "From a request's first byte to its answer's last.",
            ["route"],
            buckets=SECONDS,
            registry=registry,
        )
        self.ttft = Histogram(
            "auricle_ttft_seconds",
            "From a request that was read to its first token.",
            buckets=SECONDS,
            registry=registry,
        )
        self.rate = Histogram(
            "auricle_decode_tokens_per_second",
            "Of each answer, after its first token.",
            buckets=RATES,
            registry=registry,
        )
        self.tokens = Counter("auricle_tokens", "prompt, audio, cached or completion.", ["kind"], registry=registry)
        self.audio = Counter("auricle_audio_seconds", "Sound that was heard.", registry=registry)
        self._gauges = {
            key: Gauge(name, text, registry=registry, multiprocess_mode="livesum") for key, name, text in GAUGES
        }
        self._mapped = Gauge(
            "auricle_memory_mapped_bytes",
            "Memory of mapped files, mostly weights; workers share it, so that it is that of the largest.",
            registry=registry,
            multiprocess_mode="livemax",
        )
        self._counters = {key: Counter(name, text, registry=registry) for key, name, text in COUNTERS}
        self._seen = dict.fromkeys(self._counters, 0)
        self.sessions = self._gauges["sessions"]
        self._service: Service | None = None

    def watch(self, service: Service) -> None:
        """Whose queue and cache are shown."""
        self._service = service

    def answered(self, answer: Answer) -> None:
        timings = answer.timings
        self.ttft.observe(timings.ttft_s)
        if len(answer.tokens) > 1:
            self.rate.observe(timings.decode_tokens_per_s)
        counts = {
            "prompt": answer.prompt_tokens,
            "audio": sum(segment.tokens for segment in answer.segments),
            "cached": answer.reused_tokens,
            "completion": len(answer.tokens),
        }
        for kind, count in counts.items():
            self.tokens.labels(kind).inc(count)
        self.audio.inc(sum(segment.end_s - segment.start_s for segment in answer.segments))

    def text(self) -> bytes:
        """All of it, as Prometheus reads it."""
        self.look()
        if SHARED not in os.environ:
            return generate_latest(self.registry)
        whole = CollectorRegistry()
        multiprocess.MultiProcessCollector(whole)  # type: ignore[no-untyped-call]
        return generate_latest(whole)

    def look(self) -> None:
        """Brings up to date what is not counted as it happens."""
        memory = _memory()
        if memory is not None:
            self._gauges["own"].set(memory[0])
            self._mapped.set(memory[1])
        service = self._service
        if service is None:
            return
        self._gauges["running"].set(service.running)
        self._gauges["queued"].set(service.answering - service.running)
        use = service.model.cache
        self._gauges["cache"].set(use.bytes)
        for key, counter in self._counters.items():
            now = getattr(use, key)
            counter.inc(now - self._seen[key])
            self._seen[key] = now


def forget(process: int, folder: str) -> None:
    """Takes the gauges of a worker that has ended out of a shared folder; what it counted stays in the sums."""
    multiprocess.mark_process_dead(process, folder)  # type: ignore[no-untyped-call]


def _memory() -> tuple[int, int] | None:
    """Resident bytes that are this process's own, and of files that it maps; None where the system doesn't tell."""
    if not STATUS.exists():
        return None
    fields = dict(line.split(":", 1) for line in STATUS.read_text().splitlines())
    own, mapped = (1024 * int(fields[name].split()[0]) for name in ("RssAnon", "RssFile"))
    return own, mapped
