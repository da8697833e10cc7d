"""The doors: ways by which requests come in, HTTP and the bus; what they share is in `chat`."""
