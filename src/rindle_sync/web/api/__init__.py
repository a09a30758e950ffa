"""The HTTP API, for apps in any language: what the library does, over JSON, on FastAPI."""
