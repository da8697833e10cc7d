"""The gateway: the doors through which clients come, and what they are answered.

Takes HTTP requests; authenticates, checks and caps them; publishes `InferenceRequested`, consumes
`Accepted | Waiting | Refused` and the caller's frames; frames server-sent events and errors in the
caller's dialect; records each accepted request in USAGE. Owns open responses and large bodies.
"""
