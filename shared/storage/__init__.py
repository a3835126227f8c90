"""A service's database: transactions, tables, inbox, outbox and migrations."""
