# Heaps: who is first, among numbers with a time (or any key) of their own.
#
# An indexed binary heap: a number stands in it once, its key may change, ties go to the lower
# number. Sub-queues and links by time, classes by when their colour changes.
#
# Laws: item[0] is the first; at[n] - 1 is where n stands, 0 where it does not. A step is at most
# log2(count) long.

from libc.stdint cimport int64_t, uint32_t

from fwcore.dataplane.shaping cimport SHAPE_NEVER, heap_t


cdef inline int heap_before(const heap_t *h, uint32_t a, uint32_t b) noexcept nogil:
    return h.key[a] < h.key[b] or (h.key[a] == h.key[b] and a < b)


cdef inline void heap_stand(heap_t *h, uint32_t place, uint32_t number) noexcept nogil:
    h.item[place] = number
    h.at[number] = place + 1


cdef inline uint32_t heap_up(heap_t *h, uint32_t place, uint32_t number) noexcept nogil:
    """Makes room for a number at or above a place; where."""
    cdef uint32_t above
    while place:
        above = (place - 1) >> 1
        if not heap_before(h, number, h.item[above]):
            break
        heap_stand(h, place, h.item[above])
        place = above
    return place


cdef inline uint32_t heap_down(heap_t *h, uint32_t place, uint32_t number) noexcept nogil:
    """Makes room for a number at or below a place; where."""
    cdef uint32_t below = 2 * place + 1
    while below < h.count:
        if below + 1 < h.count and heap_before(h, h.item[below + 1], h.item[below]):
            below += 1
        if not heap_before(h, h.item[below], number):
            break
        heap_stand(h, place, h.item[below])
        place = below
        below = 2 * place + 1
    return place


cdef inline void heap_set(heap_t *h, uint32_t number, int64_t key) noexcept nogil:
    """A number has this key from now on."""
    cdef uint32_t place
    if h.at[number] == 0:
        h.at[number] = h.count + 1
        h.count += 1
    elif h.key[number] == key:
        return
    h.key[number] = key
    place = heap_up(h, h.at[number] - 1, number)
    heap_stand(h, heap_down(h, place, number), number)


cdef inline void heap_drop(heap_t *h, uint32_t number) noexcept nogil:
    """A number is in it no longer; it need not have been."""
    cdef uint32_t place, last
    if h.at[number] == 0:
        return
    place = h.at[number] - 1
    h.at[number] = 0
    h.count -= 1
    last = h.item[h.count]
    if last == number:
        return
    place = heap_up(h, place, last)
    heap_stand(h, heap_down(h, place, last), last)


cdef inline int64_t heap_first(const heap_t *h) noexcept nogil:
    """The least key, or NEVER."""
    return h.key[h.item[0]] if h.count else SHAPE_NEVER


cdef inline int64_t heap_second(const heap_t *h) noexcept nogil:
    """The least key but one, or NEVER."""
    cdef int64_t second = h.key[h.item[1]] if h.count > 1 else SHAPE_NEVER
    return h.key[h.item[2]] if h.count > 2 and h.key[h.item[2]] < second else second
