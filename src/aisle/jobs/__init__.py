"""Long work that survives restarts."""
