"""The storage benchmark: times of put and get on the embedded store, an IPFS node and S3."""
