from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("agents", "0007_when_tool_servers_are_asked")]

    operations = [
        migrations.AddField(
            model_name="agentinstance",
            name="is_silent",
            field=models.BooleanField(db_default=False, default=False, editable=False),
        ),
    ]
