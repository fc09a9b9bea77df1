"""Usage events: what each request used."""
