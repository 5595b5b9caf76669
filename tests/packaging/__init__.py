"""Wheel and sdist."""
