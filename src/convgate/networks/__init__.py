"""Networks that a user names: opened, described, prepared for pictures."""
