# The inspector's side of the loop: the first bytes of a session's run, and whom to ask when.
#
# Overview: object_step hands over what joins a run (inspector_gather), and says when it is over
# (inspector_ask). The row is then one of the questions; the session leaves the proxy, and its pages
# go. A packet of a session that waits for its answer is not judged before that came: the loop stops
# in front of it (inspector_look), and whoever runs it asks for all that wait.
#
# Laws: an answer touches nothing but its own session, and no packet of that has been judged since
# the question: so nothing depends on when, or together with whom, it is given. Questions stand in
# the order of the packets that brought them. A row is free, gathered, or a question.

from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memcpy

from fwcore.dataplane.frame cimport frame_t, parser_t
from fwcore.dataplane.layout cimport (
    ASKED_NOT, ASKED_WAITS, BLOCKED, DIRTY_GAUGES, EXPOSURE_INSPECTOR, NIL, QUESTIONS_MAX,
    SESSION_PROXIED, ANSWER_BLOCK, ANSWER_BYPASS, fw_t, inspector_t, packet_t, question_t, record_t,
)
from fwcore.dataplane.parse cimport parse_any
from fwcore.dataplane.pages cimport pages_release_buffers
from fwcore.dataplane.rows cimport rows_find
from fwcore.dataplane.session cimport object_end, session_hash, session_row
from fwcore.dataplane.table cimport table_find, table_same


cdef inline question_t *question_at(const inspector_t *inspector, uint32_t place) noexcept nogil:
    return <question_t *>(inspector.rows + place * inspector.stride)


cdef inline void question_free(inspector_t *inspector, uint32_t place) noexcept nogil:
    question_at(inspector, place).next = inspector.free
    inspector.free = place


cdef inline int inspector_look(
    void *of, const packet_t *p, const uint8_t *data, uint32_t captured, uint32_t wire,
    uint32_t link, const void *parser,
) noexcept nogil:
    """Notes the frame; 1: it has to wait: for an answer, or for a free row.

    Of what is no plain packet nobody knows yet whose it is: it waits for all answers.
    """
    cdef fw_t *fw = <fw_t *>of
    cdef inspector_t *inspector = fw.inspector
    cdef uint32_t record = p.guess
    inspector.data = data
    inspector.captured = captured
    inspector.wire = wire
    inspector.link = link
    inspector.parser = parser
    if inspector.free == NIL or inspector.waiting == QUESTIONS_MAX:
        return 1
    if inspector.waiting == 0:
        return 0
    if p.kind | p.fragment:  # KIND_KEYED is 0
        return 1
    if not table_same(&fw.table.records[record], &p.key):
        record = table_find(&fw.table, &p.key, p.hash, p.bucket)
    return record != NIL and fw.table.records[record].asked == ASKED_WAITS


cdef inline void inspector_ask(void *of, uint32_t record) noexcept nogil:
    """The run's first bytes are there, or it is over. => some of it was gathered"""
    cdef fw_t *fw = <fw_t *>of
    cdef inspector_t *inspector = fw.inspector
    cdef record_t *r = &fw.table.records[record]
    cdef uint32_t place = r.question - 1
    cdef question_t *question = question_at(inspector, place)
    session_row(fw, record, 255, session_hash(&fw.control, r), &question.session)
    question.packet = fw.packet
    question.seen = r.object_bytes
    question.reply = r.object_direction
    inspector.questions[inspector.waiting] = place
    inspector.waiting += 1
    r.question = 0
    r.asked = ASKED_WAITS
    object_end(&fw.memory, &fw.control, r)
    pages_release_buffers(&fw.memory, &fw.control, fw.control.config.proxy_session_pages)
    r.flags &= ~SESSION_PROXIED
    fw.memory.proxy_sessions -= 1
    fw.memory.dirty = DIRTY_GAUGES


cdef inline void question_join(
    inspector_t *inspector, question_t *question, uint32_t payload,
) noexcept nogil:
    """Payload of the frame being judged: the last bytes of its IP packet."""
    cdef frame_t f
    cdef packet_t p
    cdef uint32_t captured = inspector.captured
    cdef uint32_t room = inspector.first_bytes - question.size
    cdef uint32_t begin, have = 0
    if captured > inspector.wire:
        captured = inspector.wire
    parse_any(inspector.data, captured, inspector.wire, inspector.link,
              <const parser_t *>inspector.parser, &f, &p)
    begin = f.limit - payload
    if captured > begin:
        have = captured - begin if captured - begin < payload else payload
    question.gap = have < payload
    if have > room:
        have = room
    memcpy(<uint8_t *>question + sizeof(question_t) + question.size, f.data + begin, have)
    question.size += have


cdef inline void inspector_gather(void *of, uint32_t record, uint32_t payload) noexcept nogil:
    """Payload that has joined the run. => a row is free, see inspector_look"""
    cdef fw_t *fw = <fw_t *>of
    cdef inspector_t *inspector = fw.inspector
    cdef record_t *r = &fw.table.records[record]
    cdef question_t *question
    if r.question == 0:
        r.question = inspector.free + 1
        inspector.free = question_at(inspector, inspector.free).next
    question = question_at(inspector, r.question - 1)
    if r.object_bytes == payload:  # the run begins
        question.size = question.gap = 0
    if not question.gap and question.size < inspector.first_bytes:
        question_join(inspector, question, payload)
    if r.object_bytes >= inspector.first_bytes:
        inspector_ask(fw, record)


cdef inline void inspector_forget(void *of, uint32_t record) noexcept nogil:
    """A session ends before anybody was asked. => it has a row"""
    cdef fw_t *fw = <fw_t *>of
    question_free(fw.inspector, fw.table.records[record].question - 1)
    fw.table.records[record].question = 0


cdef inline void inspector_answer(fw_t *fw, uint32_t place, int answer) noexcept nogil:
    """What becomes of the session, if it lives still; its row is free."""
    cdef const question_t *question = question_at(fw.inspector, place)
    cdef uint32_t record = rows_find(&fw.table, &fw.control, question.session.flow)
    cdef record_t *r
    question_free(fw.inspector, place)
    if record == NIL:
        return
    r = &fw.table.records[record]
    if r.created_packet != question.session.created_packet:
        return
    r.asked = ASKED_NOT
    if answer == ANSWER_BLOCK:
        r.bypass = BLOCKED
    elif answer == ANSWER_BYPASS:
        r.bypass = 1 + EXPOSURE_INSPECTOR
