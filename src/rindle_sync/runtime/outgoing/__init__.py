"""Tells the endpoints of the app's of changes, by signed webhooks."""
