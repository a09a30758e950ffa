"""What the app does when a video changes."""
