"""Ways out of the hub, for what the outbox holds. Never: what is sent, to whom, or whether it may be sent."""
