"""Who is who: organisations, teams, projects, users, service accounts, API keys, principals."""
