"""The tests: a package, for a library of the environment brings one of that name."""
