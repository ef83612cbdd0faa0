from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('workflows', '0005_webhooks'),
    ]

    operations = [
        migrations.AddField(
            model_name='workflowstepexecution',
            name='failovers',
            field=models.PositiveIntegerField(db_default=0, default=0),
        ),
    ]
