"""`regraft bench`: a plan's promises against what happens when it is really served.

command.py      the command and its flow
driving.py      when every fragment's requests are sent, and sending them
comparing.py    observed beside simulated beside planned, fragment by fragment and stage by stage
chance.py       what chance leaves open of an observed quantile
quiet.py        how much others used the machine meanwhile
speed.py        how fast the processor was meanwhile
report.py       what is shown
"""
