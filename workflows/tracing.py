"""Spans for OpenTelemetry: one for each attempt of a step, a trace for each run.

An extra: nothing is traced unless ``OTEL_EXPORTER_OTLP_ENDPOINT`` is set and the packages of
``requirements-otel.txt`` are installed. Spans carry names and numbers, never inputs or outputs.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING

from django.conf import settings

from workflows.core.outcomes import Failed, Outcome
from workflows.handlers import StepContext

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Tracer

logger = logging.getLogger("workflows.tracing")


@contextmanager
def traced(context: StepContext) -> Iterator[Callable[[Outcome], None]]:
    """Trace an attempt while this is entered; call what it yields with what the attempt came to."""
    tracer = _tracer()
    if tracer is None:
        yield _forget
        return
    from opentelemetry.trace import Status, StatusCode

    attributes: dict[str, str | int] = {
        "mgx.execution_id": str(context.execution_id),
        "mgx.workflow": context.workflow_name,
        "mgx.run_number": context.run_number,
        "mgx.step": context.name,
        "mgx.step_type": context.step.step_type,
        "mgx.attempt": context.attempt,
        "mgx.revision": context.revision,
    }
    with tracer.start_as_current_span(
        context.name, context=_of_run(context), attributes=attributes
    ) as span:

        def note(outcome: Outcome) -> None:
            if isinstance(outcome, Failed):
                span.set_attribute("mgx.error_code", outcome.code)
                span.set_status(Status(StatusCode.ERROR, outcome.code))

        yield note


def _forget(outcome: Outcome) -> None:
    """Nobody traces it."""


def _of_run(context: StepContext) -> "Context":
    """Return what makes a span part of its run's trace, in whichever process it is made."""
    from opentelemetry.trace import (
        NonRecordingSpan,
        SpanContext,
        TraceFlags,
        set_span_in_context,
    )

    run = context.execution_id.int
    whole = SpanContext(run, (run & (2**64 - 1)) or 1, True, TraceFlags(TraceFlags.SAMPLED))
    return set_span_in_context(NonRecordingSpan(whole))


@cache
def _tracer() -> "Tracer | None":
    """Return what makes spans, set up when the first is wanted: a fork would lose its thread."""
    if not settings.OTEL_EXPORTER_OTLP_ENDPOINT:
        return None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        logger.warning("OTEL_EXPORTER_OTLP_ENDPOINT is set; requirements-otel.txt is not installed")
        return None
    provider = TracerProvider(resource=Resource.create({"service.name": "mgx"}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider.get_tracer("mgx")
