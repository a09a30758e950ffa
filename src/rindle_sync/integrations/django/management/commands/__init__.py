"""The commands of the Django app."""
