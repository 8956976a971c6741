"""Figures for Prometheus: what the parts count themselves, read when it is asked for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from mobile_videogpt.serving.service import Service

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_NAME = "mobile_videogpt"
_SECONDS = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100)


class Metrics:
    """The metrics of one service.

    Args:
        service: what is measured.
    """

    def __init__(self, service: Service) -> None:
        self._registry = CollectorRegistry()
        self.requests = Counter(
            f"{_NAME}_requests",
            "Responses by path and status",
            ["path", "status"],
            registry=self._registry,
        )
        self.first_token = Histogram(
            f"{_NAME}_first_token_seconds",
            "From arrival to the first token",
            buckets=_SECONDS,
            registry=self._registry,
        )
        self.duration = Histogram(
            f"{_NAME}_completion_seconds",
            "From arrival to the end of all answers",
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._registry.register(_Figures(service))

    def text(self) -> bytes:
        """All metrics as Prometheus reads them."""
        return generate_latest(self._registry)


class _Figures:
    """Reads the service's own counters."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def collect(self) -> Iterator[Any]:
        """One family per figure."""
        service, scheduler = self._service, self._service.scheduler
        counters = scheduler.counters
        gauges = {
            "waiting_completions": (scheduler.num_waiting, "Completions that have not begun"),
            "running_answers": (scheduler.num_running, "Answers that are being decoded"),
            "kept_videos": (len(service.library), "Videos kept for the next question"),
        }
        totals = {
            "prompt_tokens": (counters.prompt_tokens, "Tokens of prompts, videos included"),
            "cached_prompt_tokens": (counters.cached_tokens, "Of them, those read before"),
            "generated_tokens": (counters.generated_tokens, "Tokens of answers"),
            "decoding_steps": (counters.steps, "Passes over the weights for all answers"),
            "encoded_videos": (counters.encoded_videos, "Videos that went through the encoders"),
            "video_hits": (service.library.hits, "Videos found among those kept"),
            "video_misses": (service.library.misses, "Videos that had to be decoded"),
            "decoder_deaths": (service.pool.deaths, "Decoding processes that died of a file"),
        }
        for name, (value, help_text) in gauges.items():
            yield GaugeMetricFamily(f"{_NAME}_{name}", help_text, value=value)
        for name, (value, help_text) in totals.items():
            yield CounterMetricFamily(f"{_NAME}_{name}", help_text, value=value)
