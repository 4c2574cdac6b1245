"""The merchants' system: shop events, the model that shops train on them and share, and its
evaluation. Imported by the tables, the command line and the portal, by nothing that learns or
votes."""
