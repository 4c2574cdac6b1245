"""Behaviours of malicious servers, how groups of servers combine them, and the strategies of an
adversary that looks on."""
