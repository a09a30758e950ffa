"""The settings of a Django project as teams have it; a test gives those that differ as JSON."""

import json
import os
from typing import Any

SECRET_KEY = "of the tests, and long enough that Django says nothing about it: 0123456789"
DEBUG = False
ALLOWED_HOSTS = ["*"]
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "rindle_sync.integrations.django",
    "tests.integrations.django.project.lessons",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.auth.middleware.LoginRequiredMiddleware",
]
LOGIN_URL = "/login"
ROOT_URLCONF = "tests.integrations.django.project.urls"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
DATABASES: dict[str, dict[str, Any]] = {}
RINDLE: dict[str, Any] = {}
MORE_APPS: list[str] = []

globals().update(json.loads(os.environ["PROJECT_SETTINGS"]))
INSTALLED_APPS = [*INSTALLED_APPS, *MORE_APPS]
