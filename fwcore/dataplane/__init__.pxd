# The data plane: frames go down through one loop that only indexes tables. No Python object stands
# below this line; no packet is judged above it.
#
#   parse -> table (find) -> session (step, or made) -> gate -> pages -> verdict
#                                   clock: due -> script, timers, rounds, timeline
#
# Every struct is said once, in layout.h. Nothing here is built for itself: _fastpath, _capture,
# _columns, _demand and _bare take these functions in.
