"""Searches: which gate pays in which stage of a network, within a latency budget."""

from convgate.searches.bench import Timing
from convgate.searches.result import SearchResult
from convgate.searches.run import search

__all__ = ["SearchResult", "Timing", "search"]
