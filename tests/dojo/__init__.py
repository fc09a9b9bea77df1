"""AgentDojo's suites through the hub's door, with an agent that obeys every injection.

Start at `run.py`. `suites.py` installs and loads AgentDojo, `world.py` is a hub whose commands are a suite's tools,
`agent.py` the agent and the person who answers its questions, `adaptive.py` attackers who know the rules.
"""
