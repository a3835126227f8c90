"""The catalog of all events as tables and documents, and the check of their contracts."""
