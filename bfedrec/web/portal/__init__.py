"""The merchants' portal: log-in, personal page, recommendations, contribution, record."""
