from django.db import migrations, models


class Migration(migrations.Migration):
    """Tool servers say when they are to be asked again."""

    dependencies = [("agents", "0006_what_a_budget_was_asked_for")]

    operations = [
        migrations.AddField(
            model_name="toolserver",
            name="due_at",
            field=models.DateTimeField(editable=False, null=True),
        ),
    ]
