"""Policies: adapters that turn a checkpoint, a server or a function into something that acts."""
