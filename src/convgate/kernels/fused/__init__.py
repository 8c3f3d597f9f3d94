"""The Triton forms. Triton is imported nowhere else, and these modules only when they run."""
