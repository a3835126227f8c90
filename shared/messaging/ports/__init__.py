"""What a broker adapter must provide, one protocol a module; tests/contract holds each to it."""
