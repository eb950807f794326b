"""What people look at: summary, page, picture, comparison, explanation - all from results.

Nothing here asks a live engine for anything; a saved result shows the same as a fresh one.
Modules are imported by the command that needs them, never from here.
"""
