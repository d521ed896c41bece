"""Networks that no library has as they are, and what fits published weights to those it has."""
