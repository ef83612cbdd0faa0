"""The newest events of one workspace, as frames that are ready to be sent."""

from collections import deque

#: How many events, and how many characters of them, are kept for sockets that lag behind.
_MOST_FRAMES = 2_000
_MOST_CHARACTERS = 8_000_000


class Window:
    """Frames of the events up to ``last``, without gaps. Older ones are in the database."""

    __slots__ = ("_characters", "_frames", "last")

    def __init__(self, last: int) -> None:
        self.last = last
        self._frames: deque[str] = deque()
        self._characters = 0

    def append(self, frame: str) -> None:
        """Add the frame of the event that follows ``last``."""
        self.last += 1
        self._frames.append(frame)
        self._characters += len(frame)
        while len(self._frames) > _MOST_FRAMES or self._characters > _MOST_CHARACTERS:
            self._characters -= len(self._frames.popleft())

    def skip_to(self, seq: int) -> None:
        """Forget everything and go on after ``seq``."""
        self.last = seq
        self._frames.clear()
        self._characters = 0

    def after(self, seq: int, limit: int) -> list[str] | None:
        """Return up to ``limit`` frames that follow ``seq``; None if they are no longer here."""
        missing = self.last - seq
        if missing > len(self._frames) or missing < 0:
            return None
        start = len(self._frames) - missing
        return [self._frames[i] for i in range(start, min(start + limit, len(self._frames)))]
