"""Creates the skeleton of a new consumer: `shop new`."""
