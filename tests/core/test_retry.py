"""Whether an attempt is followed by another one, and when."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workflows.core.retry import RetryPolicy


def draws(seed: int) -> Random:
    return Random(seed)  # noqa: S311  (a test's own)


EXACT = draws(0)


@pytest.mark.parametrize(
    ("max_retries", "attempts", "allowed"),
    [(0, 1, False), (1, 1, True), (1, 2, False), (3, 3, True), (3, 4, False)],
)
def test_retries_are_counted_beside_the_first_attempt(
    max_retries: int, attempts: int, allowed: bool
) -> None:
    assert RetryPolicy(max_retries=max_retries).allows(attempts, "error") is allowed


def test_only_the_codes_named_are_worth_another_attempt() -> None:
    policy = RetryPolicy(retry_on=frozenset({"busy"}))
    assert policy.allows(1, "busy")
    assert not policy.allows(1, "error")


def test_a_code_that_is_excluded_is_never_tried_again() -> None:
    policy = RetryPolicy(retry_on=frozenset({"busy"}), no_retry_on=frozenset({"busy", "wrong"}))
    assert not policy.allows(1, "busy")
    assert not policy.allows(1, "wrong")


def test_exponential_delays_double_up_to_the_bound() -> None:
    policy = RetryPolicy(initial_seconds=2, max_seconds=30, jitter=0)
    assert [policy.delay(n, EXACT) for n in range(1, 7)] == [2, 4, 8, 16, 30, 30]


def test_fixed_delays_stay_the_same() -> None:
    policy = RetryPolicy(backoff="fixed", initial_seconds=5, jitter=0)
    assert [policy.delay(n, EXACT) for n in (1, 2, 50)] == [5, 5, 5]


@given(
    attempts=st.integers(1, 10_000),
    backoff=st.sampled_from(["fixed", "exponential"]),
    initial=st.floats(0, 86_400),
    longest=st.floats(0, 86_400),
    jitter=st.floats(0, 1),
    seed=st.integers(),
)
def test_a_delay_is_never_negative_nor_beyond_the_bound(
    attempts: int, backoff: str, initial: float, longest: float, jitter: float, seed: int
) -> None:
    policy = RetryPolicy(
        backoff=backoff, initial_seconds=initial, max_seconds=longest, jitter=jitter
    )
    assert 0 <= policy.delay(attempts, draws(seed)) <= longest


def test_jitter_takes_away_its_share_at_most() -> None:
    policy = RetryPolicy(backoff="fixed", initial_seconds=10, jitter=0.3)
    delays = [policy.delay(1, draws(seed)) for seed in range(200)]
    assert 7 <= min(delays) < 7.5
    assert 9.5 < max(delays) <= 10
