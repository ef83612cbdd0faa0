"""Making and changing agents: a workspace's own by its editors, definitions by superusers."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import jsonschema_rs
from django.db import IntegrityError, transaction
from django.utils.text import slugify

from agents.backends.configs import find_wrong_config
from agents.memory.entries import no_agent
from agents.models import AgentDefinition, AgentInstance
from agents.references import named
from workflows.clock import database_now
from workflows.core.canonical import dumps_canonical
from workflows.core.errors import Problem, UnstorableError, json_pointer
from workflows.errors import Conflict, InvalidInput, NotPermitted, NotVisible
from workflows.events import EventDraft, EventType, append_events
from workflows.models import Project, Role, User, Workspace
from workflows.services.access import require_role

#: Patterns are matched in linear time.
_PATTERNS = jsonschema_rs.RegexOptions()
_MOST_PROBLEMS = 20


def create_agent(
    workspace: Workspace, *, user: User, definition: str, name: str, **fields: Any
) -> AgentInstance:
    """Give a workspace an agent of its own. ``definition``: its id or slug.

    Raises:
        NotVisible, NotPermitted: the user is no editor, or there is no such definition.
        InvalidInput: its config is not what the definition and its backend ask for.
        Conflict: another agent of the workspace has this slug.
    """
    require_role(user, workspace.pk, Role.EDITOR)
    found = AgentDefinition.objects.filter(named([definition])).first()
    if found is None:
        raise NotVisible(f"There is no agent definition '{definition}'.")
    fields.setdefault("slug", slugify(name)[:100])
    agent = AgentInstance(workspace=workspace, definition=found, name=name, **fields)
    return _save_agent(agent, user, "created", sorted(fields))


def change_agent(agent_id: UUID, *, user: User, **fields: Any) -> AgentInstance:
    """Change what is given of an agent.

    Raises:
        NotVisible, NotPermitted, InvalidInput, Conflict: as ``create_agent``.
    """
    with transaction.atomic():
        rows = AgentInstance.objects.select_related("definition", "workspace")
        agent = rows.select_for_update(of=("self",), no_key=True).filter(pk=agent_id).first()
        if agent is None:
            raise no_agent()
        require_role(user, agent.workspace_id, Role.EDITOR)
        for field, value in fields.items():
            setattr(agent, field, value)
        return _save_agent(agent, user, "changed", sorted(fields))


def create_definition(*, user: User, **fields: Any) -> AgentDefinition:
    """Make a definition, which all workspaces share.

    Raises:
        NotPermitted: the user is no superuser.
        InvalidInput: its schema is none, or its config is wrong.
        Conflict: another definition has this slug.
    """
    _require_superuser(user)
    fields.setdefault("slug", slugify(fields["name"])[:100])
    return _save_definition(AgentDefinition(**fields), None)


def change_definition(definition_id: UUID, *, user: User, **fields: Any) -> AgentDefinition:
    """Change what is given of a definition.

    Raises:
        NotVisible: there is no such definition.
        NotPermitted, InvalidInput, Conflict: as ``create_definition``.
    """
    _require_superuser(user)
    definition = AgentDefinition.objects.filter(pk=definition_id).first()
    if definition is None:
        raise NotVisible("There is no such agent definition.")
    for field, value in fields.items():
        setattr(definition, field, value)
    return _save_definition(definition, sorted(fields))


def config_problems(schema: Mapping[str, Any], config: Mapping[str, Any]) -> list[Problem]:
    """Return what is wrong with an instance's config by its definition's ``config_schema``."""
    if not schema:
        return []
    validator = jsonschema_rs.Draft202012Validator(
        dict(schema), pattern_options=_PATTERNS, offline=True, validate_formats=True
    )
    return [
        # Not its message: that holds the value, which is nobody else's.
        _problem("invalid_config", f"“{e.kind.name}” is not met", ("config", *e.instance_path))
        for e, _ in zip(validator.iter_errors(dict(config)), range(_MOST_PROBLEMS), strict=False)
    ]


def _save_agent(agent: AgentInstance, user: User, verb: str, fields: list[str]) -> AgentInstance:
    if agent.project_id and not Project.objects.filter(
        pk=agent.project_id, workspace_id=agent.workspace_id
    ):
        raise NotVisible("There is no such project in this workspace.")
    problems = [] if agent.slug else [_problem("required", "Give it a slug", ("slug",))]
    problems += _unstorable(agent.config, "config")
    if not problems:
        problems = config_problems(agent.definition.config_schema, agent.config)
        config = {**agent.definition.config, **agent.config}
        problems += _wrong(agent.definition.agent_type, config, is_whole=True)
    _refuse(problems)
    with transaction.atomic():
        try:
            with transaction.atomic():
                if agent._state.adding:
                    agent.save(force_insert=True)
                else:
                    agent.save(update_fields=fields)
        except IntegrityError:
            message = f"Another agent of the workspace has the slug '{agent.slug}'."
            raise Conflict(message, code="slug_taken") from None
        draft = EventDraft(
            EventType.AGENT_ACTIVITY,
            agent.workspace_id,
            actor=f"user:{user.username}",
            agent_id=agent.pk,
            data={"activity": verb, "agent": agent.slug, "fields": fields},
            message=f"{user.username} {verb} the agent {agent.name}",
        )
        append_events([draft], database_now())
    return agent


def _save_definition(definition: AgentDefinition, fields: list[str] | None) -> AgentDefinition:
    problems = [] if definition.slug else [_problem("required", "Give it a slug", ("slug",))]
    for name in ("config", "config_schema", "capabilities"):
        problems += _unstorable(getattr(definition, name), name)
    if not problems:
        problems = _wrong(definition.agent_type, definition.config, is_whole=False)
        problems += _schema_problems(definition.config_schema)
    _refuse(problems)
    try:
        with transaction.atomic():
            definition.save(update_fields=fields)
    except IntegrityError:
        message = f"Another definition has the slug '{definition.slug}'."
        raise Conflict(message, code="slug_taken") from None
    return definition


def _schema_problems(schema: dict[str, Any]) -> list[Problem]:
    try:
        jsonschema_rs.Draft202012Validator(schema, pattern_options=_PATTERNS, offline=True)
    except (jsonschema_rs.ValidationError, ValueError):
        return [_problem("invalid_schema", "This is no JSON Schema", ("config_schema",))]
    return []


def _wrong(agent_type: str, config: Mapping[str, Any], *, is_whole: bool) -> list[Problem]:
    found = find_wrong_config(agent_type, config, is_whole=is_whole)
    return [_problem("invalid_config", message, ("config",)) for message in found]


def _unstorable(value: Any, name: str) -> list[Problem]:
    try:
        dumps_canonical(value)
    except UnstorableError as error:
        pointer = json_pointer([name]) + (error.path or "")
        return [Problem("", error.reason, error.message, pointer)]
    return []


def _refuse(problems: list[Problem]) -> None:
    if problems:
        raise InvalidInput("The agent is not valid.", problems, code="invalid_agent")


def _require_superuser(user: User) -> None:
    if not user.is_superuser:
        raise NotPermitted("All workspaces share definitions: only superusers change them.")


def _problem(code: str, message: str, place: tuple[Any, ...]) -> Problem:
    return Problem("", code, message, json_pointer(place))
