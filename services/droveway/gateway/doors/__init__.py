"""The doors: ways by which requests come in. HTTP for now; NATS is to stand beside it."""
