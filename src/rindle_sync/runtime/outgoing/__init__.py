"""Tells the endpoints of the app of changes, by signed webhooks."""
