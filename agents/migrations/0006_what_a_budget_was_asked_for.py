"""What cut-off attempts may have spent, and which budget was used up when people were asked."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("agents", "0005_memory_past_of_agent")]

    operations = [
        migrations.AddField(
            model_name="agentbudgetanswer",
            name="tokens_budget",
            field=models.BigIntegerField(null=True),
        ),
        migrations.AddField(
            model_name="agentbudgetanswer",
            name="cost_budget_micros",
            field=models.BigIntegerField(null=True),
        ),
        migrations.CreateModel(
            name="AgentLoss",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("lost_at", models.DateTimeField()),
                ("tokens", models.BigIntegerField()),
                ("cost_micros", models.BigIntegerField()),
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
            options={
                "indexes": [models.Index(fields=["workspace", "lost_at"], name="loss_of_workspace")]
            },
        ),
    ]
