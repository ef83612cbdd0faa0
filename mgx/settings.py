"""Django settings, all from the environment (``env`` reads and types each one).

``python manage.py check`` names what is missing or unsafe (``mgx/checks.py``).
"""

import sys
from pathlib import Path
from typing import Any

import environ

BASE_DIR = Path(__file__).resolve().parent.parent
env = environ.Env()

#: Where the embedded database and the demo's state live.
MGX_VAR = Path(env.str("MGX_VAR", default=str(BASE_DIR / "var"))).resolve()

DEBUG: bool = env.bool("DEBUG", default=False)
#: The demo writes a random one to ``var/``; production names its own.
SECRET_KEY: str = env.str("SECRET_KEY", default="")
ALLOWED_HOSTS: list[str] = env.list("ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]"])
CSRF_TRUSTED_ORIGINS: list[str] = env.list("CSRF_TRUSTED_ORIGINS", default=[])

if not SECRET_KEY:
    from mgx.secret import local_secret_key

    SECRET_KEY = local_secret_key(MGX_VAR)

INSTALLED_APPS = [
    "mgx",
    "workflows",
    "approvals",
    "agents",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "django_filters",
    "django_htmx",
    "django_q",
    "axes",
    "csp",
]

MIDDLEWARE = [
    "mgx.health.HealthMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "mgx.static_files.StaticFiles",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "workflows.middleware.ReaderTimeZone",
    "axes.middleware.AxesMiddleware",
]

ROOT_URLCONF = "mgx.urls"
ASGI_APPLICATION = "mgx.asgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "workflows.context.navigation",
                "approvals.context.waiting",
            ],
        },
    },
]

# --- database -----------------------------------------------------------------------------

DATABASES: dict[str, Any] = {
    "default": env.db_url("DATABASE_URL", default=f"sqlite:///{MGX_VAR / 'mgx.sqlite3'}")
}
if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    MGX_VAR.mkdir(parents=True, exist_ok=True)
    DATABASES["default"]["ENGINE"] = "workflows.sqlite"
    # A deferred transaction that turns into a writer fails at once when another one writes;
    # an immediate one waits its turn. FULL makes every commit survive a power cut.
    DATABASES["default"]["OPTIONS"] = {
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
        "init_command": (
            "PRAGMA journal_mode=WAL;PRAGMA synchronous=FULL;PRAGMA foreign_keys=ON;"
            "PRAGMA cache_size=-16000;PRAGMA mmap_size=0"
        ),
    }
else:
    DATABASES["default"]["CONN_MAX_AGE"] = env.int("CONN_MAX_AGE", default=60)
    DATABASES["default"]["CONN_HEALTH_CHECKS"] = True
    # Only what asks for it is prepared (workflows/bulk.py), and planned once: what the ORM sends
    # has its values written out, and is hardly ever the same twice.
    DATABASES["default"]["OPTIONS"] = {
        "prepare_threshold": sys.maxsize,
        "options": "-c plan_cache_mode=force_generic_plan -c jit=off",
        **DATABASES["default"].get("OPTIONS", {}),
    }
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

#: Optional: where web processes count the calls of the API together.
REDIS_URL: str = env.str("REDIS_URL", default="")
CACHES: dict[str, Any] = {
    "default": {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": REDIS_URL,
        "KEY_PREFIX": "mgx",
        "OPTIONS": {"socket_connect_timeout": 0.2, "socket_timeout": 0.2},
    }
    if REDIS_URL
    else {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}
}

# --- sign-in ------------------------------------------------------------------------------

AUTH_USER_MODEL = "workflows.User"
AUTHENTICATION_BACKENDS = [
    "axes.backends.AxesStandaloneBackend",
    "django.contrib.auth.backends.ModelBackend",
]
# scrypt (RFC 7914) is memory-hard and checks in about 60 ms, PBKDF2 at its default takes 400.
PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.ScryptPasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "/"
LOGOUT_REDIRECT_URL = "login"
AXES_FAILURE_LIMIT = 10
AXES_COOLOFF_TIME = 0.25  # hours
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_RESET_ON_SUCCESS = True
AXES_VERBOSE = False
AXES_LOCKOUT_TEMPLATE = "registration/locked.html"

# --- transport ----------------------------------------------------------------------------

_https: bool = env.bool("MGX_HTTPS", default=False)
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_SSL_REDIRECT = _https
SECURE_HSTS_SECONDS: int = env.int("SECURE_HSTS_SECONDS", default=31_536_000 if _https else 0)
if _https:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
X_FRAME_OPTIONS = "DENY"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'self'"],
        "img-src": ["'self'", "data:"],
        "connect-src": ["'self'"],
        "object-src": ["'none'"],
        "base-uri": ["'self'"],
        "form-action": ["'self'"],
        "frame-ancestors": ["'none'"],
    }
}
#: Largest request body, in bytes; a longer one is 413.
MGX_MAX_BODY_BYTES: int = env.int("MGX_MAX_BODY_BYTES", default=1_048_576)
DATA_UPLOAD_MAX_MEMORY_SIZE = MGX_MAX_BODY_BYTES
# A draft is one form in the admin, with 16 fields a step.
DATA_UPLOAD_MAX_NUMBER_FIELDS = 100_000

STATIC_URL = "static/"
STATIC_ROOT = MGX_VAR / "static"
STATIC_ROOT.mkdir(parents=True, exist_ok=True)  # WhiteNoise warns where it is missing.
# After ``collectstatic`` names carry a hash of the content and are cached for ever; before it,
# files are served from where they are, under their own names.
_is_collected = (STATIC_ROOT / "staticfiles.json").exists()
WHITENOISE_USE_FINDERS = not _is_collected
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"
        if _is_collected
        else "django.contrib.staticfiles.storage.StaticFilesStorage"
    },
}

LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_I18N = False
USE_TZ = True

EMAIL_CONFIG = env.email_url("EMAIL_URL", default="consolemail://")
vars().update(EMAIL_CONFIG)
EMAIL_TIMEOUT = 10
DEFAULT_FROM_EMAIL: str = env.str("DEFAULT_FROM_EMAIL", default="MGX <mgx@localhost>")
#: Under which people reach the pages from their mail.
MGX_URL: str = env.str("MGX_URL", default="http://127.0.0.1:8000").rstrip("/")

# --- API ----------------------------------------------------------------------------------

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "workflows.api.authentication.TokenAuthentication",
        "workflows.api.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_PARSER_CLASSES": ["workflows.api.parsers.StrictJSONParser"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PAGINATION_CLASS": "workflows.api.pagination.CursorPagination",
    "DEFAULT_FILTER_BACKENDS": ["django_filters.rest_framework.DjangoFilterBackend"],
    "DEFAULT_THROTTLE_CLASSES": ["workflows.api.throttling.CallsPerMinute"],
    "DEFAULT_SCHEMA_CLASS": "workflows.api.openapi.ProblemSchema",
    "EXCEPTION_HANDLER": "mgx.errors.problem_response",
    "UNAUTHENTICATED_USER": "django.contrib.auth.models.AnonymousUser",
}
#: Calls that one user of the API has a minute; 0 for as many as they like.
MGX_API_CALLS_PER_MINUTE: int = env.int("MGX_API_CALLS_PER_MINUTE", default=6_000)
SPECTACULAR_SETTINGS = {
    "TITLE": "MGX",
    "DESCRIPTION": "Workflows of people and agents, with approvals in the loop.",
    "VERSION": "1",
    "SERVE_INCLUDE_SCHEMA": False,
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "COMPONENT_SPLIT_REQUEST": True,
    "ENUM_NAME_OVERRIDES": {
        "ExecutionStatus": "workflows.api.executions.STATUSES",
        "StepStatus": "workflows.api.steps.STATUSES",
        "ApprovalStatus": "approvals.models.ApprovalStatus",
        "AgentStatus": "agents.models.AgentStatus",
        "MessageRole": "agents.models.MessageRole",
        "RoleEnum": "workflows.models.Role",
        "DecisionOutcome": "approvals.models.Outcome",
        "PersonsOutcome": "approvals.api.serializers.PERSONS_OUTCOMES",
    },
}

# --- engine -------------------------------------------------------------------------------

Q_CLUSTER: dict[str, Any] = {
    "name": "mgx",
    "orm": "default",
    "workers": env.int("MGX_WORKERS", default=2),
    "timeout": 300,
    "retry": 360,
    "poll": 0.5,
    "bulk": 1,
    "queue_limit": 2 * env.int("MGX_WORKERS", default=2),
    "save_limit": -1,  # 250, the default, counts the table at every task: six times slower
    "ack_failures": True,
    "max_attempts": 3,
    "catch_up": False,
    "recycle": 100_000,
}

#: Step type → handler; a new step type is one file and one line here (and its model in
#: ``workflows/core/definition.py``).
STEP_HANDLERS = {
    "task": "workflows.handlers.task.TaskHandler",
    "approval": "approvals.gate.ApprovalGate",
    "agent": "agents.step.AgentHandler",
    "wait": "workflows.handlers.wait.WaitGate",
    "workflow": "workflows.handlers.subworkflow.SubWorkflowGate",
}
#: Timer kind → function that fires a list of due ones, inside the engine's transaction.
TIMER_HANDLERS = {
    "approval_auto_approve": "approvals.timers.auto_approve",
    "approval_expiry": "approvals.timers.expire",
    "approval_reminder": "approvals.timers.remind",
    "approval_escalation": "approvals.timers.escalate",
    "approval_grants": "approvals.services.grants.apply_grants",
    "schedule": "workflows.services.schedules.start_due",
    "parent_wake": "workflows.services.subworkflows.wake",
    "step_wake": "workflows.handlers.wait.wake",
}
#: Kind of name in a definition → function that tells which of the names it does not know.
REFERENCE_CHECKS = {
    "agents": "agents.references.check_agents",
    "approvers": "approvals.references.check_approvers",
    "workflows": "workflows.services.subworkflows.check_workflows",
}

#: What is wrong with the form of a gate.
FORM_CHECK = "approvals.forms.check_schema"

#: Step type → function that tells what its open steps wait for (``workflows/services/explain.py``).
STEP_EXPLAINERS = {
    "approval": "approvals.why.explain",
    "agent": "agents.why.explain",
}

#: Step type → function that tells more of a step on its run's page
#: (``workflows/pages/chosen_step.py``).
STEP_TELLERS = {"agent": "agents.pages.step_facts.tell"}

#: Readers of the event stream behind the scenes → what makes rows of events
#: (``workflows/streams.py``).
STREAM_READERS = {
    "webhooks": "workflows.webhooks.reading.EndpointReader",
    "callbacks": "approvals.notifications.callbacks.CallbackReader",
    "notifications": "approvals.notifications.recipients.NotificationReader",
}
#: What is sent → rows that are due, and how they are sent (``workflows/relay.py``).
OUTBOXES = {
    "webhooks": "workflows.webhooks.sending.WebhookOutbox",
    "mail": "approvals.notifications.sending.MailOutbox",
    "tools": "agents.services.tool_reading.ToolReading",
}

#: Seconds without a heartbeat after which a driver's executions go to another one.
MGX_LEASE_SECONDS: float = env.float("MGX_LEASE_SECONDS", default=30.0)
MGX_HEARTBEAT_SECONDS: float = env.float("MGX_HEARTBEAT_SECONDS", default=MGX_LEASE_SECONDS / 3)
#: Executions that one driver holds at once.
MGX_DRIVER_CAPACITY: int = env.int("MGX_DRIVER_CAPACITY", default=2_000)
#: Threads for the synchronous tasks of one driver.
MGX_SYNC_THREADS: int = env.int("MGX_SYNC_THREADS", default=16)
#: Seconds that running steps get to finish when a worker is asked to stop.
MGX_DRAIN_SECONDS: float = env.float("MGX_DRAIN_SECONDS", default=10.0)
#: Seconds for which an async body may hold the loop that runs all bodies, before its worker ends.
MGX_LOOP_SILENCE_SECONDS: float = env.float("MGX_LOOP_SILENCE_SECONDS", default=30.0)
#: Seconds between two looks at SQLite's ``data_version``.
MGX_SQLITE_POLL_SECONDS: float = env.float("MGX_SQLITE_POLL_SECONDS", default=0.02)
#: How often a step whose worker died is tried again before it fails with ``worker_lost``.
MGX_MAX_CRASHES: int = env.int("MGX_MAX_CRASHES", default=5)
#: Faults in a row after which an agent gets no step for ``MGX_AGENT_PROBE_SECONDS``.
MGX_AGENT_FAULTS_UNTIL_OPEN: int = env.int("MGX_AGENT_FAULTS_UNTIL_OPEN", default=3)
MGX_AGENT_PROBE_SECONDS: float = env.float("MGX_AGENT_PROBE_SECONDS", default=30.0)
#: Through how many hands the same context may go among agents.
MGX_MAX_HANDOFF_HOPS: int = env.int("MGX_MAX_HANDOFF_HOPS", default=20)
#: Largest result of one step, in bytes of its canonical JSON.
MGX_MAX_OUTPUT_BYTES: int = env.int("MGX_MAX_OUTPUT_BYTES", default=1_048_576)
#: Largest address space of a task in a process of its own, in MiB; 0 for no limit.
MGX_ISOLATED_MEMORY_MB: int = env.int("MGX_ISOLATED_MEMORY_MB", default=0)
#: Hosts inside (``vault.internal`` or ``10.0.0.5:8200``) that ``http.request`` may call.
MGX_ALLOWED_INTERNAL_HOSTS: list[str] = env.list("MGX_ALLOWED_INTERNAL_HOSTS", default=[])
#: Ports outside that it may call; none named: any.
MGX_HTTP_PORTS: list[int] = env.list("MGX_HTTP_PORTS", cast=int, default=[80, 443, 8080, 8443])
#: Which secrets in the environment agents outside may be sent: ``NAME@host``, ``NAME@host:port``.
MGX_AGENT_SECRETS: list[str] = env.list("MGX_AGENT_SECRETS", default=[])
#: The model that agents of type ``llm`` ask where their config names none: an OpenAI-compatible
#: API, whose key goes to it alone.
LLM_BASE_URL: str = env.str("LLM_BASE_URL", default="")
LLM_API_KEY: str = env.str("LLM_API_KEY", default="")
LLM_MODEL: str = env.str("LLM_MODEL", default="")
#: How many runs may stand above a run that a step started.
MGX_MAX_DEPTH: int = env.int("MGX_MAX_DEPTH", default=10)
MGX_MAX_STEPS: int = env.int("MGX_MAX_STEPS", default=5_000)

#: What one agent remembers at most, and how long, unless it or its definition says otherwise.
MGX_MEMORY_MAX_BYTES: int = env.int("MGX_MEMORY_MAX_BYTES", default=104_857_600)
MGX_MEMORY_MAX_ENTRIES: int = env.int("MGX_MEMORY_MAX_ENTRIES", default=1_000)
MGX_MEMORY_TTL_SECONDS: int = env.int("MGX_MEMORY_TTL_SECONDS", default=86_400)
#: Days for which values are told that agents remembered before; 0: not at all.
MGX_MEMORY_HISTORY_DAYS: int = env.int("MGX_MEMORY_HISTORY_DAYS", default=7)
#: Days for which it is kept what agents were told and said; 0: for ever.
MGX_AGENT_MESSAGE_DAYS: int = env.int("MGX_AGENT_MESSAGE_DAYS", default=30)
#: What one process keeps of agents' memory to answer from, in bytes.
MGX_MEMORY_CACHE_BYTES: int = env.int("MGX_MEMORY_CACHE_BYTES", default=67_108_864)

#: What each engine looks after every few seconds: functions that return how much they changed.
ENGINE_SWEEPS: list[str] = ["agents.services.heartbeats.mark_silent"]

#: What else is deleted every night → function that does it and returns how many there were.
SWEEPS = {
    "messages of agents": "agents.services.messages.prune",
    "entries of agents' memory": "agents.memory.sweeping.sweep",
    "past values of agents' memory": "agents.memory.sweeping.sweep_past",
    "pauses of agents' steps": "agents.services.pauses.forget_memos",
}

#: Days for which ended runs and events are kept where a workspace says nothing else; 0: for ever.
MGX_RETENTION_DAYS: int = env.int("MGX_RETENTION_DAYS", default=0)

# --- watching -----------------------------------------------------------------------------

#: The bearer token of ``/metrics``; where it is empty, only this machine may ask.
MGX_METRICS_TOKEN: str = env.str("MGX_METRICS_TOKEN", default="")

#: Where spans of steps go, if ``requirements-otel.txt`` is installed.
OTEL_EXPORTER_OTLP_ENDPOINT: str = env.str("OTEL_EXPORTER_OTLP_ENDPOINT", default="")

# --- logs ---------------------------------------------------------------------------------

#: ``text`` for people, ``json`` for programs: one object a line.
LOG_FORMAT: str = env.str("LOG_FORMAT", default="text")
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "text": {"()": "workflows.logs.TextFormatter"},
        "json": {"()": "workflows.logs.JsonFormatter"},
    },
    "filters": {
        "step": {"()": "workflows.logs.StepContextFilter"},
        "links": {"()": "approvals.logs.HideLinks"},
    },
    "handlers": {
        "stderr": {
            "class": "logging.StreamHandler",
            "formatter": LOG_FORMAT,
            "filters": ["step"],
        }
    },
    "root": {"handlers": ["stderr"], "level": env.str("LOG_LEVEL", default="INFO")},
    "loggers": {
        "django-q": {"level": "WARNING"},
        "django.request": {"filters": ["links"]},
        "django.security.csrf": {"filters": ["links"]},
        # It tells of every request with the whole address, which may hold a secret.
        "httpx": {"level": "WARNING"},
        "uvicorn.access": {"level": "WARNING"},
    },
}
