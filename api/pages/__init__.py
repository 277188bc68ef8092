"""The service's pages: what a plan does, for who would rather look than read.

site.py        the pages as part of the application
session.py     signing in with a key; the signed cookie; tokens that protect forms
routing.py     what every page has: headers, errors as pages, templates
files.py, assets.py    style sheets, scripts and htmx, from the package's own files
library.py     stored documents, parsed once
signing.py     /sign-in, /sign-out
runs.py        /, /runs: the list, a live run, stop and cancel
plans.py       /plans: the list, a plan, deploying it
comparing.py   /compare: strategies side by side, the difference between two plans
nodes.py       /nodes: what runs, promised beside observed, generations, rolling back
submitting.py  /submit
observing.py   what the gateways have seen
locating.py    the line of a document at which a complaint points

Whatever changes something goes through the functions of `api.endpoints`, in the name of the key that signed
in: pages can do nothing that the API cannot.
"""
