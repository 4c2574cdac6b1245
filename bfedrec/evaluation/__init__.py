"""How a model is scored: ranking, metrics and statistics over seeds."""
