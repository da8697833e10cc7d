"""The caller: one upstream attempt, from dispatch to the last token.

Consumes `CallRouted` on `dispatch.<pool>`; tells the router `Started | Busy`, then `AttemptFailed |
Committed`; relays frames to the door; records the attempt in USAGE. Owns upstream connections,
resend buffers and provider credentials: no other service sees a secret of a provider.
"""
