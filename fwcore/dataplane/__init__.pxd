# The data plane: frames go down through one loop that only indexes tables. No Python object stands
# below this line; no packet is judged above it.
#
#   parse -> table (find) -> session (step, or made) -> gate -> pages -> verdict
#                                   clock: due -> script, timers, rounds, timeline
#
# Every struct is said once, in layout.h. Nothing here is built for itself: the modules above
# (_fastpath, _memory, _capture, _columns, _demand, _bare) take these functions in.
