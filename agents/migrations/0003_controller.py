import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('agents', '0002_memory_counters_and_words'),
        ('workflows', '0006_step_failovers'),
    ]

    operations = [
        migrations.AlterField(
            model_name='agentdefinition',
            name='agent_type',
            field=models.CharField(choices=[('python', 'Python callable'), ('demo', 'Demo'), ('http', 'HTTP service'), ('llm', 'Language model')], max_length=20),
        ),
        migrations.AddField(
            model_name='agentinstance',
            name='faults',
            field=models.PositiveIntegerField(db_default=0, default=0, editable=False),
        ),
        migrations.AddField(
            model_name='agentinstance',
            name='probe_at',
            field=models.DateTimeField(editable=False, null=True),
        ),
        migrations.AddIndex(
            model_name='agentreservation',
            index=models.Index(condition=models.Q(('released_at__isnull', True)), fields=['workspace', 'expires_at'], name='reservation_of_workspace'),
        ),
        migrations.AddIndex(
            model_name='agentreservation',
            index=models.Index(fields=['agent_instance', '-reserved_at'], name='reservation_recent'),
        ),
        migrations.CreateModel(
            name='AgentWait',
            fields=[
                ('id', models.UUIDField(editable=False, primary_key=True, serialize=False)),
                ('agents', models.JSONField(default=list)),
                ('since', models.DateTimeField()),
                ('asked_at', models.DateTimeField()),
                ('workspace', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='+', to='workflows.workspace')),
            ],
        ),
    ]
