"""Events as they happen: the WebSocket ``/ws/events/`` and the one tailer behind it."""
