"""The router: which target serves a request, and what happens when one fails.

Consumes `InferenceRequested` on `inference.<class>`; asks the limiter once, publishes `CallRouted`
per attempt, and tells the door `Accepted`, `Waiting` or `Refused`. Owns a request until an attempt
commits; then it is out of the path.
"""
