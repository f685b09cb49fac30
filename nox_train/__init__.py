"""Synthetic star fields, networks, training and export of nox's models."""
