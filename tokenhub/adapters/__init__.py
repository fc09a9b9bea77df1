"""Third parties, one file a vendor."""
