"""Retry as a value: whether an attempt is followed by another one, and when."""

import random
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How a step is tried again. Times are in seconds.

    ``backoff`` is ``fixed`` or ``exponential`` (doubling); ``jitter`` is the share of the delay
    that is random (0 to 1); ``retry_on`` names the only error codes worth another attempt
    (empty: all), ``no_retry_on`` those that are not.
    """

    max_retries: int = 3
    backoff: str = "exponential"
    initial_seconds: float = 1.0
    max_seconds: float = 300.0
    jitter: float = 0.1
    retry_on: frozenset[str] = frozenset()
    no_retry_on: frozenset[str] = frozenset()

    def allows(self, attempts: int, code: str) -> bool:
        """Tell whether there may be another attempt after ``attempts`` that ended with ``code``."""
        if attempts > self.max_retries or code in self.no_retry_on:
            return False
        return not self.retry_on or code in self.retry_on

    def delay(self, attempts: int, draw: random.Random) -> float:
        """Return the seconds to wait after the ``attempts``-th attempt (1 is the first).

        The random part is taken away, never added, so ``max_seconds`` is a bound.
        """
        base = self.initial_seconds
        if self.backoff == "exponential":
            # 2.0**1024 overflows; no delay needs more than 64 doublings.
            base *= 2.0 ** min(attempts - 1, 64)
        base = min(base, self.max_seconds)
        return base * (1 - self.jitter * draw.random())
