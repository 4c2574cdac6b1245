"""Behaviours of malicious servers, and how groups of servers combine them."""
