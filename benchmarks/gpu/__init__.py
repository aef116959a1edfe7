"""What a few minutes on a GPU have to show: `python -m benchmarks.gpu`.

Read from the top:

    bench.py       what every step is told; a step, its time, and the process that it runs in
    ceilings.py    what the card copies and multiplies, and what a model would take at that speed
    models.py      checkpoints of random weights, and sequences for them
    engines.py     the engine alone
    texts.py       corpora
    busy.py        how busy the card is meanwhile
    commands.py    the commands and the tests as their users run them
    rivals.py      other loops on the same texts
    table.py       a result → markdown
    __main__.py    the steps in their order
"""
