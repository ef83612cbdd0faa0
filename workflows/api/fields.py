"""Input as it is written: no key that is not known, and nothing converted."""

from collections.abc import Mapping
from typing import Any

from rest_framework import serializers

from workflows.errors import InvalidInput


class StrictSerializer(serializers.Serializer[Any]):
    """Input that refuses keys it does not know, read-only ones included."""

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, Mapping):
            unknown = [str(key) for key in data if key not in self.fields]
            if unknown:
                raise serializers.ValidationError(
                    {key: f"There is no field '{key}' to be set here." for key in unknown},
                    code="unknown_field",
                )
        return super().to_internal_value(data)


class TextField(serializers.CharField):
    """A string, kept as it was sent; a number is none."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"trim_whitespace": False, **options})

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        return super().to_internal_value(data)


class WholeField(serializers.IntegerField):
    """A whole number; neither ``"5"`` nor ``true`` is one."""

    def to_internal_value(self, data: Any) -> int:
        if isinstance(data, bool) or not isinstance(data, int):
            self.fail("invalid")
        return super().to_internal_value(data)


class FlagField(serializers.BooleanField):
    """``true`` or ``false``; neither ``"yes"`` nor 1 is one."""

    def to_internal_value(self, data: Any) -> bool:
        if not isinstance(data, bool):
            self.fail("invalid", input=data)
        return data


class ObjectField(serializers.DictField):
    """A JSON object of any content."""

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        if not isinstance(data, dict):
            self.fail("not_a_dict", input_type=type(data).__name__)
        return data


def read_input(serializer: type[StrictSerializer], data: Any) -> dict[str, Any]:
    """Return what a body says, checked.

    Raises:
        ValidationError: with everything that is wrong.
    """
    given = serializer(data=read_object(data))
    given.is_valid(raise_exception=True)
    return dict(given.validated_data)


def read_object(data: Any) -> dict[str, Any]:
    """Return a body that is a JSON object.

    Raises:
        InvalidInput: it is a list, a text, null …
    """
    if not isinstance(data, dict):
        raise InvalidInput("The body is to be a JSON object.", code="not_an_object")
    return data
