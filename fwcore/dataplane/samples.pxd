# Links, classes and meters over time: a row of words wherever the timeline takes a sample.
#
#     time, ns | links: bytes that left, ns that the line was taken, most queued bytes
#              | classes: packets that left, dropped ones, most waiting bytes, longest delay in ns
#              | meters: packets that passed, dropped ones
#
# Overview: sums are since the start; what is most or longest is since the row before, so that no
# short crest is lost between two rows. A full buffer keeps each second row, with what was most of
# both, and from then on half as many.
#
# Law: it is looked at and never looks: no verdict depends on it.

from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memcpy

from fwcore.dataplane.shaping cimport (
    DROP_COUNT, SAMPLE_CLASS, SAMPLE_LINK, SAMPLE_METER, SHAPE_NIL, class_t, link_t, samples_t,
    shaper_t,
)


cdef inline uint64_t samples_width(
    uint64_t links, uint64_t classes, uint64_t meters,
) noexcept nogil:
    """Words of a row."""
    return 1 + links * SAMPLE_LINK + classes * SAMPLE_CLASS + meters * SAMPLE_METER


cdef inline void most_of(uint64_t *into, uint64_t other) noexcept nogil:
    if other > into[0]:
        into[0] = other


cdef inline void samples_merge(
    const shaper_t *s, const uint64_t *before, uint64_t *row,
) noexcept nogil:
    """What was most in the row before is in this one, too. Bounded by its words."""
    cdef uint64_t at = 1
    cdef uint32_t _i
    for _i in range(s.links_count):
        most_of(&row[at + 2], before[at + 2])
        at += SAMPLE_LINK
    for _i in range(s.classes_count):
        most_of(&row[at + 2], before[at + 2])
        most_of(&row[at + 3], before[at + 3])
        at += SAMPLE_CLASS


cdef inline void samples_halve(shaper_t *s) noexcept nogil:
    """Keeps each second row, the last one among them. => there are two at least"""
    cdef samples_t *all_ = &s.samples
    cdef uint64_t kept = 0, at = 1 - (all_.fill & 1)
    while at < all_.fill:
        if at:
            samples_merge(s, all_.rows + (at - 1) * all_.width, all_.rows + at * all_.width)
        if kept != at:
            memcpy(all_.rows + kept * all_.width, all_.rows + at * all_.width,
                   all_.width * sizeof(uint64_t))
        kept += 1
        at += 2
    all_.fill = kept
    all_.every *= 2


cdef inline uint64_t class_lost(const class_t *c) noexcept nogil:
    """Packets that a class dropped, in whatever way."""
    cdef uint64_t lost = 0
    cdef int k
    for k in range(DROP_COUNT):
        lost += c.dropped[k]
    return lost


cdef inline void samples_write(shaper_t *s, int64_t now, uint64_t *row) noexcept nogil:
    """One row; what is most begins anew."""
    cdef uint64_t at = 1
    cdef uint32_t i
    cdef link_t *link
    cdef class_t *c
    row[0] = <uint64_t>now
    for i in range(s.links_count):
        link = &s.links[i]
        row[at] = link.bytes
        row[at + 1] = link.taken_ns
        if link.line != SHAPE_NIL and now > link.start_ns:
            row[at + 1] += <uint64_t>(now - link.start_ns)
        row[at + 2] = link.crest
        link.crest = link.queued_bytes
        at += SAMPLE_LINK
    for i in range(s.classes_count):
        c = &s.classes[i]
        row[at], row[at + 1], row[at + 2] = c.sent[0], class_lost(c), c.crest
        row[at + 3] = c.slowest
        c.crest, c.slowest = c.waiting_bytes, 0
        at += SAMPLE_CLASS
    for i in range(s.meters_count):
        row[at], row[at + 1] = s.meters[i].passed[0], s.meters[i].dropped[0]
        at += SAMPLE_METER


cdef inline void samples_take(shaper_t *s, int64_t now, int asked) noexcept nogil:
    """A row as of now, if it is one's turn or somebody asked. => what is due has happened"""
    cdef samples_t *all_ = &s.samples
    cdef uint64_t *row
    cdef int again
    all_.passed += 1
    if not asked and all_.passed < all_.every:
        return
    all_.passed = 0
    again = all_.fill > 0 and all_.rows[(all_.fill - 1) * all_.width] == <uint64_t>now
    if not again and all_.fill == all_.room:
        samples_halve(s)
    row = all_.rows + all_.fill * all_.width  # there is one more than is kept
    samples_write(s, now, row)
    if again:
        samples_merge(s, row - all_.width, row)
        memcpy(row - all_.width, row, all_.width * sizeof(uint64_t))
    else:
        all_.fill += 1
