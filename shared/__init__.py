"""What the services share: contracts, messaging, storage and the running of a process."""
