"""Attention into any backbone, without changing what it computes or what its weights are called."""

from convgate.insert.identity import IdentityStart, start_as_identity

__all__ = ["IdentityStart", "start_as_identity"]
