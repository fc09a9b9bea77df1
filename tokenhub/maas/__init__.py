"""DELIVER: gateway, routing, deployments, catalogue."""
