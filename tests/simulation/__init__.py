"""Years of a firewall's life in minutes: drawn settings, drawn traffic, drawn deeds.

    seed -> draw.case -> Case --> case.run: engine and twin side by side, compared after each step
                           |        first difference, broken law, crash or hang
                           |          --> shrink.smallest -> a program of a few lines
    seed -> bulk.beside: thousands of packets a step, the twin in a process of its own (elsewhere,
                           story), which may be PyPy's; verdicts, counters and laws after each
    seed -> bulk.run: the engine alone, millions of packets a second, laws after each chunk

Laws: a seed is the whole of a case; nothing reads a clock, so that what failed fails again. Times
jump from 1 ns to 100 years and back; settings come from the whole of their declared ranges;
operators configure, restart and clear at any moment. tools/simulate.py drives it.
"""
