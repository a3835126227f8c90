"""What has happened: shown, replayed and rebuilt from."""
