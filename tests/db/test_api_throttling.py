"""Nobody takes the API from the others; and a Redis that is away refuses nobody."""

import os
import secrets
from collections.abc import Callable
from typing import Any

import pytest
from django.core.cache import cache

pytestmark = pytest.mark.django_db


REDIS = "django.core.cache.backends.redis.RedisCache"


@pytest.fixture(autouse=True)
def _fresh_counts() -> None:
    cache.clear()


def test_refuses_calls_beyond_the_limit_and_says_when_to_come_back(
    api: Callable[[str], Any], settings: Any
) -> None:
    settings.MGX_API_CALLS_PER_MINUTE = 3
    answers = [api("viewer").get("/api/v1/me/") for _ in range(8)]
    refused = [answer for answer in answers if answer.status_code == 429]
    # The minute may turn once while this runs.
    assert refused
    assert refused[0].headers["Content-Type"] == "application/problem+json"
    assert 0 <= int(refused[0].headers["Retry-After"]) <= 60
    assert api("operator").get("/api/v1/me/").status_code == 200


def test_counts_nothing_while_redis_is_away(api: Callable[[str], Any], settings: Any) -> None:
    settings.MGX_API_CALLS_PER_MINUTE = 1
    settings.CACHES = {"default": {"BACKEND": REDIS, "LOCATION": "redis://127.0.0.1:1/0"}}
    answers = [api("viewer").get("/api/v1/me/").status_code for _ in range(3)]
    assert answers == [200, 200, 200]


@pytest.mark.skipif("TEST_REDIS_URL" not in os.environ, reason="TEST_REDIS_URL names no Redis")
def test_counts_in_redis_for_all_processes_together(
    api: Callable[[str], Any], settings: Any
) -> None:
    settings.MGX_API_CALLS_PER_MINUTE = 1
    redis = {"BACKEND": REDIS, "LOCATION": os.environ["TEST_REDIS_URL"]}
    settings.CACHES = {"default": {**redis, "KEY_PREFIX": secrets.token_hex(8)}}
    answers = [api("viewer").get("/api/v1/me/").status_code for _ in range(4)]
    assert 429 in answers
