"""What tokens cost, and how many of them a step may use: two keys of an agent's config.

``prices``: ``{"input_per_million": 2.5, "output_per_million": 10}``, in a unit of the
installation's own choice; costs are counted in millionths of it, micros. ``max_tokens``: the most
tokens that one attempt may use, what it is told and what it answers together.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from agents.models import AgentType

#: What an attempt may use whose config says nothing.
DEFAULT_MAX_TOKENS: Final = 50_000
MOST_TOKENS: Final = 1_000_000_000
_HIGHEST_PRICE: Final = 1_000_000
_MILLION: Final = 1_000_000

Price = Annotated[float, Field(strict=True, ge=0, le=_HIGHEST_PRICE, allow_inf_nan=False)]


class Prices(BaseModel):
    """What a million tokens cost."""

    model_config = ConfigDict(extra="forbid")

    input_per_million: Price = 0.0
    output_per_million: Price = 0.0


class SpendingConfig(BaseModel):
    """What the config of any agent may say of what it spends."""

    prices: Prices | None = None
    max_tokens: Annotated[int, Field(strict=True, ge=1, le=MOST_TOKENS)] | None = None


@dataclass(frozen=True, slots=True)
class Amount:
    """Tokens, and what they cost."""

    tokens: int = 0
    cost_micros: int = 0

    def __add__(self, other: "Amount") -> "Amount":
        return Amount(self.tokens + other.tokens, self.cost_micros + other.cost_micros)

    def __bool__(self) -> bool:
        return self.tokens > 0 or self.cost_micros > 0


NOTHING: Final = Amount()


def cost_of(prices: Prices | None, input_tokens: int, output_tokens: int) -> int:
    """Return what tokens cost in micros, rounded up; 0 without prices."""
    if prices is None:
        return 0
    cost = Decimal(str(prices.input_per_million)) * input_tokens
    cost += Decimal(str(prices.output_per_million)) * output_tokens
    return int(cost.to_integral_value(ROUND_CEILING))


def spending_of(config: Mapping[str, Any]) -> SpendingConfig:
    """Return what a config says of spending; nothing where that is nonsense."""
    try:
        return SpendingConfig.model_validate(
            {name: config[name] for name in SpendingConfig.model_fields if name in config}
        )
    except ValidationError:
        return SpendingConfig()


def needed_by(agent_type: str, config: Mapping[str, Any]) -> Amount:
    """Return the most that one attempt of an agent spends: nothing for one that spends nothing."""
    spending = spending_of(config)
    says_nothing = spending.prices is None and spending.max_tokens is None
    if says_nothing and agent_type != AgentType.LLM:
        return NOTHING
    tokens = spending.max_tokens or DEFAULT_MAX_TOKENS
    prices = spending.prices
    return Amount(tokens, max(cost_of(prices, tokens, 0), cost_of(prices, 0, tokens)))


def micros_of(units: float) -> int:
    """Return a number of the prices' unit in micros."""
    return int((Decimal(str(units)) * _MILLION).to_integral_value())


def units_of(micros: int) -> float:
    """Return micros as a number of the prices' unit."""
    return float(Decimal(micros) / _MILLION)
