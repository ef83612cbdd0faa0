"""What agents remember from one step to the next, each its own, up to limits.

To store and to read: ``writing.py`` and ``reading.py``; what is evicted: ``space.py``.
"""

from asgiref.sync import sync_to_async

from agents.memory.combining import aretrieve_memory, astore_memories, astore_memory
from agents.memory.copying import thread_context_between_steps
from agents.memory.entries import Entry, NewEntry
from agents.memory.erasing import Erased, erase_memory
from agents.memory.reading import (
    MemoryStats,
    get_memory_stats,
    retrieve_memory,
    search_memory,
)
from agents.memory.trust import Trust
from agents.memory.writing import clear_memory, store_memories, store_memory

asearch_memory = sync_to_async(search_memory)
aget_memory_stats = sync_to_async(get_memory_stats)
aerase_memory = sync_to_async(erase_memory)
aclear_memory = sync_to_async(clear_memory)
athread_context_between_steps = sync_to_async(thread_context_between_steps)

__all__ = [
    "Entry",
    "Erased",
    "MemoryStats",
    "NewEntry",
    "Trust",
    "aclear_memory",
    "aerase_memory",
    "aget_memory_stats",
    "aretrieve_memory",
    "asearch_memory",
    "astore_memories",
    "astore_memory",
    "athread_context_between_steps",
    "clear_memory",
    "erase_memory",
    "get_memory_stats",
    "retrieve_memory",
    "search_memory",
    "store_memories",
    "store_memory",
    "thread_context_between_steps",
]
