"""Suites, lanes and the loop in which a policy and a world take turns."""
