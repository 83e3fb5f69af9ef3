"""The admin API: one file per resource, everything else made from one table of routes (`route.Route`).

The same table routes, checks roles, parses and documents, so the OpenAPI document cannot drift from what is served.
"""
