/* TCP: classes of flags, places, and the tables from (place, direction, class) to place.
 *
 * Every cell is written, and every row has its reason. Linux's are tcp_conntracks of
 * nf_conntrack_proto_tcp.c with the rules beside it; FIN is FIN+ACK. There is no window check.
 */
#ifndef FWCORE_TCP_H
#define FWCORE_TCP_H

/* Classes of TCP flags; RST before SYN before FIN before ACK, as Linux conntrack orders them. */
#define FW_CLASSES(X, p) X(p, SYN) X(p, SYNACK) X(p, FIN) X(p, ACK) X(p, RST) X(p, NONE)
enum { FW_CLASSES(FW_AS_ENUM, CLASS_) CLASS_COUNT, CLASS_ROOM = 8 }; /* room: shifts, no products */
enum { FORWARD_DIRECTION, REPLY_DIRECTION, DIRECTION_COUNT };

/* Who tracks: fwcore's own table, or what Linux 6.18 does (nf_conntrack_proto_*.c). */
#define FW_TRACKERS(X, p) X(p, PLAIN) X(p, LINUX)
enum { FW_TRACKERS(FW_AS_ENUM, TRACKER_) TRACKER_COUNT };
static const char *const TRACKER_NAMES[] = {FW_TRACKERS(FW_AS_NAME, )};

/* FIN 1, SYN 2, RST 4, PSH 8, ACK 16, URG 32 -> class, by tracker. Eight flag sets a row: none, F,
 * S, SF, R, RF, SR, SFR; PSH makes no difference. Linux: tcp_valid_flags, the rest is NONE. */
#define FW_F(name) CLASS_##name
#define FW_NO_ACK FW_F(NONE), FW_F(FIN), FW_F(SYN), FW_F(SYN), FW_F(RST), FW_F(RST), FW_F(RST), \
    FW_F(RST)
#define FW_ACK FW_F(ACK), FW_F(FIN), FW_F(SYNACK), FW_F(SYNACK), FW_F(RST), FW_F(RST), FW_F(RST), \
    FW_F(RST)
#define FW_NOT FW_F(NONE), FW_F(NONE), FW_F(NONE)
#define FW_L_NO_ACK FW_F(NONE), FW_F(NONE), FW_F(SYN), FW_F(NONE), FW_F(RST), FW_NOT
#define FW_L_ACK FW_F(ACK), FW_F(FIN), FW_F(SYNACK), FW_F(NONE), FW_F(RST), FW_NOT
#define FW_L_URG FW_F(NONE), FW_F(NONE), FW_F(SYN), FW_F(NONE), FW_F(NONE), FW_NOT
#define FW_L_URG_ACK FW_F(ACK), FW_F(FIN), FW_F(NONE), FW_F(NONE), FW_F(NONE), FW_NOT
static const uint8_t FLAG_CLASS[TRACKER_COUNT][64] = {
    {FW_NO_ACK, FW_NO_ACK, FW_ACK, FW_ACK, FW_NO_ACK, FW_NO_ACK, FW_ACK, FW_ACK},
    {FW_L_NO_ACK, FW_L_NO_ACK, FW_L_ACK, FW_L_ACK,
     FW_L_URG, FW_L_URG, FW_L_URG_ACK, FW_L_URG_ACK},
};
#undef FW_F
#undef FW_NO_ACK
#undef FW_ACK
#undef FW_NOT
#undef FW_L_NO_ACK
#undef FW_L_ACK
#undef FW_L_URG
#undef FW_L_URG_ACK

/* Which timeout runs: by TCP state, or by protocol. */
#define FW_TIMEOUTS(X, p)                                                                       \
    X(p, TCP) X(p, TCP_HALFOPEN) X(p, TCP_HALFCLOSE) X(p, TCP_TIMEWAIT) X(p, TCP_RST)           \
    X(p, UDP) X(p, ICMP) X(p, OTHER) X(p, TCP_SYNRECV) X(p, TCP_CLOSEWAIT) X(p, TCP_LASTACK)    \
    X(p, TCP_UNANSWERED) X(p, UDP_STREAM) X(p, GRE) X(p, GRE_STREAM)
enum { FW_TIMEOUTS(FW_AS_ENUM, TIMEOUT_) TIMEOUT_COUNT };
static const char *const TIMEOUT_NAMES[] = {FW_TIMEOUTS(FW_AS_NAME, )};

/* A place in a TCP table: X(p, name, state, timeout). Plain's places are its states. In Linux's,
 * which begin with L_, a place is a state and what its rules remember of the past:
 *   _HEARD   an ACK of the responder was ignored: SYN again restarts the timer
 *   _BOTH    SYN from both sides: the responder's ACK establishes
 *   _SYN     the last packet was a SYN of the initiator that was ignored: the responder's SYN+ACK
 *            shows that both ends are in step, and leads to SYN_RECV
 *   _TOLD    the same, after the responder answered that SYN with an ACK (RFC 5961)
 *   _RST     the last packet was the initiator's RST: its SYN makes the session anew
 *   _FIN     a FIN had been seen: likewise */
#define FW_PLACES(X, p)                                                                         \
    X(p, NONE, NONE, OTHER) X(p, SYN_SENT, SYN_SENT, TCP_HALFOPEN)                              \
    X(p, SYN_RECV, SYN_RECV, TCP_HALFOPEN) X(p, ESTABLISHED, ESTABLISHED, TCP)                  \
    X(p, FIN_WAIT, FIN_WAIT, TCP_HALFCLOSE) X(p, FIN_WAIT_REPLY, FIN_WAIT_REPLY, TCP_HALFCLOSE) \
    X(p, TIME_WAIT, TIME_WAIT, TCP_TIMEWAIT) X(p, CLOSED, CLOSED, TCP_RST)                      \
    X(p, L_SYN_SENT, SYN_SENT, TCP_HALFOPEN) X(p, L_SYN_SENT_HEARD, SYN_SENT, TCP_HALFOPEN)     \
    X(p, L_SYN_SENT2, SYN_SENT2, TCP_HALFOPEN) X(p, L_SYN_RECV, SYN_RECV, TCP_SYNRECV)          \
    X(p, L_SYN_RECV_BOTH, SYN_RECV, TCP_SYNRECV) X(p, L_SYN_RECV_SYN, SYN_RECV, TCP_SYNRECV)    \
    X(p, L_ESTABLISHED, ESTABLISHED, TCP) X(p, L_ESTABLISHED_SYN, ESTABLISHED, TCP)             \
    X(p, L_FIN_WAIT, FIN_WAIT, TCP_HALFCLOSE) X(p, L_FIN_WAIT_SYN, FIN_WAIT, TCP_HALFCLOSE)     \
    X(p, L_CLOSE_WAIT, CLOSE_WAIT, TCP_CLOSEWAIT)                                               \
    X(p, L_CLOSE_WAIT_SYN, CLOSE_WAIT, TCP_CLOSEWAIT)                                           \
    X(p, L_LAST_ACK, LAST_ACK, TCP_LASTACK) X(p, L_LAST_ACK_SYN, LAST_ACK, TCP_LASTACK)         \
    X(p, L_LAST_ACK_TOLD, LAST_ACK, TCP_LASTACK) X(p, L_TIME_WAIT, TIME_WAIT, TCP_TIMEWAIT)     \
    X(p, L_CLOSED, CLOSED, TCP_RST) X(p, L_CLOSED_SYN, CLOSED, TCP_RST)                         \
    X(p, L_CLOSED_RST, CLOSED, TCP_RST) X(p, L_CLOSED_FIN, CLOSED, TCP_RST)
#define FW_PLACE_ENUM(p, name, state, timeout) PLACE_##name,
#define FW_PLACE_NAME(p, name, state, timeout) #name,
#define FW_PLACE_STATE(p, name, state, timeout) STATE_##state,
#define FW_PLACE_TIMEOUT(p, name, state, timeout) TIMEOUT_##timeout,
enum { FW_PLACES(FW_PLACE_ENUM, ) PLACE_COUNT };
static const char *const PLACE_NAMES[] = {FW_PLACES(FW_PLACE_NAME, )};
static const uint8_t PLACE_STATE[PLACE_COUNT] = {FW_PLACES(FW_PLACE_STATE, )};
static const uint8_t PLACE_TIMEOUT[PLACE_COUNT] = {FW_PLACES(FW_PLACE_TIMEOUT, )};

/* What a cell may say instead of a place. */
enum {
    TCP_IGNORED = 128,  /* a bit: to that place, but the timer is not restarted */
    TCP_AGAIN = 254,    /* a SYN that makes the session anew */
    TCP_ILLEGAL = 255,  /* invalid; changes nothing */
};
_Static_assert((int)PLACE_COUNT < TCP_IGNORED, "places and what is none");

/* A cell is a place, or
 *   xx  invalid; changes nothing         nn  a SYN that makes the session anew
 *   i() to that place, but ignored: the timer is not restarted */
#define xx TCP_ILLEGAL
#define nn TCP_AGAIN
#define i(place) (TCP_IGNORED | (place))
#define ini FORWARD_DIRECTION /* the initiator's packet, the responder's */
#define res REPLY_DIRECTION
#define ROW(place, direction, ...) [PLACE_##place][direction] = {__VA_ARGS__},

/* Plain:  S SYN_SENT  R SYN_RECV  E ESTABLISHED  T TIME_WAIT  C CLOSED. FIN_WAIT is two, by whose
 * FIN was seen: F the initiator's, G the responder's, so that one repeated is not the other's. */
#define S PLACE_SYN_SENT
#define R PLACE_SYN_RECV
#define E PLACE_ESTABLISHED
#define F PLACE_FIN_WAIT
#define G PLACE_FIN_WAIT_REPLY
#define T PLACE_TIME_WAIT
#define C PLACE_CLOSED

/* (tracker, direction, class) -> place of a new session, whose first packet may be the responder's:
 * a SYN+ACK, or mid-stream. Linux: only SYN and ACK open. */
static const uint8_t TCP_FIRST[TRACKER_COUNT][DIRECTION_COUNT][CLASS_COUNT] = {
    /*                                SYN SA  FIN ACK RST NONE */
    [TRACKER_PLAIN][FORWARD_DIRECTION] =  {  S, xx,  F,  E,  C,  E},
    [TRACKER_PLAIN][REPLY_DIRECTION] =    { xx,  R,  G,  E,  C,  E},
    [TRACKER_LINUX][FORWARD_DIRECTION] =  {PLACE_L_SYN_SENT, xx, xx, PLACE_L_ESTABLISHED, xx, xx},
    [TRACKER_LINUX][REPLY_DIRECTION] =    {xx, xx, xx, PLACE_L_ESTABLISHED, xx, xx},
};

/* (place, direction, class) -> place. NONE is the place of what is not TCP, and stays: 0, and so is
 * what stands beyond the classes. */
static const uint8_t TCP_STEP[PLACE_COUNT][DIRECTION_COUNT][CLASS_ROOM] = {
    ROW(NONE, ini, PLACE_NONE)
    ROW(NONE, res, PLACE_NONE)
    /*                       SYN  SA FIN ACK RST NONE */
    ROW(SYN_SENT, ini,         S, xx, xx, xx,  C, xx) /* a SYN again; no more before an answer */
    ROW(SYN_SENT, res,         R,  R, xx, xx,  C, xx) /* SYN+ACK, or SYN from both sides */
    ROW(SYN_RECV, ini,         R,  R,  F,  E,  C, xx) /* its ACK establishes, or its FIN */
    ROW(SYN_RECV, res,         R,  R,  G,  R,  C, xx) /* the SYN+ACK again; its ACK says nothing */
    ROW(ESTABLISHED, ini,     xx, xx,  F,  E,  C, xx) /* a SYN has no place here */
    ROW(ESTABLISHED, res,     xx,  E,  G,  E,  C, xx) /* the SYN+ACK again, if the ACK was lost */
    ROW(FIN_WAIT, ini,        xx, xx,  F,  F,  C, xx) /* its FIN again does not close */
    ROW(FIN_WAIT, res,        xx, xx,  T,  F,  C, xx) /* the other side's FIN does */
    ROW(FIN_WAIT_REPLY, ini,  xx, xx,  T,  G,  C, xx) /* the other side's FIN closes */
    ROW(FIN_WAIT_REPLY, res,  xx, xx,  G,  G,  C, xx) /* its own FIN again does not */
    ROW(TIME_WAIT, ini,       nn, xx,  T,  T,  C, xx) /* a SYN begins anew */
    ROW(TIME_WAIT, res,       nn, xx,  T,  T,  C, xx) /* and so does the other side's */
    ROW(CLOSED, ini,          nn, xx,  C,  C,  C, xx) /* a SYN begins anew */
    ROW(CLOSED, res,          nn, xx,  C,  C,  C, xx) /* and so does the other side's */

#undef S
#undef R
#undef E
#undef F
#undef G
#undef T
#undef C
/* Linux:  the same letters, and U SYN_SENT2  W CLOSE_WAIT  L LAST_ACK; behind them what its rules
 * remember: h HEARD  b BOTH  s SYN  t TOLD  r RST  f FIN. */
#define S PLACE_L_SYN_SENT
#define Sh PLACE_L_SYN_SENT_HEARD
#define U PLACE_L_SYN_SENT2
#define R PLACE_L_SYN_RECV
#define Rb PLACE_L_SYN_RECV_BOTH
#define Rs PLACE_L_SYN_RECV_SYN
#define E PLACE_L_ESTABLISHED
#define Es PLACE_L_ESTABLISHED_SYN
#define F PLACE_L_FIN_WAIT
#define Fs PLACE_L_FIN_WAIT_SYN
#define W PLACE_L_CLOSE_WAIT
#define Ws PLACE_L_CLOSE_WAIT_SYN
#define L PLACE_L_LAST_ACK
#define Ls PLACE_L_LAST_ACK_SYN
#define Lt PLACE_L_LAST_ACK_TOLD
#define T PLACE_L_TIME_WAIT
#define C PLACE_L_CLOSED
#define Cs PLACE_L_CLOSED_SYN
#define Cr PLACE_L_CLOSED_RST
#define Cf PLACE_L_CLOSED_FIN
    /*                            SYN     SA FIN   ACK RST NONE */
    ROW(L_SYN_SENT, ini,         i(S),    xx, xx,    xx, Cr, xx) /* a SYN again is ignored */
    ROW(L_SYN_SENT, res,            U,     R, xx, i(Sh),  C, xx) /* an ACK is of another time */
    ROW(L_SYN_SENT_HEARD, ini,     Sh,    xx, xx,    xx, Cr, xx) /* after that ACK a SYN counts */
    ROW(L_SYN_SENT_HEARD, res,      U,     R, xx, i(Sh),  C, xx) /* and that ACK again is ignored */
    ROW(L_SYN_SENT2, ini,           U,    Rb, xx,    xx, Cr, xx) /* both sent SYN, both answer */
    ROW(L_SYN_SENT2, res,           U,    Rb, xx,  i(U),  C, xx) /* an ACK alone answers nothing */
    ROW(L_SYN_RECV, ini,        i(Rs),     R,  F,     E, Cr, xx) /* a SYN passes, for the answer */
    ROW(L_SYN_RECV, res,           xx,  i(R),  F,     R,  C, xx) /* the SYN+ACK again */
    ROW(L_SYN_RECV_BOTH, ini,   i(Rs),    Rb,  F,     E, Cr, xx) /* as in SYN_RECV */
    ROW(L_SYN_RECV_BOTH, res,      xx, i(Rb),  F,     E,  C, xx) /* the responder's ACK does, too */
    ROW(L_SYN_RECV_SYN, ini,    i(Rs),     R,  F,     E, Cr, xx) /* as in SYN_RECV */
    ROW(L_SYN_RECV_SYN, res,       xx,     R,  F,     R,  C, xx) /* SYN+ACK: in step again */
    ROW(L_ESTABLISHED, ini,     i(Es),    xx,  F,     E, Cr, xx) /* a SYN passes, for the answer */
    ROW(L_ESTABLISHED, res,        xx,  i(E),  F,     E,  C, xx) /* a late SYN+ACK is ignored */
    ROW(L_ESTABLISHED_SYN, ini, i(Es),    xx,  F,     E, Cr, xx) /* as in ESTABLISHED */
    ROW(L_ESTABLISHED_SYN, res,    xx,     R,  F,     E,  C, xx) /* SYN+ACK: in step again */
    ROW(L_FIN_WAIT, ini,        i(Fs),    xx,  L,     W, Cf, xx) /* acknowledged, or the other's */
    ROW(L_FIN_WAIT, res,           xx,  i(F),  L,     W, Cf, xx) /* from either side */
    ROW(L_FIN_WAIT_SYN, ini,    i(Fs),    xx,  L,     W, Cf, xx) /* as in FIN_WAIT */
    ROW(L_FIN_WAIT_SYN, res,       xx,     R,  L,     W, Cf, xx) /* SYN+ACK: in step again */
    ROW(L_CLOSE_WAIT, ini,      i(Ws),    xx,  L,     W, Cf, xx) /* the other FIN is awaited */
    ROW(L_CLOSE_WAIT, res,         xx,  i(W),  L,     W, Cf, xx) /* from either side */
    ROW(L_CLOSE_WAIT_SYN, ini,  i(Ws),    xx,  L,     W, Cf, xx) /* as in CLOSE_WAIT */
    ROW(L_CLOSE_WAIT_SYN, res,     xx,     R,  L,     W, Cf, xx) /* SYN+ACK: in step again */
    ROW(L_LAST_ACK, ini,        i(Ls),    xx,  L,     T, Cf, xx) /* the last ACK */
    ROW(L_LAST_ACK, res,           xx,  i(L),  L,     T, Cf, xx) /* from either side */
    ROW(L_LAST_ACK_SYN, ini,    i(Ls),    xx,  L,     T, Cf, xx) /* as in LAST_ACK */
    ROW(L_LAST_ACK_SYN, res,       xx,     R,  L, i(Lt), Cf, xx) /* an ACK may challenge that SYN */
    ROW(L_LAST_ACK_TOLD, ini,   i(Ls),    xx,  L,     T, Cf, xx) /* as in LAST_ACK */
    ROW(L_LAST_ACK_TOLD, res,      xx,     R,  L,     T, Cf, xx) /* a second one is the last ACK */
    ROW(L_TIME_WAIT, ini,          nn,    xx,  T,     T, Cf, xx) /* a SYN begins anew */
    ROW(L_TIME_WAIT, res,          nn,  i(T),  T,     T, Cf, xx) /* and so does the other side's */
    ROW(L_CLOSED, ini,          i(Cs),    xx,  C,     C, Cr, xx) /* RST by the responder */
    ROW(L_CLOSED, res,             xx,  i(C),  C,     C,  C, xx) /* nothing is left to say */
    ROW(L_CLOSED_SYN, ini,      i(Cs),    xx,  C,     C, Cr, xx) /* as in CLOSED */
    ROW(L_CLOSED_SYN, res,         xx,     R,  C,     C,  C, xx) /* SYN+ACK: in step again */
    ROW(L_CLOSED_RST, ini,         nn,    xx,  C,     C, Cr, xx) /* RST of its own: a SYN anew */
    ROW(L_CLOSED_RST, res,         xx,  i(C),  C,     C,  C, xx) /* the responder's is ignored */
    ROW(L_CLOSED_FIN, ini,         nn,    xx, Cf,    Cf, Cf, xx) /* FIN seen: a SYN begins anew */
    ROW(L_CLOSED_FIN, res,         xx, i(Cf), Cf,    Cf, Cf, xx) /* and stays seen */
};
#undef S
#undef Sh
#undef U
#undef R
#undef Rb
#undef Rs
#undef E
#undef Es
#undef F
#undef Fs
#undef W
#undef Ws
#undef L
#undef Ls
#undef Lt
#undef T
#undef C
#undef Cs
#undef Cr
#undef Cf
#undef xx
#undef nn
#undef i
#undef ini
#undef res
#undef ROW

_Static_assert((int)CLASS_COUNT <= (int)CLASS_ROOM, "a row has room for every class");

#endif
