"""Tests that run inside the example's Django project; tests/integrations runs them."""
