"""Spans of steps: one an attempt, all of a run in one trace, and none unless they are wanted."""

from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from tests.db.engine.scenes import AT_ONCE, ended, task
from workflows import tracing

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(tracing, "_tracer", lambda: provider.get_tracer("mgx"))
    yield exporter
    provider.shutdown()


def test_each_attempt_is_a_span_in_the_trace_of_its_run(spans, scene, engine) -> None:
    run = scene.run(
        task("fine", inputs={"password": "hunter2"}),
        task("bad", "fail", after=["fine"], max_retries=1, config=AT_ONCE),
    )
    assert ended(run).status == "failed"
    fine, first, second = spans.get_finished_spans()
    assert {span.context.trace_id for span in (fine, first, second)} == {run.id.int}
    assert fine.attributes["mgx.step"] == fine.name == "fine"
    assert fine.status.status_code is StatusCode.UNSET
    assert [span.attributes["mgx.attempt"] for span in (first, second)] == [1, 2]
    assert second.status.status_code is StatusCode.ERROR
    assert "hunter2" not in "".join(span.to_json() for span in (fine, first, second))


def test_without_an_endpoint_nothing_is_traced(settings: Any) -> None:
    settings.OTEL_EXPORTER_OTLP_ENDPOINT = ""
    tracing._tracer.cache_clear()
    assert tracing._tracer() is None
