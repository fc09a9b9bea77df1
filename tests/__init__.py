"""The suite. It mirrors tokenhub/, plus contract/ (real clients), chaos/ (kill -9), browser/ and acceptance/."""
