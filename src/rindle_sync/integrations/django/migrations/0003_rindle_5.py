"""The tables of rindle-sync, at its revision rindle_5."""

from django.db import migrations

from rindle_sync.integrations.django.operations import UpgradeTables


class Migration(migrations.Migration):
    """Adds how many calls were made in each hour, of which there is no model."""

    dependencies = [("rindle_sync", "0002_rindle_4")]

    operations = [UpgradeTables("rindle_4", "rindle_5")]
