"""Helpers that several packages share; a helper with one user lies beside that user."""
