"""The contracts of all events, as tables and documents, and their compatibility check."""
