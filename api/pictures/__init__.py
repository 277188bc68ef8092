"""A plan as pictures: pure functions from plans to SVG, shared by the pages and `regraft report`.

drawing.py    SVG elements, escaped; numbers and scales
flow.py       the layered picture: who enters where, where they meet, how much goes along
layout.py     where its bars lie
gpus.py       the GPUs as stacked bars of share and memory
closing.py    objective and bound closing in over time
sides.py      strategies side by side
account.py    what the tables beside the pictures say
words.py      reasons and numbers in words

The pictures are drawn here and not in the browser, so that they need no library there (a plotting library is
megabytes), print, work in a file without a service, and look the same everywhere. Colours come from
`pictures.css` by class: no SVG here has a style attribute, which a strict content security policy refuses.
"""
