"""System checks: what an installation must have before it is trusted with decisions.

``manage.py check --database default`` runs them with all of Django's; ``up`` and ``qcluster``
run those of ``STARTING``, which need no pages and so start in half the time.
"""

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, connections
from django.utils.module_loading import import_string

from workflows.net import ForbiddenAddress, check_url

_OURS = "mgx"
STARTING = [_OURS, Tags.security, Tags.database]

#: Settings that name code by its dotted path.
_PLUGS = (
    "STEP_HANDLERS",
    "TIMER_HANDLERS",
    "REFERENCE_CHECKS",
    "STEP_EXPLAINERS",
    "STEP_TELLERS",
    "STREAM_READERS",
    "OUTBOXES",
)
_A_CENTURY_OF_DAYS = 36_500
_A_CENTURY_OF_SECONDS = 3_155_760_000
_A_DAY_OF_SECONDS = 86_400
#: Far more than there ever is: databases and memory count further.
_VERY_MANY = 10**15
#: Settings that are numbers, with the least and the most of each. Outside of them what must be
#: kept is deleted, or nothing can be done.
RANGES: dict[str, tuple[float, float]] = {
    "MGX_RETENTION_DAYS": (0, _A_CENTURY_OF_DAYS),
    "MGX_AGENT_MESSAGE_DAYS": (0, _A_CENTURY_OF_DAYS),
    "MGX_MEMORY_HISTORY_DAYS": (0, _A_CENTURY_OF_DAYS),
    "MGX_MEMORY_TTL_SECONDS": (1, _A_CENTURY_OF_SECONDS),
    "MGX_MEMORY_MAX_BYTES": (1, _VERY_MANY),
    "MGX_MEMORY_MAX_ENTRIES": (1, _VERY_MANY),
    "MGX_MEMORY_CACHE_BYTES": (0, _VERY_MANY),
    "MGX_LEASE_SECONDS": (0.1, _A_DAY_OF_SECONDS),
    "MGX_HEARTBEAT_SECONDS": (0.01, _A_DAY_OF_SECONDS),
    "MGX_DRAIN_SECONDS": (0, _A_DAY_OF_SECONDS),
    "MGX_LOOP_SILENCE_SECONDS": (0, _A_DAY_OF_SECONDS),
    "MGX_SQLITE_POLL_SECONDS": (0.001, _A_DAY_OF_SECONDS),
    "MGX_DRIVER_CAPACITY": (1, _VERY_MANY),
    "MGX_SYNC_THREADS": (1, 10_000),
    "MGX_MAX_CRASHES": (0, _VERY_MANY),
    "MGX_AGENT_FAULTS_UNTIL_OPEN": (1, _VERY_MANY),
    "MGX_AGENT_PROBE_SECONDS": (0, _A_CENTURY_OF_SECONDS),
    "MGX_MAX_HANDOFF_HOPS": (0, _VERY_MANY),
    "MGX_MAX_OUTPUT_BYTES": (1, _VERY_MANY),
    "MGX_MAX_STEPS": (1, _VERY_MANY),
    "MGX_MAX_BODY_BYTES": (1, _VERY_MANY),
    "MGX_MAX_DEPTH": (0, _VERY_MANY),
    "MGX_ISOLATED_MEMORY_MB": (0, _VERY_MANY),
    "MGX_API_CALLS_PER_MINUTE": (0, _VERY_MANY),
}
_OLDEST_SQLITE = (3, 37)
_OLDEST_POSTGRESQL = 14
_SHORTEST_KEY = 50
_FEWEST_CHARACTERS = 5


@register(_OURS)
def check_step_handlers(**_: Any) -> list[CheckMessage]:
    """Every dotted name that plugs something into the engine must lead somewhere."""
    found: list[CheckMessage] = []
    for setting in _PLUGS:
        for key, path in getattr(settings, setting).items():
            try:
                import_string(path)
            except ImportError as error:
                hint = f"Correct {setting}[{key!r}], or the module that it names: {error}"
                message = f"{setting} names {path}, which cannot be imported."
                found.append(Error(message, hint=hint, id="mgx.E001"))
    return found


@register(_OURS)
def check_engine_settings(**_: Any) -> list[CheckMessage]:
    """Leases must outlive heartbeats, or every driver loses its work to the next one."""
    if settings.MGX_HEARTBEAT_SECONDS * 2 <= settings.MGX_LEASE_SECONDS:
        return []
    return [
        Error(
            "MGX_LEASE_SECONDS is less than two heartbeats.",
            hint="Raise MGX_LEASE_SECONDS, or lower MGX_HEARTBEAT_SECONDS to a third of it.",
            id="mgx.E002",
        )
    ]


@register(_OURS)
def check_ranges(**_: Any) -> list[CheckMessage]:
    """A number that makes no sense must not be taken for one that deletes or stops everything."""
    return [
        Error(
            f"{setting} is {getattr(settings, setting)}.",
            hint=f"Set {setting} to a number from {least:,} to {most:,}.",
            id="mgx.E009",
        )
        for setting, (least, most) in RANGES.items()
        if not least <= getattr(settings, setting) <= most
    ]


@register(_OURS)
def check_queue_settings(**_: Any) -> list[CheckMessage]:
    """A task that may run longer than ``retry`` is handed out again while it runs."""
    queue = settings.Q_CLUSTER
    if queue["timeout"] < queue["retry"]:
        return []
    return [
        Error(
            "A queued task may run for longer than the queue waits to run it again.",
            hint="Make Q_CLUSTER['retry'] greater than Q_CLUSTER['timeout'].",
            id="mgx.E003",
        )
    ]


@register(_OURS)
def check_agents_outside(**_: Any) -> list[CheckMessage]:
    """Where models are asked must be callable, and each secret must say where it may go."""
    found: list[CheckMessage] = []
    try:
        if settings.LLM_BASE_URL:
            check_url(settings.LLM_BASE_URL)
    except ForbiddenAddress as error:
        found.append(
            Error(
                f"LLM_BASE_URL cannot be called: {error}.",
                hint="Correct it. A host inside has to be in MGX_ALLOWED_INTERNAL_HOSTS.",
                id="mgx.E007",
            )
        )
    for number, entry in enumerate(settings.MGX_AGENT_SECRETS, 1):
        name, _at, host = entry.partition("@")
        if not name.isidentifier() or not host:
            found.append(
                Error(
                    # Not its text, which may be the secret itself.
                    f"Entry {number} of MGX_AGENT_SECRETS does not say where a secret may go.",
                    hint="Write NAME@host or NAME@host:port; NAME is a variable that holds it.",
                    id="mgx.E008",
                )
            )
    return found


@register(Tags.security)
def check_secret_key(**_: Any) -> list[CheckMessage]:
    """The key signs sessions and queued tasks: whoever guesses it can run code."""
    key = settings.SECRET_KEY
    if len(key) >= _SHORTEST_KEY and len(set(key)) >= _FEWEST_CHARACTERS:
        return []
    return [
        Error(
            f"SECRET_KEY is weak: it has {len(key)} characters, {len(set(key))} different ones.",
            hint=f"Use at least {_SHORTEST_KEY} random ones: "
            "python -c 'import secrets; print(secrets.token_urlsafe(50))'",
            id="mgx.E004",
        )
    ]


@register(Tags.security)
def check_exposure(**_: Any) -> list[CheckMessage]:
    """What other machines can reach must not be set up like a desk."""
    hosts = settings.ALLOWED_HOSTS
    found: list[CheckMessage] = []
    if "*" in hosts:
        found.append(
            Error(
                "ALLOWED_HOSTS accepts every host name.",
                hint="Name the hosts under which MGX is reached; links and the origin check of "
                "WebSockets rely on them.",
                id="mgx.E005",
            )
        )
    public = [host for host in hosts if not is_loopback(host)]
    if public and settings.DEBUG:
        found.append(
            Error(
                f"DEBUG is on while {', '.join(public)} can be reached from elsewhere.",
                hint="Unset DEBUG: its error pages show settings and variables.",
                id="mgx.E006",
            )
        )
    if public and not settings.SESSION_COOKIE_SECURE:
        found.append(
            Warning(
                f"{', '.join(public)} is served without HTTPS.",
                hint="Put MGX behind TLS and set MGX_HTTPS=on: cookies and redirects follow.",
                id="mgx.W001",
            )
        )
    return found


@register(Tags.security)
def check_address_in_mail(**_: Any) -> list[CheckMessage]:
    """A link in mail must not lead people to their own machine."""
    public = [host for host in settings.ALLOWED_HOSTS if not is_loopback(host)]
    if not public or not is_loopback(urlsplit(settings.MGX_URL).hostname or ""):
        return []
    return [
        Warning(
            f"Links in mail lead to {settings.MGX_URL}.",
            hint="Set MGX_URL to the address under which people reach MGX.",
            id="mgx.W002",
        )
    ]


def is_loopback(host: str) -> bool:
    """Tell whether only this machine can reach ``host``."""
    return host in ("127.0.0.1", "[::1]", "localhost") or host.endswith(".localhost")


@register(Tags.database)
def check_databases(databases: Sequence[str] | None = None, **_: Any) -> list[CheckMessage]:
    """A decision that was answered 200 must survive a power cut, on a database that can."""
    found: list[CheckMessage] = []
    for alias in databases or ():
        connection = connections[alias]
        if connection.vendor == "sqlite":
            found += _check_sqlite(connection)
        elif connection.vendor == "postgresql":
            found += _check_postgresql(connection)
        else:
            message = f"MGX does not run on {connection.vendor}."
            hint = "Set DATABASE_URL to a PostgreSQL or SQLite database."
            found.append(Error(message, hint=hint, id="mgx.E010"))
    return found


def _check_sqlite(connection: Any) -> Iterable[CheckMessage]:
    if sqlite3.sqlite_version_info < _OLDEST_SQLITE:
        yield Error(
            f"SQLite {sqlite3.sqlite_version} is too old.",
            hint="MGX needs 3.37 or newer (RETURNING, PRAGMA data_version over WAL): use a newer "
            "Python build, or PostgreSQL.",
            id="mgx.E011",
        )
    if connection.settings_dict["OPTIONS"].get("transaction_mode") != "IMMEDIATE":
        yield Error(
            "SQLite's transactions are not immediate.",
            hint='Set OPTIONS["transaction_mode"] = "IMMEDIATE": others fail as soon as two '
            "processes write.",
            id="mgx.E012",
        )
    synchronous = _ask(connection, "PRAGMA synchronous")
    if synchronous is not None and int(synchronous) < 2:
        yield Error(
            "SQLite does not wait for the disk.",
            hint="Set PRAGMA synchronous=FULL in OPTIONS['init_command'].",
            id="mgx.E013",
        )


def _check_postgresql(connection: Any) -> Iterable[CheckMessage]:
    version = _ask(connection, "SHOW server_version_num")
    if version is None:
        yield Error(
            "PostgreSQL cannot be reached.",
            hint="Is it running, and does DATABASE_URL name it with the right user and password?",
            id="mgx.E014",
        )
        return
    if int(version) // 10_000 < _OLDEST_POSTGRESQL:
        yield Error(
            f"PostgreSQL {int(version) // 10_000} is too old.",
            hint=f"MGX needs PostgreSQL {_OLDEST_POSTGRESQL} or newer.",
            id="mgx.E015",
        )
    for setting in ("synchronous_commit", "fsync"):
        if _ask(connection, f"SHOW {setting}") == "off":
            yield Error(
                f"PostgreSQL runs with {setting} = off: it forgets decisions when it crashes.",
                hint=f"Set {setting} = on, in its configuration and for this user and database.",
                id="mgx.E016",
            )


def _ask(connection: Any, statement: str) -> Any:
    """Return the one value that ``statement`` asks for, None where nobody answers."""
    try:
        with connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchone()[0]
    except (DatabaseError, ImproperlyConfigured):
        return None
