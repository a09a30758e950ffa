"""The tables of rindle-sync, at its revision rindle_4."""

from django.db import migrations, models

from rindle_sync.integrations.django.operations import UpgradeTables


class Migration(migrations.Migration):
    """Adds the feed of changes, outgoing webhooks, and what the HTTP API keeps."""

    dependencies = [("rindle_sync", "0001_rindle_3")]

    operations = [
        UpgradeTables("rindle_3", "rindle_4"),
        migrations.AddField(
            model_name="assetchange",
            name="position",
            field=models.BigIntegerField(
                editable=False, null=True, verbose_name="place in the feed"
            ),
        ),
    ]
