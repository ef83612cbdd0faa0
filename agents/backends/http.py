"""Agents that are services: one signed POST, answered with the output of the step.

The signature is that of webhooks (``workflows/webhooks/signing.py``), and its id is the same for
every attempt of the step. What connects where is guarded as webhooks are.
"""

import time
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import Field

from agents.backends.calls import OutsideConfig, post_json, read_config, secret_for
from agents.faults import AgentFault
from agents.services.assignment import Assigned
from agents.work import memory_of, remember
from workflows.core.canonical import MAX_BYTES, MAX_DEPTH, dumps_canonical
from workflows.handlers import StepContext
from workflows.http_task import Url
from workflows.webhooks.signing import sign


class HttpConfig(OutsideConfig):
    """``secret_env``: the environment variable with the secret that calls are signed with.
    ``remembers``: an answer is an object of the ``output`` and what to ``remember``, by key."""

    url: Url
    secret_env: Annotated[str, Field(min_length=1, max_length=200)]
    remembers: bool = False
    timeout_seconds: Annotated[float, Field(gt=0, le=3_600)] = 60.0


class HttpBackend:
    """Posts what the step asks to the agent's ``url``."""

    async def run(self, config: dict[str, Any], context: StepContext) -> Any:
        known = read_config(HttpConfig, config)
        secret = secret_for(known.secret_env, known.url)
        body = _body(context)
        answer = await post_json(
            known.url,
            body.encode(),
            _signature(secret, context.idempotency_key, body),
            timeout_seconds=known.timeout_seconds,
            hidden=secret,
        )
        return _remembering(answer, context) if known.remembers else answer


def _remembering(answer: Any, context: StepContext) -> Any:
    """Return the output in an answer, and have its agent remember the rest."""
    match answer:
        case {"output": output, "remember": dict(remembered)}:
            for key, value in remembered.items():
                remember(context, key, value)
            return output
    message = "The agent's answer has no output and nothing to remember"
    raise AgentFault(message, "unreadable_answer")


def _body(context: StepContext) -> str:
    agent = context.prepared
    assert isinstance(agent, Assigned)
    document = {
        "inputs": context.inputs,
        "feedback": context.feedback,
        "previous": context.previous,
        "memory": list(memory_of(context)),
        "step": {
            "id": str(context.step_execution_id),
            "name": context.name,
            "attempt": context.attempt,
            "revision": context.revision,
        },
        "run": {
            "id": str(context.execution_id),
            "workflow": context.workflow_name,
            "number": context.run_number,
        },
        "agent": {"id": str(agent.agent_instance_id), "name": agent.name},
    }
    # The inputs and the output before, each of them as large as it may be, inside of one more.
    return dumps_canonical(document, max_bytes=3 * MAX_BYTES, max_depth=MAX_DEPTH + 1)


def _signature(secret: str, message_id: str, body: str) -> dict[str, str]:
    seconds = int(time.time())
    moment = datetime.fromtimestamp(seconds, UTC)
    try:
        signature = sign([secret], message_id=message_id, moment=moment, body=body)
    except ValueError:
        raise AgentFault("The agent's secret is none of webhooks", "agent_config") from None
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(seconds),
        "webhook-signature": signature,
    }
