#!/usr/bin/env python
"""Django's commands, and rindle-sync's as `manage.py rindle …`."""

import os
import sys

from django.core.management import execute_from_command_line

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "video_site.settings")
    execute_from_command_line(sys.argv)
