"""What a WSGI server imports: `gunicorn video_site.wsgi`."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "video_site.settings")
application = get_wsgi_application()
