"""What an agent's memory comes to, and the words that its entries are found by.

The index over the words is each database's own. On SQLite it is a table of FTS5 that follows
the table of words by triggers: whoever has that one made anew has to make them again.
"""

from typing import Any

import django.db.models.deletion
from django.db import migrations, models

_ON_POSTGRESQL = [
    "CREATE INDEX memory_by_words ON agents_agentmemorytext"
    " USING gin (array_to_tsvector(string_to_array(words, ' ')))"
]
_FORGET = (
    "INSERT INTO agents_memorysearch (agents_memorysearch, rowid, words)"
    " VALUES ('delete', old.id, old.words);"
)
_LEARN = "INSERT INTO agents_memorysearch (rowid, words) VALUES (new.id, new.words);"
_ON_SQLITE = [
    "CREATE VIRTUAL TABLE agents_memorysearch USING fts5(words, content='agents_agentmemorytext',"
    " content_rowid='id', tokenize='unicode61 remove_diacritics 0')",
    f"CREATE TRIGGER memory_words_new AFTER INSERT ON agents_agentmemorytext BEGIN {_LEARN} END",
    f"CREATE TRIGGER memory_words_gone AFTER DELETE ON agents_agentmemorytext BEGIN {_FORGET} END",
    "CREATE TRIGGER memory_words_changed AFTER UPDATE ON agents_agentmemorytext"
    f" BEGIN {_FORGET} {_LEARN} END",
]


def index_words(apps: Any, schema_editor: Any) -> None:
    is_postgresql = schema_editor.connection.vendor == "postgresql"
    for statement in _ON_POSTGRESQL if is_postgresql else _ON_SQLITE:
        schema_editor.execute(statement)


def drop_index(apps: Any, schema_editor: Any) -> None:
    # The index of PostgreSQL and the triggers go with the table of words.
    if schema_editor.connection.vendor != "postgresql":
        schema_editor.execute("DROP TABLE agents_memorysearch")


class Migration(migrations.Migration):
    dependencies = [
        ("agents", "0001_agents_reservations_memory"),
        ("workflows", "0001_tenants_workflows_executions_events"),
    ]

    operations = [
        migrations.RemoveIndex(model_name="agentmemoryentry", name="memory_expiry"),
        migrations.AddIndex(
            model_name="agentmemoryentry",
            index=models.Index(fields=["agent_instance", "updated_at"], name="memory_by_age"),
        ),
        migrations.AddIndex(
            model_name="agentmemoryentry",
            index=models.Index(fields=["agent_instance", "expires_at"], name="memory_by_expiry"),
        ),
        migrations.CreateModel(
            name="AgentMemory",
            fields=[
                (
                    "agent_instance",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="+",
                        serialize=False,
                        to="agents.agentinstance",
                    ),
                ),
                ("version", models.BigIntegerField(default=0)),
                ("total_entries", models.BigIntegerField(default=0)),
                ("total_size_bytes", models.BigIntegerField(default=0)),
                ("evictions", models.BigIntegerField(default=0)),
                ("hits", models.BigIntegerField(default=0)),
                ("misses", models.BigIntegerField(default=0)),
                (
                    "workspace",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="workflows.workspace",
                    ),
                ),
            ],
            options={"verbose_name_plural": "agent memories"},
        ),
        migrations.CreateModel(
            name="AgentMemoryText",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("words", models.TextField()),
                (
                    "entry",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="agents.agentmemoryentry",
                    ),
                ),
            ],
        ),
        migrations.RunPython(index_words, drop_index),
    ]
