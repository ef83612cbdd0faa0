"""What all parts of a definition share: null is the default, and nothing is converted."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from workflows.core.names import Name

MAX_SECONDS = 365 * 24 * 3600

Text = Annotated[str, StringConstraints(max_length=10_000)]
Seconds = Annotated[int, Field(ge=1, le=MAX_SECONDS)]
# A list in the document, immutable here.
Names = Annotated[tuple[Name, ...], Field(strict=False)]


def value_or_text(given: object) -> str:
    """Tell which of two tags a value has that may be written out, or be a text that refers to it.

    With it pydantic says once, and at its place, what is wrong.
    """
    return "text" if isinstance(given, str) else "value"


class Part(BaseModel):
    """What all parts share: no unknown keys, no conversions, null is the default.

    A check of several fields names them in its error's context: `about`, and as `field` the one at
    which it is reported; without that it is reported at the part as a whole.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _null_is_default(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        fields = cls.model_fields
        return {k: v for k, v in given.items() if v is not None or k not in fields}
