"""What updates reveal, and what protects them. It imports neither runs nor federation."""
