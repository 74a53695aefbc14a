"""Policies that steer the development of world models: of many kinds, unlike those that ship, and never shipped."""
