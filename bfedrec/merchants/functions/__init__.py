"""The merchants' functions over HTTP (store, register, collect, aggregate), their authentication
and their client. Imported by the demo, the portal and the command line; holds no merchant's key."""
