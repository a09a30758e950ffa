"""rindle-sync in a Django project: settings, migrations, models, signals, commands, webhooks.

Add "rindle_sync.integrations.django" to INSTALLED_APPS, and set RINDLE. `rindle` is the service of
this process: it connects with its first call, to the database that Django uses then.
"""

from rindle_sync.integrations.django.process import DjangoRindle, rindle

__all__ = ["DjangoRindle", "rindle"]
