"""Helpers that several rooms share. Small and few: a helper lives beside its only user."""
