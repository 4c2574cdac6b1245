"""Evaluation of models: ranking, metrics, and statistics over seeds and over users."""
