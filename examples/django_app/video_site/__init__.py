"""The project: settings, addresses, and what a server imports."""
