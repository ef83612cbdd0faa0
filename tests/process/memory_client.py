"""One of several processes that use the memory of the same agents: what it did, and what it saw.

``python -m tests.process.memory_client NUMBER SEED OPERATIONS WORKSPACE AGENT AGENT`` writes a
JSON line for each operation to ``client-NUMBER.jsonl`` in MGX_VAR, once ``go`` is there.
"""

import json
import os
import random
import sys
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import django

KEYS = [f"k{number}" for number in range(20)]
#: How often each is done, of 100.
SHARES = {
    "store": 30,
    "store_short": 10,
    "store_several": 6,
    "clear": 8,
    "clear_all": 1,
    "thread": 9,
    "read": 30,
    "read_all": 6,
}
Said = dict[str, Any]


class Client:
    """Does operations that its seed decides, on two agents of a workspace."""

    def __init__(self, number: int, seed: int, workspace: str, agents: Sequence[str]) -> None:
        self._number = number
        self._random = random.Random(f"{seed}-{number}")  # noqa: S311  (a test's own)
        self._workspace = workspace
        self._agents = agents
        self._made = 0

    def do_one(self) -> Said:
        """Do one operation; return what it was, when, and what came of it."""
        [name] = self._random.choices(list(SHARES), SHARES.values())
        agent = self._random.choice(self._agents)
        act: Callable[[str], Said] = getattr(self, f"_{name}")
        began = time.time()
        said = act(agent)
        return {"op": name, "agent": agent, "began": began, "ended": time.time(), **said}

    def _store(self, agent: str) -> Said:
        from agents.memory import store_memory

        key, value = self._key(), self._value()
        return self._writing(
            [agent], lambda: store_memory(agent, self._workspace, key, value), put={key: value}
        )

    def _store_short(self, agent: str) -> Said:
        """Store what expires in less than the second that is the least one can say."""
        from agents.memory import store_memory
        from agents.models import AgentMemoryEntry

        key, value = self._key(), self._value()
        lasts = timedelta(milliseconds=self._random.randrange(1, 100))

        def store() -> bool:
            entry = store_memory(agent, self._workspace, key, value)
            found = AgentMemoryEntry.objects.filter(pk=entry.id)
            return bool(found.update(expires_at=entry.updated_at + lasts))

        return self._writing([agent], store, put={key: value})

    def _store_several(self, agent: str) -> Said:
        from agents.memory import NewEntry, store_memories

        wanted = {key: self._value() for key in self._random.sample(KEYS, 5)}
        entries = [NewEntry(key, value) for key, value in wanted.items()]
        return self._writing(
            [agent], lambda: store_memories(agent, self._workspace, entries), put=wanted
        )

    def _clear(self, agent: str) -> Said:
        from agents.memory import clear_memory

        key = self._key()
        return self._writing(
            [agent], lambda: clear_memory(agent, self._workspace, key), cleared=[key]
        )

    def _clear_all(self, agent: str) -> Said:
        from agents.memory import clear_memory

        return self._writing([agent], lambda: clear_memory(agent, self._workspace), cleared=KEYS)

    def _thread(self, agent: str) -> Said:
        from agents.memory import thread_context_between_steps

        [source] = [each for each in self._agents if each != agent]
        keys = self._random.sample(KEYS, 4)
        put: dict[str, str] = {}

        def copy() -> bool:
            for entry in thread_context_between_steps(source, agent, self._workspace, None, keys):
                put[entry.memory_key] = entry.memory_data
            return bool(put)

        said = self._writing([agent, source], copy, put=put)
        return {**said, "asked": keys, "source": source}

    def _read(self, agent: str) -> Said:
        return self._reading(agent, self._key())

    def _read_all(self, agent: str) -> Said:
        return self._reading(agent, None)

    def _writing(self, agents: Sequence[str], act: Callable[[], Any], **said: Any) -> Said:
        """Write, and say what the memories hold then, before anybody else can write."""
        from django.db import transaction

        with transaction.atomic():
            is_change = bool(act())
            holds = {agent: self._dump(agent) for agent in agents}
        return {**said, "is_change": is_change, "holds": holds}

    def _reading(self, agent: str, key: str | None) -> Said:
        from agents.memory import retrieve_memory

        first = self._version(agent)
        found = retrieve_memory(agent, self._workspace, key)
        ends = [entry.expires_at.timestamp() for entry in found if entry.expires_at]
        return {
            "key": key,
            "found": {entry.memory_key: entry.memory_data for entry in found},
            "ends": min(ends, default=None),
            "versions": [first, self._version(agent)],
        }

    def _dump(self, agent: str) -> Said:
        from agents.models import AgentMemoryEntry

        rows = AgentMemoryEntry.objects.filter(agent_instance_id=agent)
        return {
            "version": self._version(agent),
            "rows": {
                row.memory_key: [row.memory_data, row.expires_at and row.expires_at.timestamp()]
                for row in rows
            },
            "bytes": sum(row.size_bytes for row in rows),
        }

    def _version(self, agent: str) -> int:
        from agents.models import AgentMemory

        return int(AgentMemory.objects.values_list("version", flat=True).get(pk=agent))

    def _key(self) -> str:
        return self._random.choice(KEYS)

    def _value(self) -> str:
        self._made += 1
        return f"{self._number}-{self._made}-{'x' * self._random.randrange(150)}"


def main(number: str, seed: str, operations: str, workspace: str, *agents: str) -> None:
    django.setup()
    directory = Path(os.environ["MGX_VAR"])
    client = Client(int(number), int(seed), workspace, agents)
    (directory / f"ready-{number}").touch()
    while not (directory / "go").exists():
        time.sleep(0.001)
    with (directory / f"client-{number}.jsonl").open("w") as file:
        for _ in range(int(operations)):
            file.write(json.dumps(client.do_one()) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
