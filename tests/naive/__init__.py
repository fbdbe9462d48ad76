"""The naive oracle: the plainest reading of the specification, the definition of right."""

from .drg import NaiveAnswer, NaiveScheme

__all__ = ["NaiveAnswer", "NaiveScheme"]
