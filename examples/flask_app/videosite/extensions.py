"""The extensions of the app."""

from rindle_sync.integrations.flask import FlaskRindle

rindle = FlaskRindle()
