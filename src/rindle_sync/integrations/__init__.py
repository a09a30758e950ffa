"""One framework each, in a module of its own."""
