"""How many calls a user of the API has a minute: 429 with ``Retry-After`` beyond it.

The count stands in Django's cache: where ``REDIS_URL`` names one, all web processes count
together, otherwise each for itself. Without an answer from Redis nobody is refused.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from django.conf import settings
from django.core.cache import cache
from redis.exceptions import RedisError
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

if TYPE_CHECKING:
    from rest_framework.views import APIView

logger = logging.getLogger("workflows.api")

_WINDOW_SECONDS = 60


class CallsPerMinute(BaseThrottle):
    """Counts the calls of a signed-in user in each minute of the clock."""

    def allow_request(self, request: Request, view: APIView) -> bool:
        limit = settings.MGX_API_CALLS_PER_MINUTE
        if not limit or not request.user.is_authenticated:
            return True
        return (
            self._count(f"calls:{request.user.pk}:{int(time.time() // _WINDOW_SECONDS)}") <= limit
        )

    def wait(self) -> float:
        return _WINDOW_SECONDS - time.time() % _WINDOW_SECONDS

    def _count(self, key: str) -> int:
        try:
            if cache.add(key, 1, timeout=2 * _WINDOW_SECONDS):
                return 1
            return cache.incr(key)
        except ValueError:  # it expired between the two
            return 1
        except (RedisError, OSError) as error:
            logger.warning("Calls are not counted: %s", type(error).__name__)
            return 0
