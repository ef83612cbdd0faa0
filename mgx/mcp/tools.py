"""What a tool is: its arguments as a model, whose docstring is what agents read of it."""

from inspect import cleandoc
from typing import Annotated, Any, ClassVar
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

from django.conf import settings
from django.urls import reverse
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mgx.mcp.rest import Caller, Refused
from workflows.core.errors import json_pointer

Id = Annotated[UUID, Field(strict=False)]
Workspace = Annotated[
    str | None, Field(description="The workspace's slug; needed only if you are in several")
]
Limit = Annotated[int | None, Field(ge=1, le=200, description="The most rows of one answer; 50")]
Cursor = Annotated[str | None, Field(description="`next_cursor` of the page before")]
IdempotencyKey = Annotated[
    str | None,
    Field(description="Any text of your own: with the same one, this is done once only"),
]


class Tool(BaseModel):
    """The arguments of one call. ``named_here``: REST's name of a field → the argument's."""

    model_config = ConfigDict(extra="forbid", strict=True)

    name_: ClassVar[str]
    reads_only: ClassVar[bool] = True
    named_here: ClassVar[dict[str, str]] = {}

    async def answer(self, api: Caller) -> dict[str, Any]:
        """Do it, and return what came of it. Raises Refused."""
        raise NotImplementedError

    @classmethod
    def described(cls) -> dict[str, Any]:
        """Return the tool as the protocol tells of it."""
        schema = cls.model_json_schema()
        for told_already in ("title", "description"):
            schema.pop(told_already, None)
        for each in schema.get("properties", {}).values():
            each.pop("title", None)
        hints = {"readOnlyHint": cls.reads_only, "openWorldHint": False}
        if not cls.reads_only:
            hints |= {"destructiveHint": False}
        return {
            "name": cls.name_,
            "description": cleandoc(cls.__doc__ or ""),
            "inputSchema": schema,
            "annotations": hints,
        }


async def call(kind: type[Tool], arguments: dict[str, Any], api: Caller) -> dict[str, Any]:
    """Call a tool. Raises Refused, also for arguments that are wrong, with what is wrong where."""
    try:
        tool = kind.model_validate(arguments)
    except ValidationError as error:
        raise Refused(_problem_of(error)) from None
    try:
        return await tool.answer(api)
    except Refused as refused:
        refused.problem["errors"] = [
            {**each, "pointer": _pointer_here(kind, str(each.get("pointer", "")))}
            for each in refused.problem.get("errors", ())
        ]
        raise


def page_url(name: str, id: Any) -> str:
    """Return the address under which people see a request or a run."""
    return f"{settings.MGX_URL}{reverse(name, args=[id])}"


def given(tool: Tool, *names: str) -> dict[str, Any]:
    """Return those of a tool's arguments that are given, as REST names them."""
    there = {here: name for name, here in tool.named_here.items()}
    said = tool.model_dump(mode="json", include=set(names), exclude_none=True)
    return {there.get(name, name): value for name, value in said.items()}


def next_cursor(page: dict[str, Any]) -> str | None:
    """Return where the page after one of REST's begins."""
    found = parse_qs(urlsplit(page.get("next") or "").query).get("cursor")
    return found[0] if found else None


def _problem_of(error: ValidationError) -> dict[str, Any]:
    listed = [
        {"pointer": json_pointer(each["loc"]), "code": each["type"], "message": each["msg"]}
        for each in error.errors(include_url=False, include_input=False, include_context=False)
    ]
    detail = "These are not the tool's arguments. Nothing was done."
    return {"status": 400, "code": "invalid_arguments", "detail": detail, "errors": listed}


def _pointer_here(kind: type[Tool], pointer: str) -> str:
    first, slash, rest = pointer.removeprefix("/").partition("/")
    return f"/{kind.named_here.get(first, first)}{slash}{rest}" if pointer else ""
