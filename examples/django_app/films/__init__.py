"""Films that people upload and watch."""
