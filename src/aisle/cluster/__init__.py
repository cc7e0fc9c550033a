"""State that every process and node must agree on."""
