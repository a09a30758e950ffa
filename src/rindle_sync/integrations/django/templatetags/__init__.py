"""Template tags: `{% load rindle %}`."""
