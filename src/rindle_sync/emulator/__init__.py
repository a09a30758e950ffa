"""A fake Mux for tests and the demo; imports nothing of ours."""
