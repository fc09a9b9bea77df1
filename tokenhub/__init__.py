"""Token Hub: create, deliver and apply AI tokens on exact books.

The map (imports point upstream, tokens flow downstream, every token passes one door to the ledger):

    cli                     way in for people, scripts and AI: `hub <noun> <verb>`
    app, worker             way in for HTTP and for jobs; bootstrap composes everything
    adapters                third parties, one file a vendor: engines, model sources, providers
    assistant, work, studio APPLY
    agents                  shared agent runtime
    maas                    DELIVER: gateway, routing, deployments, catalogue
    lab                     CREATE
    clearing                the door: authorize / capture / void
    budgets, plans, pricing, metering   what may be spent, what it costs, what was used
    ledger                  accounts, transfers, buckets, leases, journal; knows no models
    commands                the one door for actions
    http, jobs              shared HTTP conventions; durable queue
    identity                orgs, teams, projects, users, keys, principals
    db, config, kernel      database, settings, words without I/O

Start reading at docs/TOUR.md.
"""

__version__ = "0.1.0"
