"""`regraft demo`: the main job, end to end, as a user of the system would do it.

command.py    the command and its flow
fleet.py      the phones: which models, how many, how often
system.py     service, agent and gateway as processes; plans, deployment and load through their interfaces
report.py     what is shown, and whether the promises were kept
"""
