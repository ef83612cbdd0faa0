"""What a gate asks, of whom, and what follows from the answer or from none."""

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Discriminator, Field, StringConstraints, Tag, model_validator
from pydantic_core import PydanticCustomError

from workflows.core.names import Name
from workflows.core.parts import Names, Part, Seconds, Text

#: What `on_reject` and `on_timeout` say that is no step's name.
ON_REJECT = frozenset({"fail", "continue"})
ON_TIMEOUT = ON_REJECT | {"approve", "escalate"}


def _form_of(given: object) -> str:
    return "name" if isinstance(given, str) else "policy"


def _not_empty(rules: "tuple[Rule, ...]") -> "tuple[Rule, ...]":
    # Not pydantic's min_length, which also complains where the only entry is refused.
    if not rules:
        raise PydanticCustomError("too_short", "must have at least one entry")
    return rules


def _count_of(given: object) -> str:
    return "word" if isinstance(given, str) else "number"


Rule = Annotated[
    Annotated[Name, Tag("name")] | Annotated["Policy", Tag("policy")], Discriminator(_form_of)
]
Quorum = Annotated[
    Annotated[int, Field(ge=1, le=100), Tag("number")] | Annotated[Literal["all"], Tag("word")],
    Discriminator(_count_of),
]
Rules = Annotated[
    tuple[Rule, ...],
    Field(strict=False, max_length=50, json_schema_extra={"minItems": 1}),
    AfterValidator(_not_empty),
]


class Policy(Part):
    """Who must approve: `all_of`, `any_of`, or `n_of` a number of the entries in `of`. An entry is
    a name like those of `required_approvers`, or a policy. Each name is met by another person."""

    all_of: Rules | None = None
    any_of: Rules | None = None
    n_of: Annotated[int, Field(ge=1, le=50)] | None = None
    of: Rules | None = None

    @model_validator(mode="after")
    def _is_one_thing(self) -> Self:
        forms = [self.all_of is not None, self.any_of is not None, self.n_of is not None]
        if sum(forms) != 1 or (self.n_of is None) != (self.of is None):
            raise PydanticCustomError(
                "invalid_choice",
                "A policy is one of all_of, any_of, and n_of with of",
                {"about": ("all_of", "any_of", "n_of", "of")},
            )
        return self

    @property
    def entries(self) -> tuple["str | Policy", ...]:
        """What the policy is made of."""
        return self.all_of or self.any_of or self.of or ()

    @property
    def needed(self) -> int:
        """How many of the entries must be met."""
        return 1 if self.any_of else self.n_of or len(self.entries)

    def names(self) -> tuple[str, ...]:
        """Return each name once, in the order of the document."""
        found: dict[str, None] = {}
        for entry in self.entries:
            found |= dict.fromkeys([entry] if isinstance(entry, str) else entry.names())
        return tuple(found)


class Approval(Part):
    """A request for a human decision. `title` and `description` may hold references.

    `required_approvers`: usernames, ids, `group:NAME`, `role:NAME`; empty for any approver.
    `min_approvals` of them must approve, by default one; or else `policy` says who must.
    `form_schema`: the JSON Schema of the answer's `response_data`; a property with `x-edits`, a
    JSON Pointer, edits that place of the payload. `on_reject`, `on_timeout`: `fail`, `continue`,
    or the name of a step that depends on this one and only then runs. `revise`: the step that is
    done anew, with all between it and this one, when changes are requested; by default the
    nearest task or agent before it. `reminders`: seconds after the request. `escalate_to` may
    decide as well once `escalate_after_seconds` have passed, or on the timeout `escalate`.
    """

    title: Annotated[str, StringConstraints(max_length=500)] = ""
    description: Text = ""
    required_approvers: Names = ()
    min_approvals: Quorum = 1
    policy: Policy | None = None
    auto_approve_after_seconds: Seconds | None = None
    expires_after_seconds: Seconds = 86_400
    prevent_self_approval: bool = False
    risk: Literal["low", "medium", "high"] = "medium"
    form_schema: dict[str, Any] | None = None
    on_reject: Name = "fail"
    on_timeout: Name = "fail"
    revise: Name | None = None
    max_revisions: Annotated[int, Field(ge=0, le=100)] = 5
    reminders: Annotated[tuple[Seconds, ...], Field(strict=False, max_length=20)] = ()
    escalate_after_seconds: Seconds | None = None
    escalate_to: Names = ()

    @property
    def approvers(self) -> tuple[str, ...]:
        """Everybody who is named, those of the policy included; empty for any approver."""
        return self.policy.names() if self.policy else self.required_approvers

    @property
    def branches(self) -> frozenset[str]:
        """The steps of which each runs only after a rejection, or only after silence."""
        return frozenset({self.on_reject, self.on_timeout} - ON_TIMEOUT)
