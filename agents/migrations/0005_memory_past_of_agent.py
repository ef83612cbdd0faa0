"""What the past of each agent's memory takes, and its oldest values found."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("agents", "0004_work_spending_and_past_memory")]

    operations = [
        migrations.AddField(
            model_name="agentmemory",
            name="past_size_bytes",
            field=models.BigIntegerField(db_default=0, default=0),
        ),
        migrations.RemoveIndex(model_name="agentmemorypast", name="memory_past_by_age"),
        migrations.AddIndex(
            model_name="agentmemorypast",
            index=models.Index(fields=["agent_instance", "ended_at"], name="memory_past_of_agent"),
        ),
    ]
