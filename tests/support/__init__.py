"""What tests share: a service as small as one can be."""
